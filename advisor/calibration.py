"""The numbers behind the advice, read from `calibration.json`: the textbook's, and the cells of the study."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TextbookNumber:
    """A number that the textbook leaves out, from the literature.

    Attributes:
        measure: Name in `Facts.measures` of what is compared with it.
        value: The number: a dataset is large, or similar to ImageNet, from it on.
        unit: Unit of the number.
        source: Where it comes from.
    """

    measure: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """A dataset of the study with its similarity to ImageNet, for comparison with a user's images."""

    title: str
    score: float


@dataclass(frozen=True, kw_only=True)
class StudiedCell:
    """What the study found with one dataset at one size and one network; means over seeds.

    Attributes:
        dataset: Name of the dataset.
        backbone: Name of the network.
        size: Number of training and validation images that was asked for, or `full`.
        num_seeds: Number of seeds.
        measures: What was measured before any training: the names of `Facts.measures`. NaN where it is unknown.
        accuracy: Recipe -> test accuracy, a fraction.
        regret: Recipe -> accuracy of the best recipe minus that of this one, a fraction; cross-fitted where there are
            two seeds or more.
    """

    dataset: str
    backbone: str
    size: str
    num_seeds: int
    measures: Mapping[str, float]
    accuracy: Mapping[str, float]
    regret: Mapping[str, float]


@cache
def calibration() -> Mapping[str, Any]:
    """Returns the content of `calibration.json`: the textbook's numbers, and what the study found."""
    return json.loads(files("advisor").joinpath("calibration.json").read_text(encoding="utf-8"))


@cache
def textbook_numbers() -> Mapping[str, TextbookNumber]:
    """Returns the textbook's numbers by the measure that is compared with them.

    Example:
        >>> from advisor.calibration import textbook_numbers
        >>> textbook_numbers()["effective_num_images"].value
        20000
    """
    return {row["measure"]: TextbookNumber(**row) for row in calibration()["textbook"]}


@cache
def studied_cells() -> tuple[StudiedCell, ...]:
    """Returns the cells of the study that expectations rest on."""
    return read_studied_cells(calibration()["study"]["cells"])


def read_studied_cells(rows: Iterable[Mapping[str, Any]]) -> tuple[StudiedCell, ...]:
    """Reads studied cells from plain values, in which an unknown measure is `None`."""
    return tuple(
        StudiedCell(**{**row, "measures": {name: _number(value) for name, value in row["measures"].items()}})
        for row in rows
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


@dataclass(frozen=True, kw_only=True)
class StudiedRange:
    """What the study covers: beyond it, expectations are extrapolated.

    Attributes:
        backbones: Names of its networks.
        num_datasets: Number of its datasets.
        images: Smallest and largest number of effective images.
        similarity: Lowest and highest similarity to ImageNet.
    """

    backbones: tuple[str, ...]
    num_datasets: int
    images: tuple[float, float]
    similarity: tuple[float, float]


def studied_range() -> StudiedRange:
    """Returns what the study covers."""
    cells = studied_cells()
    counts = [cell.measures["effective_num_images"] for cell in cells]
    scores = [cell.measures["similarity"] for cell in cells]
    return StudiedRange(
        backbones=tuple(sorted({cell.backbone for cell in cells})),
        num_datasets=len({cell.dataset for cell in cells}),
        images=(min(counts), max(counts)),
        similarity=(min(scores), max(scores)),
    )


def landmarks() -> list[Landmark]:
    """Returns the datasets of the study in the order of their similarity to ImageNet, the lowest first."""
    rows = (Landmark(title=row["title"], score=row["score"]) for row in calibration()["study"]["landmarks"])
    return sorted(rows, key=lambda landmark: landmark.score)


def neighbors(score: float) -> tuple[Landmark | None, Landmark | None]:
    """Returns the two datasets of the study nearest to a similarity: the next lower one and the next higher one.

    Args:
        score: Similarity to ImageNet.

    Example:
        >>> from advisor.calibration import neighbors
        >>> below, above = neighbors(0.3)
        >>> below.score < 0.3 <= above.score
        True
    """
    rows = landmarks()
    return (
        next((row for row in reversed(rows) if row.score < score), None),
        next((row for row in rows if row.score >= score), None),
    )
