"""Outcomes of the study -> the numbers of the advice, each with the ones that leave one dataset out.

A handful of numbers is fitted, by trying them all: what maximises the mean accuracy of the recipes that are chosen.
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

# What is tried. Thresholds of size lie between the sizes of the study, in the middle on a logarithmic scale.
SIZES = (50.0, 175.0, 550.0, 2_000.0)
SIMILARITIES = tuple(round(0.05 * step, 2) for step in range(1, 20))
ENDS: dict[str, tuple[float, ...]] = {
    "images_per_class": (10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 160.0, 240.0),
    "late_gain": tuple(step / 100 for step in range(-4, 17, 2)),
    "headroom": (0.02, 0.05, 0.1, 0.15),
}
# What holds without a fit: a recipe that a new head leaves less than a point to gain cannot be better by more.
ALWAYS = {"headroom": 0.01}
FACTORS = (3.0,)  # on the learning rates of `fine_tune_all`, below a similarity
LEAST_GAIN = 0.001  # a number that is worth less than a tenth of a point of mean accuracy is left out
TIE = 0.0003  # numbers within this of the best are equally good; the middle of them is taken


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What the fit sees: one row for each cell and seed.

    Attributes:
        dataset: Name of the dataset of each row.
        weight: Of each row; the seeds of a cell share one.
        measures: Name -> value of each row.
        accuracy: Accuracy of the recipes in the order of `RULES`, shape `(num_rows, 4)`.
    """

    dataset: np.ndarray
    weight: np.ndarray
    measures: Mapping[str, np.ndarray]
    accuracy: np.ndarray

    def without(self, dataset: str | None) -> Samples:
        """Returns the rows of all other datasets."""
        keep = self.dataset != dataset
        return Samples(
            dataset=self.dataset[keep],
            weight=self.weight[keep],
            measures={name: values[keep] for name, values in self.measures.items()},
            accuracy=self.accuracy[keep],
        )


def gather(outcomes: Sequence[StudyCell], rates: Mapping[str, float]) -> Samples:
    """Returns the rows of outcomes, `fine_tune_all` at the learning rates that these numbers give it."""
    rows = [(one, seed) for one in outcomes for seed in one.seeds]
    measures = [one.facts[seed].measures() for one, seed in rows]
    accuracy = []
    for one, seed in rows:
        table = recipes_as_advised(one, seed, rates)
        accuracy.append([table[rule.recipe][0] for rule in RULES])
    return Samples(
        dataset=np.array([one.dataset for one, _ in rows]),
        weight=np.array([1 / len(one.seeds) for one, _ in rows]),
        measures={name: np.array([row[name] for row in measures]) for name in measures[0]},
        accuracy=np.array(accuracy),
    )


def fit_rates(outcomes: Sequence[StudyCell]) -> dict[str, float]:
    """Fits below which similarity `fine_tune_all` trains at a multiple of its rates.

    That moves a recipe off its own defaults, so it must gain more than one standard error over datasets; similarity 0
    where it does not.
    """
    unchanged = {"similarity": 0.0, "factor": 1.0}
    options = [{"similarity": value, "factor": factor} for factor in FACTORS for value in (*SIMILARITIES, 1.01)]
    before, names = _fine_tuned(outcomes, unchanged), np.array([one.dataset for one in outcomes])
    gains = np.array([_fine_tuned(outcomes, option) for option in options]) - before
    means = gains.mean(axis=1)
    good = np.flatnonzero(means >= means.max() - TIE)
    best = good[_middle(good[:, None].astype(float))]
    by_dataset = np.array([gains[best, names == name].mean() for name in np.unique(names)])
    error = by_dataset.std() / math.sqrt(max(len(by_dataset) - 1, 1))
    return options[best] if means[best] > max(LEAST_GAIN, error) else unchanged


def _fine_tuned(outcomes: Sequence[StudyCell], rates: Mapping[str, float]) -> np.ndarray:
    """Returns the accuracy of `fine_tune_all` in every cell, the mean over seeds."""
    return np.array(
        [np.mean([recipes_as_advised(one, seed, rates)["fine_tune_all"][0] for seed in one.seeds]) for one in outcomes]
    )


def fit_two_by_two(samples: Samples) -> dict[str, Any]:
    """Fits the thresholds of size and similarity alone."""
    return _best(samples, _with_thresholds({}))


