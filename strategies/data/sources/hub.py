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

    The class column is the only `ClassLabel` column, or a column named `label` or `labels`.

    Raises:
        DatasetError: If the dataset is a stream, or does not have exactly one column of each kind.
    """
    if not hasattr(source, "__len__") or source.features is None:
        raise DatasetError(
            "Expected a datasets.Dataset. Received: a stream, whose length is unknown. Load it with streaming=False."
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
    # The same column without decoding: bytes, or the path of a file.
    (image,), (label,) = images, labels
    encoded = source.select_columns([image]).cast_column(image, type(source.features[image])(decode=False))
    class_names, indices = encode_labels(_names(list(source[label]), source.features[label]))
    names = numbered(range(len(source)))
    # Another process cannot read a row without the whole dataset.
    items = [
        Encoded(f"{_SOURCE}: {name}", Local(partial(_read, encoded, image, row))) for row, name in enumerate(names)
    ]
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


def _read(encoded: Any, column: str, row: int) -> bytes:
    cell = encoded[row][column]
    if cell is None:
        raise ValueError("no image in this row")
    if cell["bytes"] is not None:
        return cell["bytes"]
    with open_regular(Path(cell["path"]), MAX_FILE_BYTES) as file:
        return file.read()
