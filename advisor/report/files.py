"""The files of an advice folder and of a run folder; the report is written from the other files alone."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.outlook import Outlook
from advisor.pilot import Pilot
from advisor.probes import DepthCurve
from advisor.profiling import DatasetProfile
from advisor.recommendation import Recommendation
from advisor.report.html import advice_page, command_line, comparison_page, training_page
from advisor.report.markdown import advice_markdown, evaluation_markdown, export_markdown, training_markdown
from advisor.report.pictures import advice_pictures, read_pictures, run_pictures, write_pictures
from advisor.rules import RULES
from advisor.similarity import Ruler, Similarity
from strategies.errors import UserError
from strategies.exporting import FOLDER as EXPORTS
from strategies.exporting import read_exports
from strategies.files import check_output, new_file, read_json, write_json
from strategies.images import ImageDataset
from strategies.plan import Plan, read_plan

if TYPE_CHECKING:
    from advisor.comparison import Comparison
    from strategies.runs import RunEvaluation
    from strategies.training import TrainingResult


def save_advice(advice: Recommendation, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `fingerprint.json`, `plan.json`, `pictures.json` and both reports; returns the folder."""
    path = check_output(folder, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "plan.json", advice.plan.to_dict())
    _write_advice(path, advice, advice_pictures(advice))
    return path


def save_training(advice: Recommendation, result: TrainingResult, path: Path) -> None:
    """Writes what the advice adds to the run folder `path`."""
    _write_advice(path, advice, run_pictures(advice, result))


def _write_advice(path: Path, advice: Recommendation, pictures: Mapping[str, Any]) -> None:
    typed = command_line(sys.argv)
    write_json(path / "fingerprint.json", advice.fingerprint() | ({} if typed is None else {"command": typed}))
    write_pictures(path, pictures)
    write_report(path)


def save_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Writes the report of a comparison, one page, into a new file; returns its path.

    Raises:
        OutputError: If the file exists, or cannot be made.
    """
    pictures = advice_pictures(comparison.advice)
    with new_file(path) as file:
        file.write(comparison_page(comparison, pictures, command=command_line(sys.argv)))
    return Path(path)


def write_report(folder: str | Path) -> Path:
    """Writes `report.md` and `report.html` of a run folder, or of an advice folder, from the files in it.

    Neither the images nor the model are read, and neither Keras nor its backend is needed. After training and at any
    time later the reports are the same. Pictures come from `pictures.json`; without it the page has none.

    Args:
        folder: Holds `plan.json`; after training `metrics.json` and `history.csv`, after advice `fingerprint.json`.

    Returns:
        The path of `report.md`.

    Raises:
        UserError: If a file is missing, or does not follow its schema.
    """
    path = Path(folder)
    plan = read_plan(path / "plan.json")
    advised = (path / "fingerprint.json").is_file() and bool(plan.advice)
    advice = read_advice(path, plan) if advised else None
    pictures, typed = read_pictures(path), _command(path) if advised else None
    if (path / "metrics.json").is_file():
        metrics = read_json(path / "metrics.json", "metrics", package="strategies")
        history = _read_history(path / "history.csv")
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
            f"{str(folder)!r} with neither. Name a folder that 'advisor train' or 'advisor recommend' wrote."
        )
    (path / "report.md").write_text(text, encoding="utf-8")
    (path / "report.html").write_text(page, encoding="utf-8")
    return path / "report.md"


def _command(folder: Path) -> str | None:
    """Returns what was typed to make a folder, where it came from the command line."""
    return read_json(folder / "fingerprint.json", "fingerprint", package="advisor").get("command")


def save_evaluation(found: RunEvaluation, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `evaluation.json` and `evaluation.md`; returns the folder."""
    path = check_output(folder, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "evaluation.json", found.to_dict())
    (path / "evaluation.md").write_text(evaluation_markdown(found), encoding="utf-8")
    return path


def was_trained_on(run: str | Path, data: str) -> bool:
    """Returns whether the images of a run came from the same folder or file as `data`, as far as its files tell."""
    path = Path(run) / "fingerprint.json"
    if not path.is_file():
        return False
    source = read_json(path, "fingerprint", package="advisor")["profile"]["source"]
    return Path(source).resolve() == Path(data).resolve()


def read_advice(folder: Path, plan: Plan) -> Recommendation:
    """Returns the recommendation that `fingerprint.json` and a plan hold, without its images.

    Args:
        folder: Holds `fingerprint.json`.
        plan: With the advice that led to it.
    """
    found = read_json(folder / "fingerprint.json", "fingerprint", package="advisor")
    advice = plan.advice
    profile, similarity = DatasetProfile(**found["profile"]), found["similarity"]
    pilot = advice.get("pilot")
    shared = {item.name for item in fields(Recommendation)} & set(advice) - {"outlook", "pilot"}
    return Recommendation(
        plan=plan,
        rule=next(row for row in RULES if row.recipe == advice["recipe"]),
        profile=profile,
        similarity=Similarity(**{**similarity, "ruler": Ruler(**similarity["ruler"])}),
        depth_curve=None if found["depth_curve"] is None else DepthCurve(**found["depth_curve"]),
        outlook=Outlook(**advice["outlook"]),
        pilot=None if pilot is None else Pilot(**{item.name: pilot[item.name] for item in fields(Pilot)}),
        dataset=ImageDataset(
            class_names=plan.class_names,
            labels=np.zeros(0, dtype="int64"),
            items=(),
            names=(),
            source=profile.source,
        ),
        **{name: advice[name] for name in shared},
    )


def _read_history(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise UserError(
            f"Expected the course of training. Received: {str(path)!r} ({error.strerror}). Put the file back."
        ) from error
