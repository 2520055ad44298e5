"""Dictionaries from split to source, read as one `ImageDataset`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from strategies.data.dataset import SPLITS, ImageDataset
from strategies.data.sources.paths import SPLIT_NAMES
from strategies.errors import DatasetError, few


def is_parts(source: Any) -> bool:
    """Returns whether `source` is a dictionary, such as `{"train": ..., "test": ...}`."""
    return isinstance(source, Mapping)


def read_parts(source: Any, *, read: Callable[[Any], ImageDataset]) -> ImageDataset:
    """Reads each part as a separate source and records the part of every image.

    Args:
        source: A dictionary from `train`, `val` (or `valid`, `validation`) and `test` to any source of
            `strategies.load_dataset`.
        read: The function that reads a part.

    Raises:
        DatasetError: If a part has another name, or `train` is missing.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> images, labels = np.zeros((4, 8, 8), dtype="uint8"), ["cat", "dog", "cat", "dog"]
        >>> strategies.load_dataset({"train": (images, labels), "test": (images[:2], labels[:2])})
        ImageDataset(6 images, 2 classes, from 'train: arrays, test: arrays')
    """
    strange = [str(name) for name in source if str(name).lower() not in SPLIT_NAMES]
    if strange or "train" not in source:
        raise DatasetError(
            f"Expected a dictionary with train and, optionally, val and test. Received: a dictionary with "
            f"{few([str(name) for name in source]) or 'nothing'}. Rename the parts, or leave others out."
        )
    parts = {str(name): read(part) for name, part in source.items()}
    groups = [group for part in parts.values() for group in part.group or (None,) * len(part)]
    names = tuple(f"{name}/{image}" for name, part in parts.items() for image in part.names)
    class_names = sorted({name for part in parts.values() for name in part.class_names}, key=_by_number(parts))
    items: list[Any] = [item for part in parts.values() for item in part.items]
    labels = [
        np.array([class_names.index(name) for name in part.class_names], dtype="int64")[part.labels]
        for part in parts.values()
    ]
    return ImageDataset(
        class_names=tuple(class_names),
        labels=np.concatenate(labels),
        items=items,
        names=names,
        source=", ".join(f"{name}: {part.source}" for name, part in parts.items()),
        split=tuple(SPLIT_NAMES[name.lower()] for name, part in parts.items() for _ in part.items),
        group=tuple(name if group is None else group for name, group in zip(names, groups, strict=True))
        if any(groups)
        else None,
        ignored={f"{name}/{file}": why for name, part in parts.items() for file, why in part.ignored.items()},
        notes=tuple(dict.fromkeys(note for name, part in parts.items() for note in _notes(name, part))),
    )


def _notes(name: str, part: ImageDataset) -> tuple[str, ...]:
    """Returns the notes of a part, and what to say if it has another split of its own."""
    others = [split for split in SPLITS if split in (part.split or ()) and split != SPLIT_NAMES[name.lower()]]
    if not others:
        return part.notes
    return (
        *part.notes,
        f"The whole part {name!r} is taken as such, also its images called {few(others)} there.",
    )


def _by_number(parts: Mapping[str, ImageDataset]) -> Any:
    """Returns the sort key of class names: numbers are sorted as numbers, unless every part has them sorted as text."""
    numbers = all(name.isdecimal() for part in parts.values() for name in part.class_names)
    as_text = all(list(part.class_names) == sorted(part.class_names) for part in parts.values())
    return int if numbers and not as_text else str
