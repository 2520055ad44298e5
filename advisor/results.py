"""Results files: CSV files with one row per training, written by the study and by `compare`."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor._version import __version__
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.measure.similarity import Similarity
from strategies.errors import OutputError, few, in_a_sentence
from strategies.files import check_writable, replacing

if TYPE_CHECKING:
    from strategies.training.result import TrainingResult

# Separates a recipe from its variant. Wherever pretrained stages are trained, `retrain_all:inference` sets the
# BatchNorm policy, and `retrain_all:x0.3` multiplies learning rates by 0.3.
VARIANT = ":"
NO_REFIT = f"{VARIANT}no_refit"  # after the name of a recipe whose plan asks for a refit
KEY = ("dataset", "size", "seed", "backbone", "image_size", "recipe")
COLUMNS = (
    *KEY,
    "num_images",
    "accuracy",
    "balanced_accuracy",
    "val_accuracy",
    "val_loss",
    "num_test",
    "seconds",
    "trainer_version",
    "device",
    "fingerprint",
)


# Fields of the profile that name classes or files, that are large, or that depend on who drew the split.
_LEFT_OUT = (
    "images_per_class",
    "class_names",
    "duplicates",
    "duplicates_across_classes",
    "ignored",
    "source",
    "own_splits",
    "findings",
)


def make_fingerprint(profile: DatasetProfile, similarity: Similarity, curve: DepthCurve | None) -> str:
    """Returns the measurements of a dataset as JSON, without the names of classes and files."""
    return json.dumps(
        {
            "profile": {name: value for name, value in profile.to_dict().items() if name not in _LEFT_OUT},
            "similarity": similarity.to_dict(),
            "depth_curve": None if curve is None else curve.to_dict(),
        }
    )


def metrics_of(result: TrainingResult) -> dict[str, Any]:
    """Returns the metrics of a training as columns; those of validation belong to the weights that are kept."""
    kept = result.history.query("phase == @result.best_phase and step == @result.best_step")
    judged = {
        name: float(kept[name].iloc[-1]) if kept[name].notna().any() else None for name in ("val_accuracy", "val_loss")
    }
    return {
        "accuracy": result.test.accuracy,
        "balanced_accuracy": result.test.balanced_accuracy,
        **judged,
        "num_test": result.test.num_images,
        "seconds": result.seconds,
    }


def make_row(key: Sequence[str], metrics: Mapping[str, Any], *, num_images: int, fingerprint: str) -> dict[str, Any]:
    """Returns a row of a results file.

    Args:
        key: Values of the columns `KEY`.
        metrics: From `metrics_of`, or the same columns from another method.
        num_images: Number of images for training and validation.
        fingerprint: From `make_fingerprint`.
    """
    from strategies.networks.backend import keras

    return {
        **dict(zip(KEY, key, strict=True)),
        **metrics,
        "num_images": num_images,
        "trainer_version": __version__,
        "device": f"{platform.machine()}, {keras.backend.backend()}",
        "fingerprint": fingerprint,
    }


def read_results(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a results file; none if the file does not exist."""
    if not path.is_file():
        return []
    csv.field_size_limit(2**24)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_results(path: Path, keys: Iterable[Sequence[Any]] = ()) -> None:
    """Checks that rows can be appended to a results file. The file may be empty or not exist yet.

    Args:
        path: Path of the file.
        keys: Values of the columns `KEY` of the rows that will be appended.

    Raises:
        OutputError: If it is a folder, cannot be written, has other columns, or already holds all of those rows.
    """
    if path.is_dir() or not path.parent.is_dir():
        problem = "a folder" if path.is_dir() else "whose folder does not exist"
        raise OutputError(f"Expected a CSV file to append to. Received: {str(path)!r}, {problem}. Name a file.")
    check_writable(path)
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file))
        rows = read_results(path)
    except (OSError, ValueError, csv.Error) as error:
        raise OutputError(
            f"Expected a results file in CSV. Received: {str(path)!r} ({in_a_sentence(error)}). Name another file."
        ) from error
    if tuple(header) != COLUMNS:
        raise OutputError(
            f"Expected a results file with the columns {', '.join(COLUMNS)}. Received: {str(path)!r} with "
            f"{few(header, 20)}. Name another file."
        )
    if not path.read_bytes().endswith(b"\n"):
        raise OutputError(
            f"Expected a file of complete lines. Received: {str(path)!r}, whose last line is truncated. Complete or "
            f"delete that line."
        )
    existing, wanted = known_keys(rows), [tuple(map(str, key)) for key in keys]
    known = [key for key in wanted if key in existing]
    if known and len(known) == len(wanted):  # with fewer, an earlier run was interrupted
        shared = ", ".join(f"{name} {value}" for name, value in zip(KEY[:-1], known[0], strict=False))
        raise OutputError(
            f"Expected a file without the results of this run. Received: {str(path)!r}, which holds "
            f"{', '.join(key[-1] for key in known)} for {shared}. Name another file, or choose another seed."
        )


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> None:
    """Appends rows to a results file in one step; creates the file with its header if it does not exist."""
    path = path.resolve()
    before = path.read_bytes() if path.is_file() else b""
    with replacing(path) as temporary:
        temporary.write_bytes(before)
        with temporary.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            if not before:
                writer.writeheader()
            writer.writerows(rows)


def known_keys(rows: Iterable[Mapping[str, str]], columns: Sequence[str] = KEY) -> set[tuple[str, ...]]:
    """Returns the values of key columns that rows of a results file have, as text."""
    return {tuple(row[name] for name in columns) for row in rows}
