"""Turns labels of any form into class names and a class index for each image."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from strategies.errors import DatasetError, few

SEPARATORS = "|;,&"  # between the labels of one cell


def encode_labels(labels: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns class names, and the class index of each label.

    Text is sorted as text, without spaces around it. Whole numbers are sorted as numbers, so labels 0 to n - 1 are the
    class indices.

    Args:
        labels: A label per image: whole numbers, text, or one-hot rows.

    Raises:
        DatasetError: If an image has no label or several labels, or the labels are numbers with fractions.

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
    """Returns a cell of a table as text without spaces around it; `""` if it is empty. 1.0 is the text `"1"`.

    Raises:
        DatasetError: If it holds several labels.
    """
    return whole_text(cell).strip()


def whole_text(cell: Any) -> str:
    """Like `cell_text`, with the spaces around it, which the name of a file may have."""
    if isinstance(cell, list | tuple | set | frozenset | dict | np.ndarray):
        raise several_labels(repr(cell))
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace")
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    missing = cell is None or (not isinstance(cell, str) and str(cell) in ("nan", "<NA>", "NaT"))
    return "" if missing else str(cell)


def stripped_note(cells: Any) -> tuple[str, ...]:
    """Returns what to say of labels with spaces around them: a sentence, or nothing."""
    texts = {cell for cell in cells if isinstance(cell, str) and cell != cell.strip()}
    return (f"Spaces around labels were dropped, as in {few(sorted(texts), 3)}.",) if texts else ()


def spelling_notes(class_names: Sequence[str]) -> tuple[str, ...]:
    """Returns a sentence for each group of classes whose names differ in spelling only.

    Example:
        >>> from strategies.data.sources.labels import spelling_notes
        >>> spelling_notes(["Cat", "cat", "dog"])
        ("'Cat', 'cat' differ in spelling only but are separate classes. If they are one class, spell them alike.",)
    """
    alike = defaultdict(list)
    for name in class_names:
        alike[spelling(name)].append(name)
    return tuple(
        f"{few(names)} differ in spelling only but are separate classes. If they are one class, spell them alike."
        for names in alike.values()
        if len(names) > 1
    )


def spelling(name: str) -> str | float:
    """Returns what names have in common that differ in case, spaces, hyphens or the spelling of a number only.

    Example:
        >>> from strategies.data.sources.labels import spelling
        >>> spelling("Red_Fox ") == spelling("red fox"), spelling("1.0") == spelling("1")
        (True, True)
    """
    number = _number(name)
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip() if number is None else number


def _number(text: str) -> float | None:
    """Returns a number written with a fraction or without leading zeros; '01' is a name."""
    return float(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?", text) else None


def check_names(class_names: Sequence[str]) -> None:
    """Raises a `DatasetError` if the names of classes look like measurements, or some like several names.

    Example:
        >>> from strategies.data.sources.labels import check_names
        >>> check_names(["cat", "cat and dog", "dog"])
    """
    numbers = [_number(name) for name in class_names]
    if all(number is not None for number in numbers) and any(math.modf(number or 0)[0] for number in numbers):
        raise DatasetError(
            f"Expected one class per image. Received: {len(class_names)} different numbers with fractions, such as "
            f"{few(class_names, 3)}, which look like measurements. Give classes, such as 'small' and 'large': "
            f"predicting a number is not supported. If the numbers are classes, add a word to each, such as '0.5 euro'."
        )
    listed = [name for name in class_names if re.fullmatch(r"\[.*,.*\]", name)]
    for separator in SEPARATORS:
        listed = listed or _lists(class_names, separator)
    if listed:
        raise several_labels(f"labels that list several, such as {few(listed, 3)}")


def _lists(class_names: Sequence[str], separator: str) -> list[str]:
    """Returns the names that list others: their parts are names too, or stand in another order in another name."""
    parts = {name: [part.strip() for part in name.split(separator)] for name in class_names if separator in name}
    places = defaultdict(set)
    for name_parts in parts.values():
        for place, part in enumerate(name_parts):
            places[part].add(place)
    return [
        name
        for name, own in parts.items()
        if all(own) and (set(own) <= set(class_names) or all(len(places[part]) > 1 for part in own))
    ]


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
