"""Scores the advice: its regret on results of the study, compared with simpler policies."""

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

SMALLEST_TOLERANCE = 0.01  # a recipe this close to the best counts as correct, or within one standard error
NUM_BOOTSTRAP = 10_000
NEAR = 0.5  # from this similarity, a dataset counts as near ImageNet in the results by domain
CONFIDENCE_BINS = (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)
RANDOM = "random"
Policy = Callable[[StudyCell, str], str]  # cell and seed -> method, or `RANDOM`
Rates = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """How good one policy is in one cell.

    Attributes:
        regret: Accuracy of the best recipe minus that of the policy, mean over seeds, a fraction. The best recipe is
            chosen on the other seeds (cross-fitted), since the maximum of four noisy numbers is biased upwards.
        tolerance: The larger of one point and the standard error of the regret over seeds.
        seconds: Mean training time of what the policy chose.
    """

    regret: float
    tolerance: float
    seconds: float

    @property
    def right(self) -> bool:
        """Returns whether the policy is as good as the best recipe, within the tolerance."""
        return self.regret <= self.tolerance


def judge(cell: StudyCell, policy: Policy, rates: Rates) -> Judgment | None:
    """Judges a policy in one cell, on the seeds with a result of the chosen method; `None` without such a seed.

    Args:
        cell: The cell. With only one seed, the best recipe is chosen on that seed, and the regret is biased upwards.
        policy: The policy to judge.
        rates: The fitted learning rates of `fine_tune_all`.
    """
    table = {seed: recipes_as_advised(cell, seed, rates) for seed in cell.seeds}
    regrets, seconds = [], []
    for seed in cell.seeds:
        other_seeds = [other for other in cell.seeds if other != seed] or [seed]
        best = max(RECIPES, key=lambda name: float(np.mean([table[other][name][0] for other in other_seeds])))
        chosen = policy(cell, seed)
        if chosen == RANDOM:
            reached = tuple(float(np.mean(values)) for values in zip(*table[seed].values(), strict=True))
        elif chosen in table[seed]:
            reached = table[seed][chosen]
        elif chosen in cell.accuracy[seed]:
            reached = cell.accuracy[seed][chosen], cell.seconds[seed][chosen]
        else:
            continue
        regrets.append(table[seed][best][0] - reached[0])
        seconds.append(reached[1])
    if not regrets:
        return None
    error = float(np.std(regrets, ddof=1) / math.sqrt(len(regrets))) if len(regrets) > 1 else 0.0
    return Judgment(
        regret=float(np.mean(regrets)), tolerance=max(SMALLEST_TOLERANCE, error), seconds=float(np.mean(seconds))
    )


def recipes_as_advised(cell: StudyCell, seed: str, rates: Rates) -> dict[str, tuple[float, float]]:
    """Returns recipe -> (accuracy, seconds); for `fine_tune_all` at the rates of the advice if it was run so."""
    factor = rate_factor(cell.facts[seed], rates)
    found = {}
    for name in RECIPES:
        faster = f"{name}{VARIANT}x{factor:g}"
        row = faster if name == "fine_tune_all" and faster in cell.accuracy[seed] else name
        found[name] = (cell.accuracy[seed][row], cell.seconds[seed][row])
    return found


def advice_policy(part: Mapping[str, Any], *, name: str = "advice", evidence: Sequence[Evidence] = EVIDENCE) -> Policy:
    """Returns the policy that follows the thresholds of a fit.

    Args:
        part: The fitted numbers, as `advisor.thresholds.fitted` returns them.
        name: `advice` or `two_by_two`.
        evidence: Rows of evidence that may overrule the thresholds.
    """
    return lambda cell, seed: RULES[int(choose(cell.facts[seed].measures(), part[name], evidence))].recipe


def _always(method: str) -> Policy:
    return lambda cell, seed: method


def _policies(part: Mapping[str, Any]) -> dict[str, Policy]:
    return {
        "advice": advice_policy(part),
        "two_by_two": advice_policy(part, name="two_by_two", evidence=()),
        "textbook": advice_policy({"textbook": thresholds("textbook")}, name="textbook", evidence=()),
        **{f"always_{name}": _always(name) for name in RECIPES},
        "random": _always(RANDOM),
        "keras_guide": _always("keras_guide"),
    }


