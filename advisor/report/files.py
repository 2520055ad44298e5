"""Writes the files of advice folders and run folders; a report is written from the other files in its folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.advice import Advice
from advisor.outcomes import Outcomes
from advisor.report.html import advice_page, comparison_page, training_page
from advisor.report.markdown import advice_markdown, evaluation_markdown, export_markdown, training_markdown
from advisor.report.pictures import advice_pictures, read_pictures, run_pictures, write_pictures
from strategies.data.dataset import ImageDataset
from strategies.errors import UserError
from strategies.files import check_output, new_file, read_json, write_json
from strategies.plans.plan import read_plan
from strategies.runs.exporting import FOLDER as EXPORTS
from strategies.runs.exporting import read_exports
from strategies.training.run_files import HISTORY, METRICS, PLAN

if TYPE_CHECKING:
    from strategies.runs.evaluation import RunEvaluation
    from strategies.training.result import TrainingResult

FINGERPRINT = "fingerprint.json"


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
    path = check_output(folder, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / PLAN, advice.plan.to_dict())
    _write_advice(path, advice, advice_pictures(advice, data), command)
    return path


def save_training(
    advice: Advice, data: ImageDataset, result: TrainingResult, path: Path, *, command: str | None = None
) -> None:
    """Adds the files of the advice and both reports to the run folder `path`; arguments as in `save_advice`."""
    _write_advice(path, advice, run_pictures(advice, data, result), command)


def _write_advice(path: Path, advice: Advice, pictures: Mapping[str, Any], command: str | None) -> None:
    typed = {} if command is None else {"command": command}
    write_json(path / FINGERPRINT, advice.fingerprint() | typed)
    write_pictures(path, pictures)
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
        file.write(comparison_page(comparison, pictures, command=command))
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
        UserError: If a file is missing or does not follow its schema.
    """
    path = Path(folder)
    plan = read_plan(path / PLAN)
    advised = (path / FINGERPRINT).is_file() and bool(plan.advice)
    measured = read_json(path / FINGERPRINT, "fingerprint", package="advisor") if advised else {}
    advice = Advice.from_dicts(measured, plan) if advised else None
    pictures, typed = read_pictures(path), measured.get("command")
    if (path / METRICS).is_file():
        metrics = read_json(path / METRICS, "metrics", package="strategies")
        history = _read_history(path / HISTORY)
        exports = read_exports(path) if (path / EXPORTS).is_dir() else []
        text = training_markdown(plan, metrics, history, advice)
        if exports:
            text = f"{text}\n{export_markdown(exports)}"
        page = training_page(plan, metrics, history, advice, pictures, exports, command=typed)
    elif advice is not None:
        text, page = advice_markdown(advice), advice_page(advice, pictures, command=typed)
    else:
        raise UserError(
            f"Expected a run folder with metrics.json, or an advice folder with fingerprint.json. Received: "
            f"{str(folder)!r} with neither. Give a folder that 'advisor train' or 'advisor recommend' wrote."
        )
    (path / "report.md").write_text(text, encoding="utf-8")
    (path / "report.html").write_text(page, encoding="utf-8")
    return path / "report.md"


def save_evaluation(found: RunEvaluation, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `evaluation.json` and `evaluation.md` into a folder, and returns its path."""
    path = check_output(folder, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "evaluation.json", found.to_dict())
    (path / "evaluation.md").write_text(evaluation_markdown(found), encoding="utf-8")
    return path


def was_trained_on(run: str | Path, data: str) -> bool:
    """Returns whether the run folder says that it was trained on the folder or file `data`."""
    path = Path(run) / FINGERPRINT
    if not path.is_file():
        return False
    source = read_json(path, "fingerprint", package="advisor")["profile"]["source"]
    return Path(source).resolve() == Path(data).resolve()


def _read_history(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise UserError(
            f"Expected the training history. Received: {str(path)!r} ({error.strerror}). Restore the file."
        ) from error
