"""The files of an advice folder and of a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advisor.report.markdown import advice_markdown, export_markdown, training_markdown
from strategies.exporting import read_exports
from strategies.files import check_output, write_json

if TYPE_CHECKING:
    from advisor.recommendation import Recommendation
    from strategies.training import TrainingResult

EXPORTS = ("<!-- exports -->", "<!-- /exports -->")  # around the section of a report that is written later


def save_advice(advice: Recommendation, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes `fingerprint.json`, `plan.json` and `report.md`; returns the folder."""
    path = check_output(folder, overwrite=overwrite)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "fingerprint.json", advice.fingerprint())
    write_json(path / "plan.json", advice.plan.to_dict())
    (path / "report.md").write_text(advice_markdown(advice), encoding="utf-8")
    return path


def save_training(advice: Recommendation, result: TrainingResult, path: Path) -> None:
    """Writes everything a run folder holds into `path`, which the caller has checked."""
    result.save(path)
    write_json(path / "fingerprint.json", advice.fingerprint())
    (path / "report.md").write_text(training_markdown(advice, result), encoding="utf-8")
    add_exports(path)


def add_exports(run: Path) -> None:
    """Writes the section "Export" into the report of a run, in the place of an earlier one; no report, no section."""
    path, exports = run / "report.md", read_exports(run)
    if not path.is_file() or not exports:
        return
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(EXPORTS[0])
    after = rest.partition(EXPORTS[1])[2]
    section = f"{EXPORTS[0]}\n{export_markdown(exports)}{EXPORTS[1]}"
    path.write_text(f"{before.rstrip()}\n\n{section}\n{after.lstrip()}", encoding="utf-8")
