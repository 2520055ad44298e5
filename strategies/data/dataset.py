"""`ImageDataset`: images, each with its class, and whether a class can be learnt from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.encoded import Encoded
from strategies.errors import DatasetError, few, listed

SPLITS = ("train", "val", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageDataset:
    """Images, each with its class.

    Attributes:
        class_names: Names in the order of the class indices; `()` when unlabelled.
        labels: Class index of each image, shape `(num_images,)`, int64; -1 when unlabelled.
        items: Files, encoded images that lie in something larger, or arrays of shape `(height, width)` or `(height,
            width, 1 | 3 | 4)` and values 0-255.
        names: What a report calls each image: the path relative to the root, or `"image 17"`.
        source: What the images come from, in a few words, such as the folder as the user gave it.
        split: `"train"`, `"val"` or `"test"` for each image; before `split_dataset` only where the user gave it.
        group: Images of one group (a patient, a video) stay on one side of the split.
        picture: Equal numbers for images that are copies of one another, where copies were looked for.
        ignored: Files that lie among the images but are not used, by name.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    items: Sequence[Path] | Sequence[Encoded] | Sequence[np.ndarray]
    names: tuple[str, ...]
    source: str
    split: tuple[str | None, ...] | None = None
    group: tuple[str, ...] | None = None
    picture: tuple[int, ...] | None = None
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns: dict[str, Sized | None] = {
            "labels": self.labels,
            "names": self.names,
            "split": self.split,
            "group": self.group,
            "picture": self.picture,
        }
        for name, column in columns.items():
            if column is not None and len(column) != len(self.items):
                raise DatasetError(
                    f"Expected one entry per image. Received: {len(self.items)} images, {len(column)} {name}. "
                    f"Give as many {name} as images."
                )

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"ImageDataset({len(self)} images, {len(self.class_names)} classes, from {self.source!r})"

    def subset(self, indices: Iterable[int]) -> ImageDataset:
        """Returns the images at `indices`, in that order; the classes stay the same."""
        chosen = [int(index) for index in indices]
        items: list[Any] = [self.items[index] for index in chosen]
        return replace(
            self,
            labels=self.labels[np.array(chosen, dtype="int64")],
            items=items,
            names=tuple(self.names[index] for index in chosen),
            split=self.split and tuple(self.split[index] for index in chosen),
            group=self.group and tuple(self.group[index] for index in chosen),
            picture=self.picture and tuple(self.picture[index] for index in chosen),
        )

    def without_copies(self) -> ImageDataset:
        """Returns the first image of every picture and class: what can be held out without being known already."""
        if self.picture is None:
            return self
        seen = zip(self.picture, self.labels.tolist(), strict=True)
        first = {pair: index for index, pair in reversed(list(enumerate(seen)))}
        return self.subset(sorted(first.values()))


def check_classes(dataset: ImageDataset) -> None:
    """Checks that there are two classes or more, each with two images or more, and each in the training split.

    Raises:
        DatasetError: If not; the text names the classes.
    """
    expected = "Expected two or more classes with at least two images each."
    source, names = dataset.source, dataset.class_names
    if not len(dataset):
        raise DatasetError(f"{expected} Received: {source!r} with no image. Images end in {', '.join(EXTENSIONS)}.")
    if (dataset.labels < 0).any():
        raise DatasetError(f"{expected} Received: {source!r} without labels. Put each class into a folder of its own.")
    counts = np.bincount(dataset.labels, minlength=len(names))
    for number, received, mend in (
        (0, "no image of", "Add images or remove the empty folders."),
        (1, "only one image of", "Add images or remove the class: one image cannot both train and test."),
    ):
        short = [name for name, count in zip(names, counts, strict=True) if count == number]
        if short:
            raise DatasetError(f"{expected} Received: {source!r} with {received} {few(short)}. {mend}")
    if len(names) < 2:
        raise DatasetError(f"{expected} Received: {source!r} with one class, {few(names)}. Add another class.")
    if dataset.split is None:
        return
    trained = {int(label) for label, part in zip(dataset.labels, dataset.split, strict=True) if part in ("train", None)}
    absent = [name for index, name in enumerate(names) if index not in trained]
    if absent:
        raise DatasetError(
            f"Expected training images of every class. Received: {source!r} with none of {few(absent)} in the train "
            f"split. Move some there or remove the class."
        )


def check_unreadable(reasons: Mapping[str, str], total: int, *, source: str, max_unreadable: float) -> None:
    """Refuses a dataset of which too many files, or all, cannot be decoded.

    Args:
        reasons: Why, by the name of the file.
        total: Files that were read.
        source: What the images come from.
        max_unreadable: Largest share that may be unreadable.

    Raises:
        DatasetError: Naming some of them.
    """
    if len(reasons) > max_unreadable * total or len(reasons) == total > 0:
        raise DatasetError(
            f"Expected at most {max_unreadable:.1%} of the images to be unreadable. Received: {len(reasons)} of "
            f"{total} in {source!r}: {few_unreadable(reasons)}. Mend or remove them, or allow more with "
            f"--max-unreadable (max_unreadable=...)."
        )


def few_unreadable(reasons: Mapping[str, str], most: int = 3) -> str:
    """Like `few`, of files that cannot be decoded and why."""
    return listed([f"{name!r} ({why})" for name, why in reasons.items()], most)
