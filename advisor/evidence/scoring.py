"""How good the advice is: its regret on results of the study, beside that of simpler policies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from advisor.evidence.cells import StudyCell
from advisor.results import VARIANT
from advisor.rules import (
    EVIDENCE,
    RULES,
    Evidence,
    Facts,
    calibrated_confidence,
    cell_probabilities,
    choose,
    depths_disagree,
    rate_factor,
)
from advisor.thresholds import calibration, thresholds
from strategies.errors import UserError
from strategies.recipes import RECIPES

SMALLEST_TOLERANCE = 0.01  # a recipe this close to the best counts as right, or within one standard error of it
NUM_BOOTSTRAP = 10_000
NEAR = 0.5  # similarity from which a dataset is counted as near ImageNet, in the break-down by domain
CONFIDENCE_BINS = (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)
RANDOM = "random"
Policy = Callable[[StudyCell, str], str]  # cell and seed -> method, or `RANDOM`
Rates = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One policy in one cell.

    Attributes:
        regret: Accuracy of the best recipe minus that of the policy, mean over seeds, a fraction. The best is chosen on
            the other seeds (cross-fitted), since the best of four noisy numbers is too high.
        tolerance: The larger of one point and the standard error of the regret over seeds.
        seconds: Mean training time of what the policy chose.
    """

    regret: float
    tolerance: float
    seconds: float

    @property
    def right(self) -> bool:
        """Returns whether the policy cannot be told from the best."""
        return self.regret <= self.tolerance


def judge(outcome: StudyCell, policy: Policy, rates: Rates) -> Judgement | None:
    """Judges a policy in one cell, on the seeds that hold what it chose; `None` where none does.

    Args:
        outcome: The cell. With one seed only the best is chosen on that very seed, and the regret is too high.
        policy: What is judged.
        rates: How `fine_tune_all` trains.
    """
    table = {seed: recipes_as_advised(outcome, seed, rates) for seed in outcome.seeds}
    regrets, seconds = [], []
    for seed in outcome.seeds:
        others = [one for one in outcome.seeds if one != seed] or [seed]
        best = max(RECIPES, key=lambda name: float(np.mean([table[one][name][0] for one in others])))
        chosen = policy(outcome, seed)
        if chosen == RANDOM:
            reached = tuple(float(np.mean(values)) for values in zip(*table[seed].values(), strict=True))
        elif chosen in table[seed]:
            reached = table[seed][chosen]
        elif chosen in outcome.accuracy[seed]:
            reached = outcome.accuracy[seed][chosen], outcome.seconds[seed][chosen]
        else:
            continue
        regrets.append(table[seed][best][0] - reached[0])
        seconds.append(reached[1])
    if not regrets:
        return None
    error = float(np.std(regrets, ddof=1) / math.sqrt(len(regrets))) if len(regrets) > 1 else 0.0
    return Judgement(
        regret=float(np.mean(regrets)), tolerance=max(SMALLEST_TOLERANCE, error), seconds=float(np.mean(seconds))
    )


def recipes_as_advised(outcome: StudyCell, seed: str, rates: Rates) -> dict[str, tuple[float, float]]:
    """Returns recipe -> (accuracy, seconds), `fine_tune_all` at the rates of the advice where it was run with them."""
    factor = rate_factor(outcome.facts[seed], rates)
    found = {}
    for name in RECIPES:
        faster = f"{name}{VARIANT}x{factor:g}"
        row = faster if name == "fine_tune_all" and faster in outcome.accuracy[seed] else name
        found[name] = (outcome.accuracy[seed][row], outcome.seconds[seed][row])
    return found


def advice_policy(part: Mapping[str, Any], *, name: str = "advice", evidence: Sequence[Evidence] = EVIDENCE) -> Policy:
    """Returns the policy that compares with the numbers of a fit.

    Args:
        part: What was fitted: `fitted()`.
        name: `advice` or `two_by_two`.
        evidence: Rows of evidence that may overrule.
    """
    return lambda outcome, seed: RULES[int(choose(outcome.facts[seed].measures(), part[name], evidence))].recipe


def _always(method: str) -> Policy:
    return lambda outcome, seed: method


def _policies(part: Mapping[str, Any]) -> dict[str, Policy]:
    return {
        "advice": advice_policy(part),
        "two_by_two": advice_policy(part, name="two_by_two", evidence=()),
        "textbook": advice_policy({"textbook": thresholds("textbook")}, name="textbook", evidence=()),
        **{f"always_{name}": _always(name) for name in RECIPES},
        "random": _always(RANDOM),
        "keras_guide": _always("keras_guide"),
    }


