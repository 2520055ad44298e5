"""Measures your images and tells which transfer-learning recipe to use with a network pretrained on ImageNet."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from advisor._version import __version__ as __version__

if TYPE_CHECKING:
    from advisor.classifier import TransferClassifier as TransferClassifier
    from advisor.comparison import Comparison as Comparison
    from advisor.comparison import compare_recipes as compare_recipes
    from advisor.extension import Extension as Extension
    from advisor.extension import extend as extend
    from advisor.measure.backbones import BackboneComparison as BackboneComparison
    from advisor.measure.backbones import compare_backbones as compare_backbones
    from advisor.measure.examination import check_images as check_images
    from advisor.measure.learning_curve import LearningCurve as LearningCurve
    from advisor.measure.learning_curve import measure_learning_curve as measure_learning_curve
    from advisor.measure.mirroring import Mirroring as Mirroring
    from advisor.measure.probes import DepthCurve as DepthCurve
    from advisor.measure.probes import measure_depth_curve as measure_depth_curve
    from advisor.measure.probes import measure_mirroring as measure_mirroring
    from advisor.measure.profile import DatasetProfile as DatasetProfile
    from advisor.measure.profile import profile_images as profile_images
    from advisor.measure.resizing import Resizing as Resizing
    from advisor.measure.similarity import Similarity as Similarity
    from advisor.measure.similarity import measure_similarity as measure_similarity
    from advisor.race import Race as Race
    from advisor.race import run_race as run_race
    from advisor.recommendation import Recommendation as Recommendation
    from advisor.recommendation import recommend as recommend

_EXPORTS = {
    "BackboneComparison": "advisor.measure.backbones",
    "Comparison": "advisor.comparison",
    "DatasetProfile": "advisor.measure.profile",
    "DepthCurve": "advisor.measure.probes",
    "LearningCurve": "advisor.measure.learning_curve",
    "Extension": "advisor.extension",
    "Mirroring": "advisor.measure.mirroring",
    "Race": "advisor.race",
    "Recommendation": "advisor.recommendation",
    "Resizing": "advisor.measure.resizing",
    "Similarity": "advisor.measure.similarity",
    "TransferClassifier": "advisor.classifier",
    "check_images": "advisor.measure.examination",
    "compare_backbones": "advisor.measure.backbones",
    "compare_recipes": "advisor.comparison",
    "extend": "advisor.extension",
    "measure_depth_curve": "advisor.measure.probes",
    "measure_learning_curve": "advisor.measure.learning_curve",
    "measure_mirroring": "advisor.measure.probes",
    "measure_similarity": "advisor.measure.similarity",
    "profile_images": "advisor.measure.profile",
    "recommend": "advisor.recommendation",
    "run_race": "advisor.race",
}
__all__ = ["__version__", *sorted(_EXPORTS)]


if not TYPE_CHECKING:  # a type checker would take every other name for one of these, of the type Any

    def __getattr__(name: str) -> Any:
        if name not in _EXPORTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
