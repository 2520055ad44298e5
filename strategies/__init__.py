"""Carries out a transfer-learning recipe in Keras. This package works without `advisor`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategies.cluster import on_ray as on_ray
    from strategies.data.loading import load_dataset as load_dataset
    from strategies.data.splits import split_dataset as split_dataset
    from strategies.features.extraction import extract_features as extract_features
    from strategies.networks.backbones import BACKBONES as BACKBONES
    from strategies.networks.backbones import get_backbone as get_backbone
    from strategies.networks.own_backbone import add_backbone as add_backbone
    from strategies.networks.pretrained import build_backbone as build_backbone
    from strategies.plans.plan import Plan as Plan
    from strategies.plans.plan import read_plan as read_plan
    from strategies.plans.planning import make_plan as make_plan
    from strategies.plans.planning import with_batch_norm as with_batch_norm
    from strategies.plans.planning import with_batch_size as with_batch_size
    from strategies.plans.planning import with_budget as with_budget
    from strategies.plans.planning import with_rates as with_rates
    from strategies.plans.script import write_script as write_script
    from strategies.recipes import RECIPES as RECIPES
    from strategies.recipes import get_recipe as get_recipe
    from strategies.runs.evaluation import evaluate_run as evaluate_run
    from strategies.runs.exporting import export as export
    from strategies.runs.heatmaps import gradcam as gradcam
    from strategies.runs.heatmaps import overlay as overlay
    from strategies.runs.prediction import predict as predict
    from strategies.runs.run_folder import read_run as read_run
    from strategies.runs.tracking import log_to_mlflow as log_to_mlflow
    from strategies.training.model import build_model as build_model
    from strategies.training.result import TrainingResult as TrainingResult
    from strategies.training.trainer import train as train

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
    "log_to_mlflow": "strategies.runs.tracking",
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


if not TYPE_CHECKING:  # a type checker would take every other name for one of these, of the type Any

    def __getattr__(name: str) -> Any:
        if name not in _EXPORTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