def score(cells: Sequence[StudyCell], *, fit: Mapping[str, Any] | None = None, seed: int = 0) -> dict[str, Any]:
    """Scores the advice and the baselines.

    A dataset that the advice was fitted on is judged by the numbers that were fitted without it. Any other dataset is
    judged by the numbers that ship with the package. Regrets and differences are in points of accuracy.

    Args:
        cells: Cells of the study, of any datasets.
        fit: The part `fit` of a calibration; default: that of the package.
        seed: Seed of the bootstrap over datasets.

    Returns:
        `advice`, and in `baselines` an entry for each simpler policy, with `mean_regret` and its 95% `interval`,
        `share_within_1pt` (regret within the larger of one point and one standard error over seeds),
        `share_within_1pt_strictly` (within one point), `worst_regret` and `worst_cell`, `mean_seconds` and `num_cells`;
        for baselines also `difference`: how much lower the regret of the advice is in the same cells, with its
        interval. Then `by_size`, `by_domain`, `confidence`, `evidence` (regret without each row), `cells`, and which
        datasets were `held_out` from the fit or `unseen`.
    """
    fit = calibration()["fit"] if fit is None else fit
    parts = {cell.dataset: fit["held_out"].get(cell.dataset, fit["all"]) for cell in cells}
    policies = {dataset: _policies(part) for dataset, part in parts.items()}
    judged = {
        name: [judge(cell, policies[cell.dataset][name], parts[cell.dataset]["rates"]) for cell in cells]
        for name in _policies(fit["all"])
    }
    advice = [_present(judgment) for judgment in judged["advice"]]
    entries = {name: _entry(cells, rows, advice, seed) for name, rows in judged.items() if any(rows)}
    return {
        "num_cells": len(cells),
        "num_datasets": len(parts),
        "cells_with_one_seed": sum(len(cell.seeds) == 1 for cell in cells),
        "held_out": sorted(name for name in parts if name in fit["held_out"]),
        "unseen": sorted(name for name in parts if name not in fit["held_out"]),
        "advice": {name: value for name, value in entries["advice"].items() if name != "difference"},
        "baselines": {name: entry for name, entry in entries.items() if name != "advice"},
        "all_four": {"mean_seconds": float(np.mean([_seconds_of_all(cell) for cell in cells]))},
        "by_size": _groups(cells, judged, lambda cell: cell.size),
        "by_domain": _groups(cells, judged, _domain),
        "evidence": _ablations(cells, parts, advice, seed),
        "confidence": confidence_bins(cells, parts, advice),
        "cells": [_cell(cell, parts[cell.dataset], advice[index]) for index, cell in enumerate(cells)],
    }


def _present(judgment: Judgment | None) -> Judgment:
    if judgment is None:  # all four recipes are there, see read_cells
        raise UserError("Expected results of all four recipes. Received: a cell without them. Continue the study.")
    return judgment


def _entry(
    cells: Sequence[StudyCell], rows: Sequence[Judgment | None], advice: Sequence[Judgment], seed: int
) -> dict[str, Any]:
    there = [index for index, row in enumerate(rows) if row is not None]
    found = [_present(rows[index]) for index in there]
    regrets = 100 * np.array([row.regret for row in found])
    theirs = 100 * np.array([advice[index].regret for index in there])
    datasets = [cells[index].dataset for index in there]
    worst = int(regrets.argmax())
    return {
        "mean_regret": float(regrets.mean()),
        "interval": _interval(regrets, datasets, seed),
        "share_within_1pt": float(np.mean([row.right for row in found])),
        "share_within_1pt_strictly": float(np.mean(regrets <= 100 * SMALLEST_TOLERANCE)),
        "worst_regret": float(regrets[worst]),
        "worst_cell": f"{datasets[worst]}, {cells[there[worst]].size}",
        "mean_seconds": float(np.mean([row.seconds for row in found])),
        "num_cells": len(found),
        "difference": {
            "mean": float((regrets - theirs).mean()),
            "interval": _interval(regrets - theirs, datasets, seed),
        },
    }


