"""Turns labels of any form into class names and a class index for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from strategies.errors import DatasetError


def encode_labels(labels: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns class names, and the class index of each label.

    Text is sorted as text. Whole numbers are sorted as numbers, so labels 0 to n - 1 are the class indices.

    Args:
        labels: A label per image: whole numbers, text, or one-hot rows.

    Raises:
        DatasetError: If an image has no label or several labels, or the labels are measurements.

    Example:
        >>> from strategies.data.sources.labels import encode_labels
        >>> names, indices = encode_labels([10, 2, 2])
        >>> names, indices.tolist()
        (('2', '10'), [1, 0, 0])
    """
    try:
        values = np.asarray(labels)
    except ValueError:  # rows of different length
        raise several_labels("rows of several labels") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        if values.dtype.kind not in "uifb" or ((values != 0) & (values != 1)).any() or (values.sum(axis=1) != 1).any():
            raise several_labels(f"labels of shape {values.shape} whose rows are not one-hot")
        values = values.argmax(axis=1)
    if values.dtype.kind in "SUO":
        texts = [cell_text(value) for value in values.tolist()]
        check_filled(texts, "labels", "arrays")
        values = np.array(texts, dtype=object)
    elif values.ndim != 1 or values.dtype.kind not in "uifb" or (values != np.floor(values)).any():
        raise DatasetError(
            f"Expected one class per image, as text or a whole number. Received: labels of shape {values.shape} and "
            f"type {values.dtype}. Give classes instead of measurements."
        )
    elif values.dtype.kind == "f":
        values = values.astype("int64")
    names, indices = np.unique(values, return_inverse=True)
    return tuple(str(name) for name in names.tolist()), indices.astype("int64")


def cell_text(cell: Any) -> str:
    """Returns a cell of a table as text; `""` if it is empty.

    Raises:
        DatasetError: If it holds several labels.
    """
    if isinstance(cell, list | tuple | set | frozenset | dict | np.ndarray):
        raise several_labels(repr(cell))
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace")
    missing = cell is None or (not isinstance(cell, str) and str(cell) in ("nan", "<NA>", "NaT"))
    return "" if missing or not str(cell).strip() else str(cell)


def check_filled(cells: Sequence[str], column: str, source: str) -> None:
    """Raises a `DatasetError` if a cell of a column is empty."""
    empty = [row for row, cell in enumerate(cells, start=1) if not cell]
    if empty:
        raise DatasetError(
            f"Expected a value in every row of the column {column!r}. Received: {source!r} with none in "
            f"{len(empty)} of {len(cells)} rows, first in row {empty[0]}. Fill them in or remove these rows."
        )


def several_labels(received: str) -> DatasetError:
    """Returns the error for an image with more than one label."""
    return DatasetError(
        f"Expected one label per image: multi-label classification is not supported. Received: {received}. "
        f"Keep one label of each image."
    )