def score(outcomes: Sequence[StudyCell], *, fit: Mapping[str, Any] | None = None, seed: int = 0) -> dict[str, Any]:
    """Scores the advice and the baselines.

    A dataset that the advice was fitted on is judged by the numbers that were fitted without it; any other by the
    numbers that ship. All figures are points of accuracy, but shares and seconds.

    Args:
        outcomes: Cells of the study, of any datasets.
        fit: The part `fit` of a calibration; default: the one that ships.
        seed: Of the bootstrap over datasets.

    Returns:
        `advice`, and in `baselines` one entry each, with `mean_regret` and its 95 % `interval`, `share_within_1pt`
        (regret within the larger of one point and one standard error over seeds), `share_within_1pt_strictly` (one
        point), `worst_regret` and `worst_cell`, `mean_seconds`, `num_cells`, and for baselines `difference`: by how
        much the advice's regret is lower in the same cells, with its interval. Then `by_size`, `by_domain`,
        `confidence`, `evidence` (regret without each row), `cells` and what was judged by which numbers.
    """
    fit = calibration()["fit"] if fit is None else fit
    parts = {one.dataset: fit["held_out"].get(one.dataset, fit["all"]) for one in outcomes}
    policies = {dataset: _policies(part) for dataset, part in parts.items()}
    judged = {
        name: [judge(one, policies[one.dataset][name], parts[one.dataset]["rates"]) for one in outcomes]
        for name in _policies(fit["all"])
    }
    advice = [_present(judgement) for judgement in judged["advice"]]
    entries = {name: _entry(outcomes, rows, advice, seed) for name, rows in judged.items() if any(rows)}
    return {
        "num_cells": len(outcomes),
        "num_datasets": len(parts),
        "cells_with_one_seed": sum(len(one.seeds) == 1 for one in outcomes),
        "held_out": sorted(name for name in parts if name in fit["held_out"]),
        "unseen": sorted(name for name in parts if name not in fit["held_out"]),
        "advice": {name: value for name, value in entries["advice"].items() if name != "difference"},
        "baselines": {name: entry for name, entry in entries.items() if name != "advice"},
        "all_four": {"mean_seconds": float(np.mean([_seconds_of_all(one) for one in outcomes]))},
        "by_size": _groups(outcomes, judged, lambda one: one.size),
        "by_domain": _groups(outcomes, judged, _domain),
        "evidence": _ablations(outcomes, parts, advice, seed),
        "confidence": confidence_bins(outcomes, parts, advice),
        "cells": [_cell(one, parts[one.dataset], advice[index]) for index, one in enumerate(outcomes)],
    }


def _present(judgement: Judgement | None) -> Judgement:
    if judgement is None:  # all four recipes are there, see read_cells
        raise UserError("Expected results of all four recipes. Received: a cell without them. Run the study on.")
    return judgement


def _entry(
    outcomes: Sequence[StudyCell], rows: Sequence[Judgement | None], advice: Sequence[Judgement], seed: int
) -> dict[str, Any]:
    there = [index for index, row in enumerate(rows) if row is not None]
    found = [_present(rows[index]) for index in there]
    regrets = 100 * np.array([row.regret for row in found])
    theirs = 100 * np.array([advice[index].regret for index in there])
    datasets = [outcomes[index].dataset for index in there]
    worst = int(regrets.argmax())
    return {
        "mean_regret": float(regrets.mean()),
        "interval": _interval(regrets, datasets, seed),
        "share_within_1pt": float(np.mean([row.right for row in found])),
        "share_within_1pt_strictly": float(np.mean(regrets <= 100 * SMALLEST_TOLERANCE)),
        "worst_regret": float(regrets[worst]),
        "worst_cell": f"{datasets[worst]}, {outcomes[there[worst]].size}",
        "mean_seconds": float(np.mean([row.seconds for row in found])),
        "num_cells": len(found),
        "difference": {
            "mean": float((regrets - theirs).mean()),
            "interval": _interval(regrets - theirs, datasets, seed),
        },
    }