def _interval(values: np.ndarray, datasets: Sequence[str], seed: int) -> list[float]:
    """Returns the 95% interval of the mean by a bootstrap over datasets; cells of a dataset stay together."""
    names = sorted(set(datasets))
    sums = np.array([values[np.array(datasets) == name].sum() for name in names])
    counts = np.array([datasets.count(name) for name in names])
    draws = np.random.default_rng(seed).integers(0, len(names), (NUM_BOOTSTRAP, len(names)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _seconds_of_all(cell: StudyCell) -> float:
    return float(np.mean([sum(cell.seconds[seed][name] for name in RECIPES) for seed in cell.seeds]))


def _mean_of(cell: StudyCell, measure: str) -> float | None:
    """Returns the mean of a measure over seeds; `None` if it is unknown."""
    value = float(np.mean([facts.measures()[measure] for facts in cell.facts.values()]))
    return value if math.isfinite(value) else None


def _domain(cell: StudyCell) -> str:
    return "near ImageNet" if (_mean_of(cell, "similarity") or 0) >= NEAR else "far from ImageNet"


def _groups(
    cells: Sequence[StudyCell],
    judged: Mapping[str, Sequence[Judgment | None]],
    label: Callable[[StudyCell], str],
) -> dict[str, dict[str, Any]]:
    labels = [label(cell) for cell in cells]
    found: dict[str, dict[str, Any]] = {}
    for group in sorted(set(labels), key=lambda text: (not text.isdigit(), text.zfill(9))):
        found[group] = {"num_cells": labels.count(group)}
        for name, rows in judged.items():
            regrets = [row.regret for row, at in zip(rows, labels, strict=True) if at == group and row is not None]
            if regrets:
                found[group][name] = 100 * float(np.mean(regrets))
    return found


def _ablations(
    cells: Sequence[StudyCell], parts: Mapping[str, Mapping[str, Any]], advice: Sequence[Judgment], seed: int
) -> dict[str, Any]:
    """Returns what each row of evidence is worth: how much the regret grows without it."""
    found = {}
    for row in EVIDENCE:
        without = tuple(kept for kept in EVIDENCE if kept != row)
        regrets, moved = [], 0
        for cell in cells:
            part = parts[cell.dataset]
            policy = advice_policy(part, evidence=without)
            regrets.append(_present(judge(cell, policy, part["rates"])).regret)
            moved += any(policy(cell, at) != advice_policy(part)(cell, at) for at in cell.seeds)
        growth = 100 * (np.array(regrets) - np.array([judgment.regret for judgment in advice]))
        found[row.name] = {
            "cells_moved": moved,
            "regret_without_it": 100 * float(np.mean(regrets)),
            "worth": float(growth.mean()),
            "interval": _interval(growth, [cell.dataset for cell in cells], seed),
            "used": any(part["advice"].get(row.name) is not None for part in parts.values()),
        }
    return found


def certainty(facts: Facts, part: Mapping[str, Any]) -> tuple[float, bool]:
    """Returns what the confidence depends on: the probability of the chosen recipe, and whether the depths disagree."""
    measures = facts.measures()
    rule = RULES[int(choose(measures, part["advice"]))]
    return cell_probabilities(facts, part["advice"])[rule.recipe], depths_disagree(measures, rule, part["late_gain"])


def confidence_bins(
    cells: Sequence[StudyCell], parts: Mapping[str, Mapping[str, Any]], advice: Sequence[Judgment]
) -> list[dict[str, Any]]:
    """Returns the share of correct advice for each range of stated confidence; each cell and seed counts once."""
    rows = []
    for cell, judgment in zip(cells, advice, strict=True):
        part = parts[cell.dataset]
        for facts in cell.facts.values():
            stated = calibrated_confidence(*certainty(facts, part), part["confidence"])
            rows.append((stated, judgment.right))
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


def _cell(cell: StudyCell, part: Mapping[str, Any], judgment: Judgment) -> dict[str, Any]:
    means = {
        name: 100 * float(np.mean([recipes_as_advised(cell, seed, part["rates"])[name][0] for seed in cell.seeds]))
        for name in RECIPES
    }
    return {
        "dataset": cell.dataset,
        "size": cell.size,
        "backbone": cell.backbone,
        "num_seeds": len(cell.seeds),
        "similarity": _mean_of(cell, "similarity"),
        "late_gain": _mean_of(cell, "late_gain"),
        "images_per_class": _mean_of(cell, "images_per_class"),
        "accuracy": means,
        "advice": [advice_policy(part)(cell, seed) for seed in cell.seeds],
        "regret": 100 * judgment.regret,
        "within": judgment.right,
    }
