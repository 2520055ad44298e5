"""Writes the files of advice folders and run folders; a report is written from the other files in its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.advice import Advice
from advisor.outcomes import Outcomes
from advisor.report.html import advice_page, comparison_page, training_page
from advisor.report.markdown import advice_markdown, evaluation_markdown, export_markdown, training_markdown
from advisor.report.pictures import advice_pictures, read_pictures, run_pictures, write_pictures
from strategies.data.dataset import ImageDataset
from strategies.errors import OutputError, RunError, UserError, few, redacted
from strategies.files import check_output, filling, new_file, read_json, write_json, write_text
from strategies.plans.plan import Plan, read_plan
from strategies.runs.exporting import FOLDER as EXPORTS
from strategies.runs.exporting import read_exports
from strategies.runs.run_folder import read_history, read_metrics
from strategies.training.run_files import FINGERPRINT, METRICS, MODEL, PLAN, REPORTS, UNFINISHED

if TYPE_CHECKING:
    from strategies.runs.evaluation import RunEvaluation
    from strategies.training.result import TrainingResult


def save_advice(
    advice: Advice, data: ImageDataset, folder: str | Path, *, overwrite: bool = False, command: str | None = None
) -> Path:
    """Writes `fingerprint.json`, `plan.json`, `pictures.json` and both reports into a folder, and returns its path.

    Args:
        advice: The advice.
        data: The images, split.
        folder: A new or empty folder.
        overwrite: Whether the folder may contain files; default: no.
        command: The command that was typed, if there was one.
    """
    path = check_advice_folder(folder, overwrite=overwrite)
    with filling(path) as temporary:
        write_json(temporary / PLAN, advice.plan.to_dict())
        _write_advice(temporary, advice, advice_pictures(advice, data), command)
    return path


def check_advice_folder(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Returns the path of a folder that advice may be written to. Creates nothing.

    Raises:
        OutputError: If it holds files and `overwrite` is false, if it holds a training run, which the advice would
            spoil, or if it cannot be written to.
    """
    path = check_output(folder, overwrite=overwrite)
    if any((path / name).exists() for name in (MODEL, METRICS, UNFINISHED)):
        raise OutputError(
            f"Expected a folder for advice. Received: {str(folder)!r}, which holds a training run. Name another folder."
        )
    return path


def save_training(
    advice: Advice, data: ImageDataset, result: TrainingResult, path: Path, *, command: str | None = None
) -> None:
    """Adds the files of the advice and both reports to the run folder `path`; arguments as in `save_advice`."""
    _write_advice(path, advice, run_pictures(advice, data, result), command)


def _write_advice(path: Path, advice: Advice, pictures: Mapping[str, Any], command: str | None) -> None:
    typed = {} if command is None else {"command": command, "working_folder": os.getcwd()}
    write_json(path / FINGERPRINT, advice.fingerprint() | typed)
    write_pictures(path, pictures)
    write_report(path)


def save_extension(metrics: Mapping[str, Any], path: Path) -> None:
    """Writes the metrics of an extended run, and both reports, to its run folder `path`."""
    write_json(path / METRICS, metrics)
    write_report(path)


def save_comparison(comparison: Outcomes, data: ImageDataset, path: str | Path, *, command: str | None = None) -> Path:
    """Writes the report of a comparison as one HTML page into a new file, and returns its path.

    Args:
        comparison: The results of all four recipes.
        data: The images, split.
        path: A new file.
        command: The command that was typed, if there was one.

    Raises:
        OutputError: If the file exists, or cannot be created.
    """
    pictures = advice_pictures(comparison.advice, data)
    with new_file(path) as file:
        file.write(comparison_page(comparison, pictures, command=command, working_folder=os.getcwd()))
    return Path(path)