def _interval(values: np.ndarray, datasets: Sequence[str], seed: int) -> list[float]:
    """Returns the 95 % interval of the mean, were other datasets drawn: all cells of a dataset come together."""
    names = sorted(set(datasets))
    sums = np.array([values[np.array(datasets) == name].sum() for name in names])
    counts = np.array([datasets.count(name) for name in names])
    draws = np.random.default_rng(seed).integers(0, len(names), (NUM_BOOTSTRAP, len(names)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _seconds_of_all(outcome: StudyCell) -> float:
    return float(np.mean([sum(outcome.seconds[seed][name] for name in RECIPES) for seed in outcome.seeds]))


def _mean_of(outcome: StudyCell, measure: str) -> float | None:
    """Returns a measure's mean over seeds, or `None` where it is not known."""
    value = float(np.mean([facts.measures()[measure] for facts in outcome.facts.values()]))
    return value if math.isfinite(value) else None


def _domain(outcome: StudyCell) -> str:
    return "near ImageNet" if (_mean_of(outcome, "similarity") or 0) >= NEAR else "far from ImageNet"


def _groups(
    outcomes: Sequence[StudyCell],
    judged: Mapping[str, Sequence[Judgement | None]],
    label: Callable[[StudyCell], str],
) -> dict[str, dict[str, Any]]:
    labels = [label(one) for one in outcomes]
    found: dict[str, dict[str, Any]] = {}
    for group in sorted(set(labels), key=lambda text: (not text.isdigit(), text.zfill(9))):
        found[group] = {"num_cells": labels.count(group)}
        for name, rows in judged.items():
            mine = [row.regret for row, at in zip(rows, labels, strict=True) if at == group and row is not None]
            if mine:
                found[group][name] = 100 * float(np.mean(mine))
    return found


def _ablations(
    outcomes: Sequence[StudyCell], parts: Mapping[str, Mapping[str, Any]], advice: Sequence[Judgement], seed: int
) -> dict[str, Any]:
    """Returns what each row of evidence is worth: by how much the regret grows where it is left out."""
    found = {}
    for row in EVIDENCE:
        without = tuple(other for other in EVIDENCE if other != row)
        regrets, moved = [], 0
        for one in outcomes:
            part = parts[one.dataset]
            policy = advice_policy(part, evidence=without)
            regrets.append(_present(judge(one, policy, part["rates"])).regret)
            moved += any(policy(one, at) != advice_policy(part)(one, at) for at in one.seeds)
        growth = 100 * (np.array(regrets) - np.array([judgement.regret for judgement in advice]))
        found[row.name] = {
            "cells_moved": moved,
            "regret_without_it": 100 * float(np.mean(regrets)),
            "worth": float(growth.mean()),
            "interval": _interval(growth, [one.dataset for one in outcomes], seed),
            "used": any(part["advice"].get(row.name) is not None for part in parts.values()),
        }
    return found


def certainty(facts: Facts, part: Mapping[str, Any]) -> tuple[float, bool]:
    """Returns the probability of the cell that is chosen, and whether the depths disagree: what confidence rests on."""
    measures = facts.measures()
    rule = RULES[int(choose(measures, part["advice"]))]
    return cell_probabilities(facts, part["advice"])[rule.recipe], depths_disagree(measures, rule, part["late_gain"])


def confidence_bins(
    outcomes: Sequence[StudyCell], parts: Mapping[str, Mapping[str, Any]], advice: Sequence[Judgement]
) -> list[dict[str, Any]]:
    """Returns, for each range of stated confidence, how often the advice was right: one count per cell and seed."""
    rows = []
    for one, judgement in zip(outcomes, advice, strict=True):
        part = parts[one.dataset]
        for facts in one.facts.values():
            stated = calibrated_confidence(*certainty(facts, part), part["confidence"])
            rows.append((stated, judgement.right))
    found = []
    for low, high in pairwise(CONFIDENCE_BINS):
        inside = [row for row in rows if low <= row[0] < high or (high == 1 and row[0] == 1)]
        if inside:
            found.append(
                {
                    "from": low,
                    "to": high,
                    "stated": float(np.mean([row[0] for row in inside])),
                    "right": float(np.mean([row[1] for row in inside])),
                    "count": len(inside),
                }
            )
    return found


def _cell(outcome: StudyCell, part: Mapping[str, Any], judgement: Judgement) -> dict[str, Any]:
    means = {
        name: 100
        * float(np.mean([recipes_as_advised(outcome, seed, part["rates"])[name][0] for seed in outcome.seeds]))
        for name in RECIPES
    }
    return {
        "dataset": outcome.dataset,
        "size": outcome.size,
        "backbone": outcome.backbone,
        "num_seeds": len(outcome.seeds),
        "similarity": _mean_of(outcome, "similarity"),
        "late_gain": _mean_of(outcome, "late_gain"),
        "images_per_class": _mean_of(outcome, "images_per_class"),
        "accuracy": means,
        "advice": [advice_policy(part)(outcome, seed) for seed in outcome.seeds],
        "regret": 100 * judgement.regret,
        "within": judgement.right,
    }
