"""Measures your images and tells which transfer-learning recipe to use with a network pretrained on ImageNet."""

from __future__ import annotations

import importlib
from typing import Any

from advisor._version import __version__ as __version__

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


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
