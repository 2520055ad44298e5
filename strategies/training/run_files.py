"""The files of a run folder by name, and whether a run may write to a folder."""

from __future__ import annotations

from pathlib import Path

from strategies.errors import OutputError
from strategies.files import check_output

MODEL = "model.keras"
PLAN = "plan.json"
CLASS_NAMES = "class_names.json"
HISTORY = "history.csv"
METRICS = "metrics.json"


def check_run(folder: str | Path, *, overwrite: bool = False, resume: bool = False) -> Path:
    """Returns the folder of a run if a run may write to it; writes nothing.

    Args:
        folder: The run folder.
        overwrite: Whether it may hold files of an earlier run.
        resume: Whether it may hold a run that was interrupted.

    Raises:
        OutputError: If it holds anything else, or a run that is finished.
    """
    path = Path(folder)
    finished = (path / METRICS).is_file()
    if resume and finished and not overwrite:
        raise OutputError(
            f"Expected a run that was interrupted. Received: {str(folder)!r}, which is finished. Name another folder."
        )
    unfinished = (path / PLAN).is_file() and not finished
    return check_output(path, overwrite=overwrite or (resume and unfinished))
