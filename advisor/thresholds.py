"""The fitted numbers behind the advice, read from `calibration.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

# Threshold of each measure by its name; `None` where a row of evidence is switched off.
Thresholds = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """A dataset of the study with its similarity to ImageNet, for comparison with a user's images."""

    title: str
    score: float


@cache
def calibration() -> Mapping[str, Any]:
    """Returns the content of `calibration.json`: every fitted number, and the data that it was fitted on."""
    return json.loads(files("advisor").joinpath("calibration.json").read_text(encoding="utf-8"))


def fitted(without_dataset: str | None = None) -> Mapping[str, Any]:
    """Returns the numbers that were fitted on the study.

    Args:
        without_dataset: A dataset of the study: the numbers fitted on all others. Any other name, or none, gives the
            numbers fitted on all datasets.
    """
    fit = calibration()["fit"]
    return fit["held_out"].get(without_dataset, fit["all"])


def thresholds(name: str = "advice", *, without_dataset: str | None = None) -> Thresholds:
    """Returns a set of thresholds: the threshold of each measure by its name.

    Args:
        name: `advice`, `two_by_two` (size and similarity alone, fitted without evidence) or `textbook` (numbers from
            the literature, not fitted).
        without_dataset: As in `fitted`.

    Example:
        >>> from advisor.thresholds import thresholds
        >>> thresholds("textbook")["effective_num_images"]
        20000
    """
    if name == "textbook":
        return {row["measure"]: row["value"] for row in calibration()["textbook"]}
    return fitted(without_dataset)[name]


def studied_sizes() -> tuple[float, float]:
    """Returns the smallest and the largest number of effective images in the study, beyond which it extrapolates."""
    low, high = calibration()["fit"]["provenance"]["ranges"]["effective_num_images"]
    return low, high


def landmarks() -> list[Landmark]:
    """Returns the datasets of the study in the order of their similarity to ImageNet, the lowest first."""
    rows = (Landmark(title=row["title"], score=row["score"]) for row in calibration()["fit"]["landmarks"])
    return sorted(rows, key=lambda landmark: landmark.score)
