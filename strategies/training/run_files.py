"""The files of a run folder: their names, and whether the run in a folder is finished."""

from __future__ import annotations

from pathlib import Path

from strategies.errors import OutputError
from strategies.files import check_output, load_json, remove_files, sweep, write_json, write_text
from strategies.plans.plan import Plan, plan_digest

MEASURES = ("loss", "accuracy", "balanced_accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy")
REFIT = "refit_"  # in the history, before the names of the phases of a refit
MODEL = "model.keras"
PLAN = "plan.json"
CLASS_NAMES = "class_names.json"
HISTORY = "history.csv"
METRICS = "metrics.json"
NOVELTY = "novelty.npz"
CHECKPOINT = "checkpoint.npz"
IMAGES = "images.csv"
FINGERPRINT = "fingerprint.json"
PICTURES = "pictures.json"
REPORTS = ("report.md", "report.html")
RESULTS = (METRICS, MODEL, NOVELTY, CLASS_NAMES, HISTORY, IMAGES, CHECKPOINT, FINGERPRINT, PICTURES, *REPORTS)
UNFINISHED = "unfinished.txt"  # written before anything else of a run, and removed after everything else
CONTINUE = "continue with --resume (resume=True): the last saved state is kept"


def check_run(folder: str | Path, *, overwrite: bool = False, resume: bool = False) -> Path:
    """Returns a run folder as a path, after checking that a run may write to it. Writes nothing.

    Args:
        folder: The run folder.
        overwrite: Whether the folder may hold files.
        resume: Whether the folder may hold an interrupted run.

    Raises:
        OutputError: If the folder holds files that are not allowed, if a finished run is to be resumed, or if the
            folder cannot be written to.
    """
    path = Path(folder)
    unfinished = is_unfinished(path)
    if resume and not overwrite and not unfinished and (path / METRICS).is_file():
        raise OutputError(
            f"Expected an interrupted run. Received: {str(folder)!r}, which is finished. Name another folder."
        )
    return check_output(path, overwrite=overwrite or (resume and unfinished), resumable=True)


def is_unfinished(folder: Path) -> bool:
    """Returns whether a folder holds a run that was interrupted, at whatever moment."""
    return (folder / UNFINISHED).is_file() or ((folder / PLAN).is_file() and not (folder / METRICS).is_file())


def can_continue(folder: Path) -> bool:
    """Returns whether a folder holds an interrupted run that came as far as writing its own plan.

    Otherwise the plan in the folder may be that of an earlier run, which was about to be overwritten.
    """
    if not is_unfinished(folder) or not (folder / PLAN).is_file():
        return False
    if not (folder / UNFINISHED).is_file():  # a run of an earlier release
        return True
    values = load_json(folder / PLAN)
    marked = (folder / UNFINISHED).read_text(encoding="utf-8", errors="replace")
    return isinstance(values, dict) and plan_digest(values) in marked


def begin(folder: Path, plan: Plan, *, fresh: bool) -> None:
    """Marks a run folder as unfinished, and writes the plan of the run into it.

    Args:
        folder: The run folder.
        plan: The plan. An earlier one is replaced in one step: it may be the user's only copy.
        fresh: Whether results of an earlier run are removed.
    """
    sweep(folder)
    words = "This run is not finished. Continue it with --resume (resume=True)."
    write_text(folder / UNFINISHED, f"{words}\nSHA-256 of its plan: {plan.digest()}\n")
    if fresh:
        remove_files(folder / name for name in RESULTS)
    write_json(folder / PLAN, plan.to_dict(), again=CONTINUE)


def finish(folder: Path) -> None:
    """Marks a run as finished: everything is written."""
    remove_files((folder / CHECKPOINT, folder / UNFINISHED))
