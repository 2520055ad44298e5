"""The file names of a run folder, and the check whether a run may write to a folder."""

from __future__ import annotations

from pathlib import Path

from strategies.errors import OutputError
from strategies.files import check_output

REFIT = "refit_"  # in the history, before the names of the phases of a refit
MODEL = "model.keras"
PLAN = "plan.json"
CLASS_NAMES = "class_names.json"
HISTORY = "history.csv"
METRICS = "metrics.json"


def check_run(folder: str | Path, *, overwrite: bool = False, resume: bool = False) -> Path:
    """Returns a run folder as a path, after checking that a run may write to it. Writes nothing.

    Args:
        folder: The run folder.
        overwrite: Whether the folder may hold files.
        resume: Whether the folder may hold an interrupted run.

    Raises:
        OutputError: If the folder holds files that are not allowed, or if a finished run is to be resumed.
    """
    path = Path(folder)
    finished = (path / METRICS).is_file()
    if resume and finished and not overwrite:
        raise OutputError(
            f"Expected an interrupted run. Received: {str(folder)!r}, which is finished. Name another folder."
        )
    return check_output(path, overwrite=overwrite or (resume and is_interrupted(path)))


def is_interrupted(folder: str | Path) -> bool:
    """Returns whether a folder holds a run that was started and is not finished."""
    return Path(folder, PLAN).is_file() and not Path(folder, METRICS).is_file()
