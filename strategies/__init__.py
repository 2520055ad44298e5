"""Carries out a transfer-learning recipe in Keras. This package works without `advisor`."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "BACKBONES": "strategies.networks.backbones",
    "Plan": "strategies.plans.plan",
    "RECIPES": "strategies.recipes",
    "TrainingResult": "strategies.training.result",
    "add_backbone": "strategies.networks.own_backbone",
    "build_backbone": "strategies.networks.pretrained",
    "build_model": "strategies.training.model",
    "evaluate_run": "strategies.runs.evaluation",
    "export": "strategies.runs.exporting",
    "extract_features": "strategies.features.extraction",
    "get_backbone": "strategies.networks.backbones",
    "get_recipe": "strategies.recipes",
    "gradcam": "strategies.runs.heatmaps",
    "load_dataset": "strategies.data.loading",
    "make_plan": "strategies.plans.planning",
    "on_ray": "strategies.cluster",
    "overlay": "strategies.runs.heatmaps",
    "predict": "strategies.runs.prediction",
    "read_plan": "strategies.plans.plan",
    "read_run": "strategies.runs.run_folder",
    "split_dataset": "strategies.data.splits",
    "train": "strategies.training.trainer",
    "with_batch_norm": "strategies.plans.planning",
    "with_batch_size": "strategies.plans.planning",
    "with_budget": "strategies.plans.planning",
    "with_rates": "strategies.plans.planning",
    "write_script": "strategies.plans.script",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
