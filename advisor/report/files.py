"""The files of an advice folder and of a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advisor.report.markdown import advice_markdown, training_markdown
from strategies.files import check_output, write_json

if TYPE_CHECKING:
    from advisor.recommendation import Recommendation
    from strategies.training import TrainingResult


def save_advice(advice: Recommendation, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `fingerprint.json`, `plan.json` and `report.md`; returns the folder."""
    path = check_output(folder, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "fingerprint.json", advice.fingerprint())
    write_json(path / "plan.json", advice.plan.to_dict())
    (path / "report.md").write_text(advice_markdown(advice), encoding="utf-8")
    return path


def save_training(advice: Recommendation, result: TrainingResult, path: Path) -> None:
    """Writes what the advice adds to the run folder `path`."""
    write_json(path / "fingerprint.json", advice.fingerprint())
    (path / "report.md").write_text(training_markdown(advice, result), encoding="utf-8")
