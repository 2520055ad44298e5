"""The fitted numbers behind the advice, read from `calibration.json`: thresholds, and what else the study gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

# What measures are compared with, by name; `None` where a row of evidence is switched off.
Thresholds = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """A dataset of the study and its similarity to ImageNet, to compare a user's images with."""

    title: str
    score: float


@cache
def calibration() -> Mapping[str, Any]:
    """Returns the content of `calibration.json`: every fitted number, each with what it was fitted on."""
    return json.loads(files("advisor").joinpath("calibration.json").read_text(encoding="utf-8"))


def fitted(without_dataset: str | None = None) -> Mapping[str, Any]:
    """Returns everything that was fitted on the study, or on the study without one of its datasets."""
    fit = calibration()["fit"]
    return fit["held_out"].get(without_dataset, fit["all"])


def thresholds(name: str = "advice", *, without_dataset: str | None = None) -> Thresholds:
    """Returns what everything measured is compared with.

    Args:
        name: `advice`, `two_by_two` (the thresholds of size and similarity, fitted without evidence) or `textbook`.
        without_dataset: A dataset of the study: the thresholds fitted on all others. Any other name gives the
            thresholds that were fitted on all datasets.

    Example:
        >>> from advisor.thresholds import thresholds
        >>> thresholds("textbook")["effective_num_images"]
        20000
    """
    if name == "textbook":
        return {row["measure"]: row["value"] for row in calibration()["textbook"]}
    return fitted(without_dataset)[name]


def landmarks() -> list[Landmark]:
    """Returns the datasets of the study by their similarity to ImageNet, the most different first."""
    rows = (Landmark(title=row["title"], score=row["score"]) for row in calibration()["fit"]["landmarks"])
    return sorted(rows, key=lambda landmark: landmark.score)