def fit_advice(samples: Samples) -> dict[str, Any]:
    """Fits thresholds and evidence together.

    Of the rows that are off the one that gains most is switched on, the thresholds fitted anew with it, until none
    gains a tenth of a point.
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
    """Returns the best option; of equally good ones those that move the thresholds least, of these the middle one."""
    tried = list(options)
    means = np.array([_mean(samples, option) for option in tried])
    good = np.flatnonzero(means >= means.max() - TIE)
    if before is not None:
        moved = np.array([_moved(tried[index], before) for index in good])
        good = good[moved <= moved.min() + 1e-9]
    return dict(tried[good[_middle(np.array([_flat(tried[index]) for index in good]))]])


def _moved(option: Mapping[str, Any], before: Mapping[str, Any]) -> float:
    """Returns how far the thresholds of size and similarity lie from those before."""
    return sum(abs(after - place) for after, place in zip(_flat(option)[:2], _flat(before)[:2], strict=True))


def _flat(option: Mapping[str, Any]) -> list[float]:
    """Returns the numbers of an option on scales of about the same length; what is switched off lies at the end."""
    return [0.3 if one is None else math.log10(one) / 4 if one > 1 else one for one in option.values()]


def _middle(places: np.ndarray) -> int:
    """Returns the index of the row in the middle of all."""
    spread = places.std(axis=0)
    distance = np.abs(places - np.median(places, axis=0)) / np.where(spread > 0, spread, 1)
    return int(distance.sum(axis=1).argmin())


# What the datasets of the study show, for the ruler that a user's own images are put on; others go by their name.
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
FEWEST_CELLS = 5  # fewer cells than this say nothing on their own


def fit(outcomes: Sequence[StudyCell], *, on: date | None = None) -> dict[str, Any]:
    """Fits every number that the advice rests on, on all datasets and on all but each one.

    Args:
        outcomes: Cells of the study; their datasets count equally often as they have cells.
        on: The date that is noted; default: today.

    Returns:
        The part `fit` of `calibration.json`: `all`, `held_out` by dataset, `landmarks` and `provenance`.
    """
    names = sorted({one.dataset for one in outcomes})
    found = {
        name: _fit_part([one for one in outcomes if one.dataset != name])
        for name in track((None, *names), "Fitting, without each dataset in turn")
    }
    whole, held_out = found.pop(None), {name: part for name, part in found.items() if name is not None}
    judged = [row for one in outcomes for row in _judged(one, held_out[one.dataset])]
    for name, part in [(None, whole), *held_out.items()]:
        part["confidence"] = _fit_confidence([row for row in judged if row[0] != name])
        part["outlook"] = _fit_outlook([one for one in outcomes if one.dataset != name], part)
    return {
        "provenance": _provenance(outcomes, names, on or date.today()),
        "landmarks": [_landmark([one for one in outcomes if one.dataset == name]) for name in names],
        "all": whole,
        "held_out": held_out,
    }


def _fit_part(outcomes: Sequence[StudyCell]) -> dict[str, Any]:
    rates = fit_rates(outcomes)
    samples = gather(outcomes, rates)
    alone = fit_two_by_two(samples)
    depths = ({**option, "late_gain": end} for option in _with_thresholds(alone) for end in ENDS["late_gain"])
    return {
        "rates": rates,
        "two_by_two": alone,
        "advice": fit_advice(samples),
        # Used by the confidence even where the advice leaves it out.
        "late_gain": _best(samples, depths, alone)["late_gain"],
    }


def _judged(outcome: StudyCell, part: Mapping[str, Any]) -> list[tuple[str, float, bool, bool]]:
    """Returns for each seed: dataset, log odds of the cell, whether the depths disagree, whether it was right."""
    judgement = judge(outcome, advice_policy(part), part["rates"])
    if judgement is None:
        return []
    rows = []
    for seed in outcome.seeds:
        probability, disagree = certainty(outcome.facts[seed], part)
        rows.append((outcome.dataset, log_odds(probability), disagree, judgement.right))
    return rows


def _fit_confidence(judged: Sequence[tuple[str, float, bool, bool]]) -> dict[str, float]:
    """Fits the log odds of being right; what would count for the wrong side says nothing, and is zero."""
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


def _fit_outlook(outcomes: Sequence[StudyCell], part: Mapping[str, Any]) -> dict[str, Any]:
    """Returns for each recipe what share of the errors of `head_only` it removed where it was advised, and its cost."""
    found = {}
    for rule in RULES:
        rows = []
        for one in outcomes:
            for seed in one.seeds:
                table = recipes_as_advised(one, seed, part["rates"])
                head, mine = table["head_only"], table[rule.recipe]
                advised = RULES[int(choose(one.facts[seed].measures(), part["advice"]))] == rule
                rows.append((advised, (mine[0] - head[0]) / max(1 - head[0], 1e-9), mine[1] / head[1]))
        chosen = [row for row in rows if row[0]]
        used = chosen if len(chosen) >= FEWEST_CELLS else rows
        found[rule.recipe] = {
            "errors_removed": [float(np.quantile([row[1] for row in used], share)) for share in SHARES],
            "times_head": float(np.median([row[2] for row in used])),
            "where": "advised" if used is chosen else "everywhere",
        }
    return found


def _landmark(outcomes: Sequence[StudyCell]) -> dict[str, Any]:
    largest = max(outcomes, key=lambda one: max(facts.effective_num_images for facts in one.facts.values()))
    scores = [float(facts.similarity.score or 0) for facts in largest.facts.values()]
    name = largest.dataset
    return {"name": name, "title": TITLES.get(name, name), "score": float(np.mean(scores))}


def _provenance(outcomes: Sequence[StudyCell], names: Sequence[str], on: date) -> dict[str, Any]:
    measures = [facts.measures() for one in outcomes for facts in one.facts.values()]
    return {
        "datasets": list(names),
        "sizes": sorted({one.size for one in outcomes}, key=lambda size: (not size.isdigit(), size.zfill(9))),
        "num_cells": len(outcomes),
        "num_runs": sum(len(methods) for one in outcomes for methods in one.accuracy.values()),
        "fewest_seeds": min(len(one.seeds) for one in outcomes),
        "backbones": sorted({f"{one.backbone} at {one.image_size} px" for one in outcomes}),
        "trainer_versions": sorted({version for one in outcomes for version in one.trainer_versions}),
        "ranges": {
            name: [min(row[name] for row in measures), max(row[name] for row in measures)]
            for name in ("effective_num_images", "similarity")
        },
        "date": on.isoformat(),
    }
