"""How a transfer-learning recipe is carried out in Keras; usable without the advisor."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "BACKBONES": "strategies.backbones",
    "Plan": "strategies.plan",
    "RECIPES": "strategies.recipes",
    "TrainingResult": "strategies.training",
    "add_backbone": "strategies.own_backbone",
    "build_backbone": "strategies.pretrained",
    "build_model": "strategies.model",
    "evaluate_run": "strategies.runs",
    "export": "strategies.exporting",
    "extract_features": "strategies.features",
    "get_backbone": "strategies.backbones",
    "get_recipe": "strategies.recipes",
    "gradcam": "strategies.heatmaps",
    "load_dataset": "strategies.images",
    "make_plan": "strategies.planning",
    "overlay": "strategies.heatmaps",
    "predict": "strategies.prediction",
    "read_plan": "strategies.plan",
    "read_run": "strategies.run_folder",
    "split_dataset": "strategies.splits",
    "train": "strategies.training",
    "with_batch_norm": "strategies.planning",
    "with_budget": "strategies.planning",
    "with_rates": "strategies.planning",
    "write_script": "strategies.scripting",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