def write_report(folder: str | Path) -> Path:
    """Writes `report.md` and `report.html` of a run folder or an advice folder, from the other files in it.

    Neither the images nor the model are read, and neither Keras nor its backend is needed. The reports are the same
    after training and at any later time. Pictures come from `pictures.json`; without it the page has none.

    Args:
        folder: A folder with `plan.json`; a run folder also has `metrics.json` and `history.csv`, an advice folder
            `fingerprint.json`.

    Returns:
        The path of `report.md`.

    Raises:
        UserError: If a file is missing or does not follow its schema, or if files do not belong together.
    """
    path = Path(folder)
    plan = read_plan(path / PLAN)
    advised = (path / FINGERPRINT).is_file() and bool(plan.advice)
    measured = _read_fingerprint(path / FINGERPRINT, plan) if advised else {}
    advice = Advice.from_dicts(measured, plan) if advised else None
    pictures, typed = read_pictures(path), {name: measured.get(name) for name in ("command", "working_folder")}
    if (path / METRICS).is_file():
        metrics, history = read_metrics(path, plan.class_names), read_history(path)
        if metrics.get("plan_digest", plan.digest()) != plan.digest():
            raise RunError(
                f"Expected {METRICS} and {PLAN} of the same run. Received: {str(folder)!r}, where {METRICS} belongs to "
                f"another plan. Restore the plan, or train again."
            )
        exports = read_exports(path) if (path / EXPORTS).is_dir() else []
        text = training_markdown(plan, metrics, history, advice)
        if exports:
            text = f"{text}\n{export_markdown(exports)}"
        page = training_page(plan, metrics, history, advice, pictures, exports, **typed)
    elif advice is not None:
        text, page = advice_markdown(advice), advice_page(advice, pictures, **typed)
    else:
        raise UserError(
            f"Expected a run folder with metrics.json, or an advice folder with fingerprint.json. Received: "
            f"{str(folder)!r} with neither. Give a folder that 'advisor train' or 'advisor recommend' wrote."
        )
    for name, content in zip(REPORTS, (text, page), strict=True):
        write_text(path / name, content)
    return path / REPORTS[0]


def save_evaluation(found: RunEvaluation, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `evaluation.json` and `evaluation.md` into a folder, and returns its path."""
    path = check_output(folder, overwrite=overwrite)
    with filling(path) as temporary:
        write_json(temporary / "evaluation.json", found.to_dict())
        write_text(temporary / "evaluation.md", evaluation_markdown(found))
    return path


def was_trained_on(run: str | Path, data: str) -> bool:
    """Returns whether the run folder says that it was trained on the folder or file `data`."""
    path = Path(run) / FINGERPRINT
    if not path.is_file():
        return False
    source = read_json(path, "fingerprint", package="advisor")["profile"]["source"]
    return "\0" not in source and os.path.realpath(source) == os.path.realpath(redacted(data))


def _read_fingerprint(path: Path, plan: Plan) -> Mapping[str, Any]:
    """Returns what was measured, after checking that it fits itself and the advice in the plan."""
    measured = read_json(path, "fingerprint", package="advisor")
    curve, learning = measured["depth_curve"], measured.get("learning_curve")
    fits = curve is None or (
        len(curve["stages"]) == len(curve["accuracy"]) == len(curve["standard_error"])
        and {curve["chosen_stage"], curve["best_stage"]} <= set(curve["stages"])
    )
    rows = {
        "profile/images_per_class": set(measured["profile"]["images_per_class"]) <= set(plan.class_names),
        "depth_curve": fits,
        "learning_curve": learning is None
        or (
            len(learning["sizes"]) == len(learning["accuracy"])
            and {row["name"] for row in learning["classes"]} <= set(plan.class_names)
        ),
        "similarity": all(depth["score"] is not None for depth in measured["similarity"]["by_depth"].values()),
    }
    if wrong := [name for name, fits in rows.items() if not fits]:
        raise RunError(
            f"Expected measurements of the images of {PLAN}. Received: {str(path)!r}, where {few(wrong)} does not fit. "
            f"Restore the file."
        )
    return measured
