"""Logs a finished run to MLflow."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strategies.errors import UserError, in_a_sentence
from strategies.plans.plan import read_plan
from strategies.runs.run_folder import RunFolder, read_history, read_metrics, read_run
from strategies.startup import starting
from strategies.training.run_files import PLAN

_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "num_images")


def check_mlflow() -> None:
    """Checks that MLflow is installed and that its server answers, so that a training is not made in vain.

    Raises:
        UserError: If not.
    """
    _with_mlflow(lambda mlflow: mlflow.MlflowClient().search_experiments(max_results=1))


def log_to_mlflow(run: str | Path | RunFolder) -> str:
    """Logs a finished run to MLflow and returns the ID that MLflow gave it.

    Numbers and words of the plan are its parameters. The metrics of the test images, the accuracy of a new head alone
    (`head_accuracy`) and the history of the training are its metrics. All files of the run folder, with the model, the
    plan and the report, are its artifacts. Where they go is set as always with MLflow: `MLFLOW_TRACKING_URI` and
    `MLFLOW_EXPERIMENT_NAME`. Needs MLflow: `pip install mlflow`, or `mlflow-skinny` where a server is used.

    Args:
        run: The run folder, or a `RunFolder`.

    Raises:
        RunError: If it is not a finished run.
        UserError: If MLflow is missing, or its server does not take the run.

    Example:
        >>> import strategies
        >>> strategies.log_to_mlflow("no_run/")
        Traceback (most recent call last):
        ...
        strategies.errors.RunError: Expected a run folder...
    """
    run = read_run(run)
    plan, metrics = read_plan(run.path / PLAN), read_metrics(run.path, run.class_names)
    history = read_history(run.path)
    parameters = {name: value for name, value in plan.to_dict().items() if isinstance(value, str | int | float)}
    figures = {f"test_{name}": metrics["test"][name] for name in _FIGURES} | {"seconds": metrics["seconds"]}
    if head := metrics["baseline"].get("head"):
        figures["head_accuracy"] = head["accuracy"]

    def log(mlflow: Any) -> str:
        with mlflow.start_run(run_name=run.path.resolve().name) as started:
            mlflow.log_params(parameters | {"num_classes": len(run.class_names)})
            for row in history:
                values = {name: value for name, value in row.items() if name not in ("phase", "step") and value}
                mlflow.log_metrics({name: float(value) for name, value in values.items()}, step=int(row["step"]))
            mlflow.log_metrics({name: value for name, value in figures.items() if value is not None})
            mlflow.log_artifacts(str(run.path))
            return str(started.info.run_id)

    return str(_with_mlflow(log))


def _with_mlflow(function: Callable[[Any], Any]) -> Any:
    """Returns what a function of the module gives. Whatever is wrong with MLflow or its server is one sentence."""
    if importlib.util.find_spec("mlflow") is None:
        raise UserError(
            "Expected MLflow, to log the run. Received: an environment without it. Install it: pip install mlflow."
        )
    try:
        with starting():  # it prints the address of the run, and warns about its own store
            import mlflow

            return function(mlflow)
    except Exception as error:  # those of MLflow, of the network and of a database
        raise UserError(
            f"Expected a server or folder of MLflow that takes the run. Received: {in_a_sentence(error)[:300]}. Check "
            f"MLFLOW_TRACKING_URI; a finished run is logged later with strategies.log_to_mlflow(RUN)."
        ) from error
