"""Cells of the study -> the fitted numbers of the advice, on all datasets and without each dataset in turn.

There are only a few numbers. The fit tries all combinations on a grid and takes the one with the highest mean accuracy
of the chosen recipes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Any

import numpy as np

from advisor.evidence.cells import StudyCell
from advisor.evidence.scoring import advice_policy, certainty, judge, recipes_as_advised
from advisor.rules import EVIDENCE, RULES, choose, log_odds
from strategies.display.progress import track

# The grid. Thresholds of size lie between the sizes of the study, halfway on a logarithmic scale.
SIZES = (50.0, 175.0, 550.0, 2_000.0)
SIMILARITIES = tuple(round(0.05 * step, 2) for step in range(1, 20))
ENDS: dict[str, tuple[float, ...]] = {
    "images_per_class": (10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 160.0, 240.0),
    "late_gain": tuple(step / 100 for step in range(-4, 17, 2)),
    "headroom": (0.02, 0.05, 0.1, 0.15),
}
# True without a fit: if a new head is wrong on less than a point of the images, no recipe can gain more than that.
ALWAYS = {"headroom": 0.01}
FACTORS = (3.0,)  # on the learning rates of `fine_tune_all`, below a similarity
LEAST_GAIN = 0.001  # a number that gains less than a tenth of a point of mean accuracy is left out
TIE = 0.0003  # numbers this close to the best are equally good; the middle one is taken


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """The data of the fit: a row for each cell and seed.

    Attributes:
        dataset: Name of the dataset of each row.
        weight: Weight of each row; the seeds of a cell share a weight of 1.
        measures: Name of a measure -> its value in each row.
        accuracy: Accuracy of the recipes in the order of `RULES`, shape `(num_rows, 4)`.
    """

    dataset: np.ndarray
    weight: np.ndarray
    measures: Mapping[str, np.ndarray]
    accuracy: np.ndarray

    def without(self, dataset: str | None) -> Samples:
        """Returns the rows of all datasets but one."""
        keep = self.dataset != dataset
        return Samples(
            dataset=self.dataset[keep],
            weight=self.weight[keep],
            measures={name: values[keep] for name, values in self.measures.items()},
            accuracy=self.accuracy[keep],
        )


def gather(cells: Sequence[StudyCell], rates: Mapping[str, float]) -> Samples:
    """Returns the rows of cells, with `fine_tune_all` at the learning rates that `rates` gives."""
    rows = [(cell, seed) for cell in cells for seed in cell.seeds]
    measures = [cell.facts[seed].measures() for cell, seed in rows]
    accuracy = []
    for cell, seed in rows:
        table = recipes_as_advised(cell, seed, rates)
        accuracy.append([table[rule.recipe][0] for rule in RULES])
    return Samples(
        dataset=np.array([cell.dataset for cell, _ in rows]),
        weight=np.array([1 / len(cell.seeds) for cell, _ in rows]),
        measures={name: np.array([row[name] for row in measures]) for name in measures[0]},
        accuracy=np.array(accuracy),
    )


def fit_rates(cells: Sequence[StudyCell]) -> dict[str, float]:
    """Fits the similarity below which `fine_tune_all` trains at a multiple of its learning rates.

    This changes the defaults of a recipe, so it must gain more than one standard error over datasets. If it does not,
    the similarity is 0.
    """
    unchanged = {"similarity": 0.0, "factor": 1.0}
    options = [{"similarity": value, "factor": factor} for factor in FACTORS for value in (*SIMILARITIES, 1.01)]
    before, names = _fine_tuned(cells, unchanged), np.array([cell.dataset for cell in cells])
    gains = np.array([_fine_tuned(cells, option) for option in options]) - before
    means = gains.mean(axis=1)
    good = np.flatnonzero(means >= means.max() - TIE)
    best = good[_middle(good[:, None].astype(float))]
    by_dataset = np.array([gains[best, names == name].mean() for name in np.unique(names)])
    error = by_dataset.std() / math.sqrt(max(len(by_dataset) - 1, 1))
    return options[best] if means[best] > max(LEAST_GAIN, error) else unchanged


def _fine_tuned(cells: Sequence[StudyCell], rates: Mapping[str, float]) -> np.ndarray:
    """Returns the accuracy of `fine_tune_all` in each cell, the mean over seeds."""
    return np.array(
        [np.mean([recipes_as_advised(cell, seed, rates)["fine_tune_all"][0] for seed in cell.seeds]) for cell in cells]
    )


def fit_two_by_two(samples: Samples) -> dict[str, Any]:
    """Fits the thresholds of size and similarity without evidence."""
    return _best(samples, _with_thresholds({}))


def fit_advice(samples: Samples) -> dict[str, Any]:
    """Fits thresholds and evidence together.

    All rows of evidence are off at first. The row that gains most is switched on, and the thresholds are fitted again
    with it. This is repeated until no row gains a tenth of a point.
    """
    found = {**fit_two_by_two(samples), **{row.name: ALWAYS.get(row.name) for row in EVIDENCE}}
    off = [row.name for row in EVIDENCE]
    while off:
        best = {
            name: _best(
                samples, ({**option, name: end} for option in _with_thresholds(found) for end in ENDS[name]), found
            )
            for name in off
        }
        first = max(off, key=lambda name: _mean(samples, best[name]))
        if _mean(samples, best[first]) <= _mean(samples, found) + LEAST_GAIN:
            break
        found = best[first]
        off.remove(first)
    return found


def _with_thresholds(found: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for size, near in product(SIZES, SIMILARITIES):
        yield {**found, "effective_num_images": size, "similarity": near}


def _mean(samples: Samples, against: Mapping[str, Any]) -> float:
    chosen = choose(samples.measures, against)
    return float(np.average(samples.accuracy[np.arange(len(chosen)), chosen], weights=samples.weight))


def _best(
    samples: Samples, options: Iterable[Mapping[str, Any]], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns the best option; of equally good ones, the middle one of those that move the thresholds least."""
    tried = list(options)
    means = np.array([_mean(samples, option) for option in tried])
    good = np.flatnonzero(means >= means.max() - TIE)
    if before is not None:
        moved = np.array([_moved(tried[index], before) for index in good])
        good = good[moved <= moved.min() + 1e-9]
    return dict(tried[good[_middle(np.array([_flat(tried[index]) for index in good]))]])


