"""Scores the advice: its regret on results of the study, beside simpler policies, on what its numbers never saw."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.calibration import StudiedCell, studied_cells
from advisor.decision import confidence, decide
from advisor.evidence.cells import StudyCell, by_size
from advisor.evidence.costs import typical_seconds
from advisor.expectation import Expectation, expect
from advisor.likeness import LIKENESS, Likeness
from advisor.preferences import BALANCED, PREFERENCES
from advisor.results import NO_REFIT
from advisor.rules import textbook_answers
from strategies.recipes import RECIPES

SMALLEST_TOLERANCE = 0.01  # a recipe this close to the best counts as right, or within one standard error
NUM_BOOTSTRAP = 10_000
NUM_BINS = 3  # of the stated confidence
RANDOM, TEXTBOOK = "random", "textbook"

# What is left out of the study when a cell is judged: the cells of its dataset, of its network, or of either.
LEFT_OUT: dict[str, Callable[[StudiedCell, StudyCell], bool]] = {
    "dataset": lambda studied, cell: studied.dataset == cell.dataset,
    "network": lambda studied, cell: studied.backbone == cell.backbone,
    "both": lambda studied, cell: studied.dataset == cell.dataset or studied.backbone == cell.backbone,
}
Chosen = Mapping[str, str]  # seed -> method, or `RANDOM`


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """How good one policy is in one cell.

    Attributes:
        regret: Accuracy of the best recipe minus that of the policy, mean over seeds, a fraction. The best recipe is
            chosen on the other seeds (cross-fitted), since the maximum of four noisy numbers is biased upwards.
        tolerance: The larger of one point and the standard error of the regret over seeds.
        seconds: Mean training time of what the policy chose, on a typical machine. `None` for a baseline.
    """

    regret: float
    tolerance: float
    seconds: float | None

    @property
    def right(self) -> bool:
        """Returns whether the policy is as good as the best recipe, within the tolerance."""
        return self.regret <= self.tolerance


def judge(cell: StudyCell, chosen: Chosen) -> Judgment | None:
    """Judges a policy in one cell, on the seeds with a result of the chosen method; `None` without such a seed.

    Args:
        cell: The cell. With only one seed, the best recipe is chosen on that seed, and the regret is biased upwards.
        chosen: What the policy chooses for each seed.
    """
    took = typical_seconds(cell)
    regrets, seconds = [], []
    for seed, method in chosen.items():
        reached = cell.accuracy[seed]
        if method == RANDOM or method in reached:
            names = list(RECIPES) if method == RANDOM else [method]
            regrets.append(reached[_best(cell, seed)] - float(np.mean([reached[name] for name in names])))
            seconds += [took[name] for name in names if name in took]
    if not regrets:
        return None
    error = float(np.std(regrets, ddof=1) / math.sqrt(len(regrets))) if len(regrets) > 1 else 0.0
    return Judgment(
        regret=float(np.mean(regrets)),
        tolerance=max(SMALLEST_TOLERANCE, error),
        seconds=float(np.mean(seconds)) if seconds else None,
    )


def _best(cell: StudyCell, seed: str) -> str:
    others = [other for other in cell.seeds if other != seed] or [seed]
    return max(RECIPES, key=lambda name: float(np.mean([cell.accuracy[other][name] for other in others])))


def studied(cell: StudyCell) -> StudiedCell:
    """Returns what a cell adds to the study: means over its seeds."""
    measures = [facts.measures() for facts in cell.facts.values()]
    return StudiedCell(
        dataset=cell.dataset,
        backbone=cell.backbone,
        size=cell.size,
        num_seeds=len(cell.seeds),
        measures={name: float(np.mean([row[name] for row in measures])) for name in measures[0]},
        accuracy=cell.mean_accuracy,
        regret={name: _require(judge(cell, dict.fromkeys(cell.seeds, name))).regret for name in RECIPES},
    )


def _require(judgment: Judgment | None) -> Judgment:
    if judgment is None:
        raise AssertionError("a cell has all four recipes: see read_cells")
    return judgment


class Expectations:
    """What the advice expects in each cell and seed, without the part of the study that is left out.

    Args:
        cells: The cells to judge.
        study: The cells of the study.
        left_out: A row of `LEFT_OUT`.
        rows: The measures that make cells alike.
    """

    def __init__(
        self,
        cells: Sequence[StudyCell],
        study: Sequence[StudiedCell],
        left_out: str,
        rows: Sequence[Likeness] = LIKENESS,
    ) -> None:
        self.cells = cells
        self.found: list[dict[str, Expectation]] = []
        for cell in cells:
            kept = [row for row in study if not LEFT_OUT[left_out](row, cell)]
            self.found.append(
                {seed: expect(facts, kept, rows=rows) for seed, facts in cell.facts.items()} if kept else {}
            )

    def advised(self, prefer: str) -> list[dict[str, str]]:
        """Returns for each cell the method that is advised for each seed; nothing where all of the study is left out.

        A method is a recipe. Where the preference leaves out the refit, it is a recipe without one, and only seeds
        count that have a training without one, whatever is advised for them.
        """
        return [
            {
                seed: _advised(cell, seed, row, prefer)
                for seed, row in found.items()
                if PREFERENCES[prefer].refit or any(method.endswith(NO_REFIT) for method in cell.accuracy[seed])
            }
            for cell, found in zip(self.cells, self.found, strict=True)
        ]


def _advised(cell: StudyCell, seed: str, expected: Expectation, prefer: str) -> str:
    facts, seconds = cell.facts[seed], typical_seconds(cell)
    shorter = [name for name in RECIPES if not PREFERENCES[prefer].refit and f"{name}{NO_REFIT}" in seconds]
    methods = {name: f"{name}{NO_REFIT}" if name in shorter else name for name in RECIPES}
    times = {name: seconds[method] for name, method in methods.items()}
    return methods[decide(facts, expected.without_refit(shorter, facts.effective_num_images), times, prefer).recipe]


def policies(cells: Sequence[StudyCell], expectations: Expectations) -> dict[str, list[dict[str, str]]]:
    """Returns policy -> for each cell, what it chooses for each seed."""
    always = [*RECIPES, RANDOM, "keras_guide"]
    return {
        **{f"advice_{name}": expectations.advised(name) for name in PREFERENCES},
        TEXTBOOK: [{seed: textbook_answers(facts).recipe for seed, facts in cell.facts.items()} for cell in cells],
        **{f"always_{name}": [dict.fromkeys(cell.seeds, name) for cell in cells] for name in always},
    }


ADVICE = f"advice_{BALANCED}"


def score(cells: Sequence[StudyCell], *, study: Sequence[StudiedCell] | None = None, seed: int = 0) -> dict[str, Any]:
    """Scores the advice and simpler policies.

    Each cell is judged by the study without the dataset of the cell, then without its network, then without both.
    Regrets and differences are in points of accuracy.

    Args:
        cells: Cells to judge, of any datasets and networks.
        study: The cells that expectations rest on; default: those of the package.
        seed: Seed of the bootstrap over datasets.

    Returns:
        `policies`: for each network, and for all `pooled`, an entry for each policy with `mean_regret` and its 95%
        `interval`, `within` (share of cells within the larger of one point and one standard error over seeds),
        `worst_regret`, `worst_cell`, `mean_seconds`, `num_cells`, and `difference`: its regret minus that of the
        balanced advice, with its interval. `left_out`: the mean regret of the advice for each preference and network,
        without the dataset, the network or both. `confidence`: see `stated_and_right`; `expected`: `coverage`;
        `likeness`: `likeness_worth`; `refit`: `refit_worth`; `places`: `places`. `cells`: an entry for each cell.
        Which datasets are part of the study: `held_out`, and which are not: `unseen`.
    """
    study = studied_cells() if study is None else study
    known = {cell.dataset for cell in study}
    without = {name: Expectations(cells, study, name) for name in LEFT_OUT}
    chosen = policies(cells, without["dataset"])
    names = {cell.dataset for cell in cells}
    networks = sorted({cell.backbone for cell in cells})
    return {
        "num_cells": len(cells),
        "num_datasets": len(names),
        "cells_with_one_seed": sum(len(cell.seeds) == 1 for cell in cells),
        "held_out": sorted(names & known),
        "unseen": sorted(names - known),
        "policies": {
            **{network: _entries(cells, chosen, seed, network) for network in networks},
            "pooled": _entries(cells, chosen, seed),
        },
        "left_out": {name: _left_out(cells, expectations, networks) for name, expectations in without.items()},
        "confidence": stated_and_right(cells, without["network"]),
        "expected": coverage(cells, without["dataset"]),
        "likeness": likeness_worth(cells, study),
        "refit": refit_worth(cells),
        "places": {network: places(cells, chosen, network) for network in networks},
        "cells": [_cell(cell, index, chosen) for index, cell in enumerate(cells)],
    }


def _entries(
    cells: Sequence[StudyCell], chosen: Mapping[str, Sequence[Chosen]], seed: int, network: str | None = None
) -> dict[str, Any]:
    there = [place for place, cell in enumerate(cells) if network in (None, cell.backbone)]
    advice = {place: _require(judge(cells[place], chosen[ADVICE][place])) for place in there}
    found = {}
    for name, choices in chosen.items():
        judged = {place: row for place in there if (row := judge(cells[place], choices[place])) is not None}
        if judged:
            found[name] = _entry(cells, judged, {place: advice[place] for place in judged}, seed)
    return found


def _entry(
    cells: Sequence[StudyCell], judged: Mapping[int, Judgment], advice: Mapping[int, Judgment], seed: int
) -> dict[str, Any]:
    regrets = 100 * np.array([row.regret for row in judged.values()])
    differences = regrets - 100 * np.array([advice[place].regret for place in judged])
    datasets = [cells[place].dataset for place in judged]
    worst = cells[list(judged)[int(regrets.argmax())]]
    seconds = [row.seconds for row in judged.values() if row.seconds is not None]
    return {
        "mean_regret": float(regrets.mean()),
        "interval": _interval(regrets, datasets, seed),
        "within": float(np.mean([row.right for row in judged.values()])),
        "worst_regret": float(regrets.max()),
        "worst_cell": f"{worst.dataset}, {worst.size}, {worst.backbone}",
        "mean_seconds": float(np.mean(seconds)) if seconds else None,
        "num_cells": len(judged),
        "difference": {"mean": float(differences.mean()), "interval": _interval(differences, datasets, seed)},
    }


def _interval(values: np.ndarray, datasets: Sequence[str], seed: int) -> list[float]:
    """Returns the 95% interval of the mean by a bootstrap over datasets; cells of a dataset stay together."""
    names = sorted(set(datasets))
    sums = np.array([values[np.array(datasets) == name].sum() for name in names])
    counts = np.array([datasets.count(name) for name in names])
    draws = np.random.default_rng(seed).integers(0, len(names), (NUM_BOOTSTRAP, len(names)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return [float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


def _left_out(cells: Sequence[StudyCell], expectations: Expectations, networks: Sequence[str]) -> dict[str, Any]:
    found = {}
    for prefer in PREFERENCES:
        judged = [judge(cell, row) for cell, row in zip(cells, expectations.advised(prefer), strict=True)]
        found[prefer] = {
            network: 100 * float(np.mean(regrets))
            for network in networks
            if (
                regrets := [
                    row.regret
                    for cell, row in zip(cells, judged, strict=True)
                    if row is not None and cell.backbone == network
                ]
            )
        }
    return found


def stated_and_right(cells: Sequence[StudyCell], expectations: Expectations) -> dict[str, list[dict[str, Any]]]:
    """Returns the stated confidence and the share of right advice, in thirds of the former, and for each network.

    Each cell and seed counts once.
    """
    rows: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for cell, found, advised in zip(cells, expectations.found, expectations.advised(BALANCED), strict=True):
        judgment = judge(cell, advised)
        if judgment is not None:
            rows[cell.backbone] += [(confidence(found[seed], name), judgment.right) for seed, name in advised.items()]
    together = sorted(row for group in rows.values() for row in group)
    return {
        "thirds": [_stated(part) for part in np.array_split(np.array(together), NUM_BINS) if len(part)],
        "networks": [{"network": name, **_stated(np.array(rows[name]))} for name in sorted(rows)],
    }


def _stated(rows: np.ndarray) -> dict[str, Any]:
    stated, right = rows.T
    return {
        "from": float(stated.min()),
        "to": float(stated.max()),
        "stated": float(stated.mean()),
        "right": float(right.mean()),
        "count": len(rows),
    }


def coverage(cells: Sequence[StudyCell], expectations: Expectations) -> dict[str, dict[str, float]]:
    """Returns for each recipe how often its 80% interval holds what training reached, and the mean absolute error.

    `gain_error` is that of the expected gain over `head_only`, and `gain_error_of_mean` that of the mean gain of all
    other datasets. Cells count where the accuracy of a new head is known.
    """
    found = {}
    means = [(cell.dataset, cell.mean_accuracy) for cell in cells]
    for name in RECIPES:
        rows = []
        for cell, expected in zip(cells, expectations.found, strict=True):
            others = [mean[name] - mean["head_only"] for dataset, mean in means if dataset != cell.dataset]
            for seed, row in expected.items():
                if row.known:
                    reached, head = cell.accuracy[seed][name], cell.accuracy[seed]["head_only"]
                    rows.append(
                        (
                            row[name].low <= reached <= row[name].high,
                            abs(row[name].accuracy - reached),
                            abs(row[name].gain - (reached - head)),
                            abs(float(np.mean(others or [0.0])) - (reached - head)),
                        )
                    )
        if rows:
            held, error, gain, of_mean = np.array(rows, dtype="float64").mean(axis=0).tolist()
            found[name] = {
                "held": held,
                "error": 100 * error,
                "gain_error": 100 * gain,
                "gain_error_of_mean": 100 * of_mean,
                "count": len(rows),
            }
    return found


def likeness_worth(cells: Sequence[StudyCell], study: Sequence[StudiedCell]) -> dict[str, dict[str, float]]:
    """Returns what each measure of likeness is worth: errors of the expected gains, and regret, with and without it.

    The gains are those of `fine_tune_all` over `head_only`. Each cell is judged without its dataset.
    """
    options = {
        "all": LIKENESS,
        **{row.measure: tuple(other for other in LIKENESS if other != row) for row in LIKENESS},
        "none": (),
    }
    found = {}
    for name, rows in options.items():
        expectations = Expectations(cells, study, "dataset", rows)
        judged = [judge(cell, row) for cell, row in zip(cells, expectations.advised(BALANCED), strict=True)]
        found[name] = {
            "gain_error": coverage(cells, expectations).get("fine_tune_all", {}).get("gain_error", math.nan),
            "mean_regret": 100 * float(np.mean([row.regret for row in judged if row is not None])),
        }
    return found


def refit_worth(cells: Sequence[StudyCell]) -> list[dict[str, Any]]:
    """Returns the points that the refit of a recipe adds, on each network and size, and on all.

    A pair is a training with the refit and one without it, on the same images.
    """
    gains: dict[tuple[str, str], list[float]] = defaultdict(list)
    for cell in cells:
        for reached in cell.accuracy.values():
            for method, accuracy in reached.items():
                if method.endswith(NO_REFIT):
                    gains[cell.backbone, cell.size].append(100 * (reached[method.removesuffix(NO_REFIT)] - accuracy))
    groups = sorted(gains.items(), key=lambda pair: (pair[0][0], by_size(pair[0][1])))
    found = [*groups, (("all", ""), [gain for group in gains.values() for gain in group])]
    return [
        {
            "network": network,
            "size": size,
            "pairs": len(values),
            "gain": float(np.mean(values)),
            "error": float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None,
        }
        for (network, size), values in found
        if values
    ]


def places(
    cells: Sequence[StudyCell], chosen: Mapping[str, Sequence[Chosen]], network: str
) -> dict[str, dict[str, float]]:
    """Returns for each recipe, on one network: how often it is best, the cheapest good one, and advised.

    `best` and `cheapest` are judged by the mean over seeds; `cheapest` is the cheapest within half a point of the best,
    by the times of its cell on a typical machine.
    """
    there = [place for place, cell in enumerate(cells) if cell.backbone == network]
    means = [cells[place].mean_accuracy for place in there]
    tolerance = PREFERENCES[BALANCED].tolerance
    best = [max(row, key=row.__getitem__) for row in means]
    cheapest = [
        min(
            (name for name in row if row[name] >= max(row.values()) - tolerance),
            key=typical_seconds(cells[place]).__getitem__,
        )
        for place, row in zip(there, means, strict=True)
    ]
    found = {}
    for name in RECIPES:
        found[name] = {"best": best.count(name) / len(there), "cheapest": cheapest.count(name) / len(there)}
        for prefer in PREFERENCES:
            methods = [method for place in there for method in chosen[f"advice_{prefer}"][place].values()]
            advised = [method.removesuffix(NO_REFIT) for method in methods]
            found[name][prefer] = advised.count(name) / max(1, len(advised))
    return found


def _cell(cell: StudyCell, index: int, chosen: Mapping[str, Sequence[Chosen]]) -> dict[str, Any]:
    judgment = _require(judge(cell, chosen[ADVICE][index]))
    row = studied(cell)
    return {
        "dataset": cell.dataset,
        "size": cell.size,
        "backbone": cell.backbone,
        "num_seeds": len(cell.seeds),
        "measures": {name: None if math.isnan(value) else value for name, value in row.measures.items()},
        "accuracy": {name: 100 * value for name, value in row.accuracy.items()},
        "advice": list(chosen[ADVICE][index].values()),
        "regret": 100 * judgment.regret,
        "within": judgment.right,
    }
