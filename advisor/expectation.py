"""What each recipe is expected to reach on a dataset: what it reached in the study's cells like this one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np

from advisor.calibration import StudiedCell, studied_cells
from advisor.likeness import LIKENESS, OVERALL, Likeness, weigh, with_overall
from advisor.measure.probes import MAX_IMAGES
from advisor.rules import Facts
from strategies.recipes import RECIPES

TAIL = 0.1  # of the probability, beyond each end of an interval: an 80% interval
SMALLEST_ERROR = 1e-6  # where no difference scatters
# What a refit adds to a recipe that is trained by steps: so much with 100 images, and less with more, by this power of
# their number. Measured in the study; its page has the table.
REFIT_GAIN, REFIT_IMAGES, REFIT_POWER = 0.013, 100, 0.7
A_POINT = 0.01 + 1e-9  # a recipe that is worse by no more is as good

Values = TypeVar("Values", float, np.ndarray)  # of one dataset, or of each cell


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a recipe is expected to reach. Accuracies and gains are fractions.

    Attributes:
        accuracy: Expected test accuracy.
        low: Lower end of its 80% interval.
        high: Upper end.
        gain: Expected accuracy minus that of `head_only`.
        ahead: How far it was ahead of the default recipe in the cells like this one, in standard errors of the
            difference over datasets; negative where it was behind.
        right: How often no other recipe was better by more than a point, a fraction of all cells. All cells count the
            same: weights by likeness did not predict it better.
    """

    accuracy: float
    low: float
    high: float
    gain: float
    ahead: float
    right: float


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What each recipe is expected to reach, and what that rests on.

    Attributes:
        recipes: Recipe -> what it is expected to reach.
        default: The recipe that others have to beat: the one with the least mean regret over all cells of the study.
        num_like: Number of cells exactly like this one that would carry as much weight as all cells together.
        datasets: Names of the datasets of the study that are most like this one, the most alike first.
        known: Whether an image could be held out, so that the accuracy of a new head is known. Otherwise it is taken
            from the study, and only differences between recipes are of use.
    """

    recipes: Mapping[str, Expected]
    default: str
    num_like: float
    datasets: tuple[str, ...]
    known: bool

    def __getitem__(self, recipe: str) -> Expected:
        return self.recipes[recipe]

    def without_refit(self, recipes: Collection[str], num_images: float) -> Expectation:
        """Returns what is expected if some recipes leave out their refit, which those of the study have.

        Args:
            recipes: Names of these recipes.
            num_images: Number of images for training and validation.
        """
        lost = refit_gain(num_images)

        def shorter(row: Expected) -> Expected:
            accuracy, low, high = (max(0.0, value - lost) for value in (row.accuracy, row.low, row.high))
            return replace(row, accuracy=accuracy, low=low, high=high, gain=row.gain - lost)

        found = {name: shorter(row) if name in recipes else row for name, row in self.recipes.items()}
        return replace(self, recipes=found)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `plan.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Expectation:
        """Reads the expectation of `plan.json`."""
        recipes = {name: Expected(**row) for name, row in values["recipes"].items()}
        return cls(**{**values, "recipes": recipes, "datasets": tuple(values["datasets"])})


def refit_gain(num_images: float) -> float:
    """Returns what a refit adds to the accuracy of a recipe that is trained by steps, a fraction.

    Args:
        num_images: Number of images for training and validation.

    Example:
        >>> from advisor.expectation import refit_gain
        >>> round(100 * refit_gain(100), 1), round(100 * refit_gain(1000), 1)
        (1.3, 0.3)
    """
    return float(REFIT_GAIN * (REFIT_IMAGES / max(num_images, REFIT_IMAGES)) ** REFIT_POWER)


def expect(
    facts: Facts, cells: Sequence[StudiedCell] | None = None, *, rows: Sequence[Likeness] = LIKENESS
) -> Expectation:
    """Returns what each recipe is expected to reach on a measured dataset.

    The expectation is a mean over the cells of the study, weighted by how much they are like this dataset. What is
    averaged is the accuracy of each recipe minus the cross-validated accuracy of a new head, divided by the square root
    of the head's errors: the fewer errors are left, the less can be gained. The mean is then multiplied by the square
    root of the head's errors on this dataset, which are measured.

    Args:
        facts: What was measured.
        cells: Cells of the study; default: all.
        rows: The measures that make a cell like this dataset.

    Example:
        >>> from advisor import Similarity
        >>> from advisor.expectation import expect
        >>> from advisor.rules import Facts
        >>> from strategies.networks.network import PretrainedNetwork
        >>> ruler = PretrainedNetwork(backbone="MobileNetV2-0.35", weights="imagenet", image_size=128)
        >>> far = Similarity(
        ...     score=0.1, low=0.08, high=0.12, distance=0.05, floor=0.005, by_depth={}, ruler=ruler,
        ...     calibrated=True, num_images=300)
        >>> found = expect(Facts(effective_num_images=300, num_classes=5, similarity=far))
        >>> found["fine_tune_all"].accuracy > found["head_only"].accuracy, found.known
        (True, False)
    """
    studied = studied_cells() if cells is None else cells
    alike = weigh(facts.measures(), studied, rows)
    weights = with_overall(alike, OVERALL)
    heads = np.array([cell.measures["head_accuracy"] for cell in studied])
    known = ~np.isnan(heads)
    head = facts.head_accuracy
    if head is None:
        head = float(np.average(heads[known], weights=weights[known]))
    names = np.array([cell.dataset for cell in studied])[known]
    scale = _scale(heads[known])
    added = {
        name: (np.array([cell.accuracy[name] for cell in studied])[known] - heads[known]) / scale for name in RECIPES
    }
    counts = np.array([cell.measures["effective_num_images"] for cell in studied])[known]
    noise, own_noise = _noise(heads[known], counts), _noise(head, facts.effective_num_images)
    default = min(RECIPES, key=lambda name: float(np.mean([cell.regret[name] for cell in studied])))
    found = {}
    for name, values in added.items():
        mean = float(np.average(values, weights=weights[known]))
        low, high = _interval(values, weights[known], names, noise, own_noise)
        behind = [min(cell.regret[name], 1 - head) for cell in studied]  # no recipe removes more errors than are left
        right = float(np.mean(np.array(behind) <= A_POINT))
        found[name] = (mean, low, high, _ahead(values - added[default], weights[known], names), right)
    of_head = found["head_only"][0]
    return Expectation(
        recipes={
            name: Expected(
                accuracy=_applied(head, mean),
                low=_applied(head, low),
                high=_applied(head, high),
                gain=_applied(head, mean) - _applied(head, of_head),
                ahead=ahead,
                right=right,
            )
            for name, (mean, low, high, ahead, right) in found.items()
        },
        default=default,
        num_like=float(alike.sum()),
        datasets=tuple(dict.fromkeys(studied[place].dataset for place in np.argsort(-alike, kind="stable"))),
        known=facts.head_accuracy is not None,
    )


def _ahead(differences: np.ndarray, weights: np.ndarray, datasets: np.ndarray) -> float:
    """Returns a weighted mean in standard errors; the cells of a dataset are taken together, since they are alike."""
    mean = float(np.average(differences, weights=weights))
    deviations = weights * (differences - mean)
    sums = np.array([deviations[datasets == name].sum() for name in np.unique(datasets)])
    error = math.sqrt(float((sums**2).sum())) / float(weights.sum())
    return mean / max(error, SMALLEST_ERROR)


def _scale(head: Values) -> Values:
    """Returns the square root of the errors of a new head. They count as one in a hundred at least."""
    return np.sqrt(np.maximum(1 - head, 0.01))


def _applied(head: float, added: float) -> float:
    return float(min(1.0, max(0.0, head + _scale(head) * added)))


def _noise(head: Values, num_images: Values) -> Values:
    """Returns the variance of what is added that comes from measuring a new head on so many images."""
    return head * (1 - head) / np.minimum(num_images, MAX_IMAGES) / _scale(head) ** 2


def _interval(
    values: np.ndarray, weights: np.ndarray, datasets: np.ndarray, noise: np.ndarray, own_noise: float
) -> tuple[float, float]:
    """Returns the ends of the 80% interval of what a recipe adds on a dataset that the study has not seen.

    Of the spread over the cells, the part that comes from measuring the head on few images is replaced by that of these
    images. The new value may also lie beyond all that are known. So it counts as one more dataset, outside each end:
    else a few datasets, which are never as far apart as all that could come, would give too narrow an interval
    (Tibshirani et al. 2019, Conformal prediction under covariate shift).
    """
    mean = float(np.average(values, weights=weights))
    between = max(SMALLEST_ERROR, float(np.average((values - mean) ** 2 - noise, weights=weights)))
    values = mean + (values - mean) * np.sqrt((between + own_noise) / (between + noise))
    shares = np.array([weights[datasets == name].sum() for name in np.unique(datasets)])
    own = 1 / (1 + shares.sum() ** 2 / (shares**2).sum())
    order = np.argsort(values)
    parts = (1 - own) * weights[order] / weights.sum()
    low, high = np.interp([TAIL - own, 1 - TAIL], np.cumsum(parts) - parts / 2, values[order]).tolist()
    return low, high