def _moved(option: Mapping[str, Any], before: Mapping[str, Any]) -> float:
    """Returns how far the thresholds of size and similarity are from the previous ones."""
    return sum(abs(after - previous) for after, previous in zip(_flat(option)[:2], _flat(before)[:2], strict=True))


def _flat(option: Mapping[str, Any]) -> list[float]:
    """Returns the numbers of an option on scales of about the same length; a row that is off is at the end."""
    return [0.3 if value is None else math.log10(value) / 4 if value > 1 else value for value in option.values()]


def _middle(options: np.ndarray) -> int:
    """Returns the index of the row that is closest to the median row."""
    spread = options.std(axis=0)
    distance = np.abs(options - np.median(options, axis=0)) / np.where(spread > 0, spread, 1)
    return int(distance.sum(axis=1).argmin())


# What the datasets of the study show, for the scale on which a report places the user's images; others keep their name.
TITLES = {
    "asl36": "signed letters",
    "caltech101": "photos of objects",
    "cifar10": "photos at 32 px",
    "clothing10": "clothing",
    "dtd10": "textures",
    "fashion10": "Fashion-MNIST",
    "flowers5": "flowers",
    "gtsrb43": "traffic signs",
    "intel_scenes": "scenes",
    "neu_steel6": "steel defects",
    "pneumonia2": "chest X-rays",
    "pokemon15": "cartoon characters",
    "rsscn7": "aerial photos",
    "skin7": "skin lesions",
    "stanford_dogs": "dogs",
    "wbc4_test": "blood cells",
}
SHARES = (0.1, 0.5, 0.9)
FEWEST_CELLS = 5  # with fewer cells, all cells are used


def fit(cells: Sequence[StudyCell], *, on: date | None = None) -> dict[str, Any]:
    """Fits all numbers of the advice, on all datasets and without each dataset in turn.

    Args:
        cells: Cells of the study; a dataset counts as often as it has cells.
        on: The date in the provenance; default: today.

    Returns:
        The part `fit` of `calibration.json`: `all`, `held_out` by dataset, `landmarks` and `provenance`.
    """
    names = sorted({cell.dataset for cell in cells})
    found = {
        name: _fit_part([cell for cell in cells if cell.dataset != name])
        for name in track((None, *names), "Fitting, without each dataset in turn")
    }
    whole, held_out = found.pop(None), {name: part for name, part in found.items() if name is not None}
    judged = [row for cell in cells for row in _judged(cell, held_out[cell.dataset])]
    for name, part in [(None, whole), *held_out.items()]:
        part["confidence"] = _fit_confidence([row for row in judged if row[0] != name])
        part["outlook"] = _fit_outlook([cell for cell in cells if cell.dataset != name], part)
    return {
        "provenance": _provenance(cells, names, on or date.today()),
        "landmarks": [_landmark([cell for cell in cells if cell.dataset == name]) for name in names],
        "all": whole,
        "held_out": held_out,
    }


