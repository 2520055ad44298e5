"""Datasets of Hugging Face's `datasets` package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from strategies.data.dataset import ImageDataset
from strategies.data.encoded import MAX_FILE_BYTES, Encoded, Local
from strategies.data.sources.arrays import numbered
from strategies.data.sources.labels import cell_text, check_filled, encode_labels
from strategies.display.progress import track
from strategies.errors import DatasetError
from strategies.files import open_regular

_SOURCE = "datasets.Dataset"
_LABEL_NAMES = ("label", "labels")


def is_hub_dataset(source: Any) -> bool:
    """Returns whether `source` is a `datasets.Dataset` or its stream, without importing `datasets`."""
    is_theirs = type(source).__module__.split(".")[0] == "datasets" and hasattr(source, "cast_column")
    return is_theirs and not isinstance(source, Mapping)  # a DatasetDict is a dictionary of splits


def read_hub_dataset(source: Any) -> ImageDataset:
    """Reads a `datasets.Dataset` with one image column and one class column. Images are read when they are needed.

    The class column is the only `ClassLabel` column, or a column named `label` or `labels`. A stream is read now: its
    images are kept in memory as they are encoded.

    Raises:
        DatasetError: If the dataset does not have exactly one column of each kind, or is a stream without columns.
    """
    if source.features is None:
        raise DatasetError(
            "Expected a datasets.Dataset. Received: a stream whose columns are unknown. Give it features, or load it "
            "with streaming=False."
        )
    kinds = {name: type(feature).__name__ for name, feature in source.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    labels = labels or [name for name in _LABEL_NAMES if name in kinds]
    if len(images) != 1 or len(labels) != 1:
        columns = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise DatasetError(
            f"Expected a datasets.Dataset with one Image column and one ClassLabel column or column named label. "
            f"Received: a dataset with {columns or 'no column'}. Choose two columns with .select_columns()."
        )
    (image,), (label,) = images, labels
    # Without decoding: bytes, or the path of a file.
    encoded = source.select_columns([image, label]).cast_column(image, type(source.features[image])(decode=False))
    if hasattr(source, "__len__"):
        given, rows = list(source[label]), encoded.select_columns([image])
    else:
        rows = list(track(encoded, "Reading the stream"))
        given = [row[label] for row in rows]
    class_names, indices = encode_labels(_names(given, source.features[label]))
    names = numbered(range(len(rows)))
    # Another process cannot read a row without the whole dataset.
    items = [Encoded(f"{_SOURCE}: {name}", Local(partial(_read, rows, image, row))) for row, name in enumerate(names)]
    return ImageDataset(class_names=class_names, labels=indices, items=items, names=tuple(names), source=_SOURCE)


def _names(labels: list[Any], feature: Any) -> list[Any]:
    """Returns the class name of each label. Hugging Face writes -1 for a hidden label."""
    names = getattr(feature, "names", None)
    if names:
        texts = ["" if label is None or not 0 <= label < len(names) else names[label] for label in labels]
    else:
        texts = [cell_text(label) for label in labels]
    check_filled(texts, "label", _SOURCE)
    return texts if names or not all(isinstance(label, int) for label in labels) else labels


def _read(rows: Any, column: str, row: int) -> bytes:
    cell = rows[row][column]
    if cell is None:
        raise ValueError("no image in this row")
    if cell["bytes"] is not None:
        return cell["bytes"]
    with open_regular(Path(cell["path"]), MAX_FILE_BYTES) as file:
        return file.read()
