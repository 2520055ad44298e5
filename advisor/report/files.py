"""The files of an advice folder and of a run folder; the report is written from the other files alone."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from advisor.outlook import Outlook
from advisor.pilot import Pilot
from advisor.probes import DepthCurve
from advisor.profiling import DatasetProfile
from advisor.recommendation import Recommendation
from advisor.report.markdown import advice_markdown, evaluation_markdown, export_markdown, training_markdown
from advisor.rules import RULES
from advisor.similarity import Ruler, Similarity
from strategies.errors import UserError
from strategies.exporting import FOLDER as EXPORTS
from strategies.exporting import read_exports
from strategies.files import check_output, read_json, write_json
from strategies.images import ImageDataset
from strategies.plan import Plan, read_plan

if TYPE_CHECKING:
    from strategies.runs import RunEvaluation
    from strategies.training import TrainingResult


def save_advice(advice: Recommendation, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `fingerprint.json`, `plan.json` and `report.md`; returns the folder."""
    path = check_output(folder, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "fingerprint.json", advice.fingerprint())
    write_json(path / "plan.json", advice.plan.to_dict())
    write_report(path)
    return path


def save_training(advice: Recommendation, result: TrainingResult, path: Path) -> None:
    """Writes what the advice adds to the run folder `path`."""
    write_json(path / "fingerprint.json", advice.fingerprint())
    write_report(path)


def write_report(folder: str | Path) -> Path:
    """Writes `report.md` of a run folder, or of an advice folder, from the files in it; returns its path.

    Neither the images nor the model are read, and neither Keras nor its backend is needed. After training and at any
    time later the text is the same.

    Args:
        folder: Holds `plan.json`; after training `metrics.json` and `history.csv`, after advice `fingerprint.json`.

    Raises:
        UserError: If a file is missing, or does not follow its schema.
    """
    path = Path(folder)
    plan = read_plan(path / "plan.json")
    advised = (path / "fingerprint.json").is_file() and bool(plan.advice)
    advice = read_advice(path, plan) if advised else None
    if (path / "metrics.json").is_file():
        metrics = read_json(path / "metrics.json", "metrics", package="strategies")
        text = training_markdown(plan, metrics, _read_history(path / "history.csv"), advice)
        if (path / EXPORTS).is_dir() and (exports := read_exports(path)):
            text = f"{text}\n{export_markdown(exports)}"
    elif advice is not None:
        text = advice_markdown(advice)
    else:
        raise UserError(
            f"Expected a run folder with metrics.json, or an advice folder with fingerprint.json. Received: "
            f"{str(folder)!r} with neither. Name a folder that 'advisor train' or 'advisor recommend' wrote."
        )
    (path / "report.md").write_text(text, encoding="utf-8")
    return path / "report.md"


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