def _fit_part(cells: Sequence[StudyCell]) -> dict[str, Any]:
    rates = fit_rates(cells)
    samples = gather(cells, rates)
    alone = fit_two_by_two(samples)
    depths = ({**option, "late_gain": end} for option in _with_thresholds(alone) for end in ENDS["late_gain"])
    return {
        "rates": rates,
        "two_by_two": alone,
        "advice": fit_advice(samples),
        # The confidence uses it even if the advice leaves it out.
        "late_gain": _best(samples, depths, alone)["late_gain"],
    }


def _judged(cell: StudyCell, part: Mapping[str, Any]) -> list[tuple[str, float, bool, bool]]:
    """Returns for each seed: dataset, log odds of the chosen recipe, whether the depths disagree, and correctness."""
    judgment = judge(cell, advice_policy(part), part["rates"])
    if judgment is None:
        return []
    rows = []
    for seed in cell.seeds:
        probability, disagree = certainty(cell.facts[seed], part)
        rows.append((cell.dataset, log_odds(probability), disagree, judgment.right))
    return rows


def _fit_confidence(judged: Sequence[tuple[str, float, bool, bool]]) -> dict[str, float]:
    """Fits the log odds that the advice is correct; a coefficient with the wrong sign is set to zero."""
    from sklearn.linear_model import LogisticRegression

    columns = {"slope": [row[1] for row in judged], "disagree": [float(row[2]) for row in judged]}
    right = np.array([row[3] for row in judged])
    share = (right.sum() + 1) / (len(right) + 2)
    found = {"intercept": math.log(share / (1 - share)), "slope": 0.0, "disagree": 0.0}
    used = list(columns) if 0 < right.sum() < len(right) else []
    while used:
        model = LogisticRegression(C=1.0).fit(np.array([columns[name] for name in used]).T, right)
        fitted = dict(zip(used, model.coef_[0].tolist(), strict=True))
        wrong = [name for name in used if fitted[name] * (-1 if name == "disagree" else 1) < 0]
        if not wrong:
            return {**found, "intercept": float(model.intercept_[0]), **fitted}
        used = [name for name in used if name not in wrong]
    return found


def _fit_outlook(cells: Sequence[StudyCell], part: Mapping[str, Any]) -> dict[str, Any]:
    """Returns which share of the errors of `head_only` each recipe removed where it was advised, and its cost."""
    found = {}
    for rule in RULES:
        rows = []
        for cell in cells:
            for seed in cell.seeds:
                table = recipes_as_advised(cell, seed, part["rates"])
                head, recipe = table["head_only"], table[rule.recipe]
                advised = RULES[int(choose(cell.facts[seed].measures(), part["advice"]))] == rule
                rows.append((advised, (recipe[0] - head[0]) / max(1 - head[0], 1e-9), recipe[1] / head[1]))
        chosen = [row for row in rows if row[0]]
        used = chosen if len(chosen) >= FEWEST_CELLS else rows
        found[rule.recipe] = {
            "errors_removed": [float(np.quantile([row[1] for row in used], share)) for share in SHARES],
            "times_head": float(np.median([row[2] for row in used])),
            "where": "advised" if used is chosen else "everywhere",
        }
    return found


def _landmark(cells: Sequence[StudyCell]) -> dict[str, Any]:
    largest = max(cells, key=lambda cell: max(facts.effective_num_images for facts in cell.facts.values()))
    scores = [float(facts.similarity.score or 0) for facts in largest.facts.values()]
    name = largest.dataset
    return {"name": name, "title": TITLES.get(name, name), "score": float(np.mean(scores))}


def _provenance(cells: Sequence[StudyCell], names: Sequence[str], on: date) -> dict[str, Any]:
    measures = [facts.measures() for cell in cells for facts in cell.facts.values()]
    return {
        "datasets": list(names),
        "sizes": sorted({cell.size for cell in cells}, key=lambda size: (not size.isdigit(), size.zfill(9))),
        "num_cells": len(cells),
        "num_runs": sum(len(methods) for cell in cells for methods in cell.accuracy.values()),
        "fewest_seeds": min(len(cell.seeds) for cell in cells),
        "backbones": sorted({f"{cell.backbone} at {cell.image_size} px" for cell in cells}),
        "trainer_versions": sorted({version for cell in cells for version in cell.trainer_versions}),
        "ranges": {
            name: [min(row[name] for row in measures), max(row[name] for row in measures)]
            for name in ("effective_num_images", "similarity")
        },
        "date": on.isoformat(),
    }
