"""`ImageDataset`: images with their classes, and the checks that a model can be trained on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dicom import DICOM
from strategies.data.encoded import Encoded
from strategies.errors import DatasetError, few, listed

SPLITS = ("train", "val", "test")
EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", *DICOM)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageDataset:
    """Images with their classes, by reference: files are decoded only when their pixels are needed.

    Attributes:
        class_names: Names in the order of the class indices; `()` when unlabeled.
        labels: Class index of each image, shape `(num_images,)`, int64; -1 when unlabeled.
        items: Files, encoded images that are part of something larger, or arrays of shape `(height, width)` or
            `(height, width, channels)` and values 0-255.
        names: Name of each image in reports: the path relative to the root, or `"image 17"`.
        source: Where the images come from, in a few words, such as the folder as the user gave it.
        split: `"train"`, `"val"` or `"test"` for each image. Before `split_dataset`, `None` unless the user gave it.
        group: Group of each image, such as a patient or a video. A split never divides a group.
        picture: A number per image; copies of one image have the same number. `None` if nobody looked for copies.
        ignored: Why a file among the images is not used, by its name.
        notes: What was assumed while reading, such as the separator of a table, as whole sentences: what was taken for
            what, and how to overrule it. The profile shows them.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    items: Sequence[Path] | Sequence[Encoded] | Sequence[np.ndarray]
    names: tuple[str, ...]
    source: str
    split: tuple[str | None, ...] | None = None
    group: tuple[str, ...] | None = None
    picture: tuple[int, ...] | None = None
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
        """Returns the first image of every picture in every class, so that no class holds copies of an image.

        Without `picture`, the dataset is returned as it is.
        """
        if self.picture is None:
            return self
        seen = zip(self.picture, self.labels.tolist(), strict=True)
        first = {pair: index for index, pair in reversed(list(enumerate(seen)))}
        return self.subset(sorted(first.values()))


def check_classes(dataset: ImageDataset) -> None:
    """Checks that there are at least two classes, each with at least two images and one of them for training.

    Raises:
        DatasetError: If not. The message names the classes.
    """
    expected = "Expected two or more classes with at least two images each."
    source, names = dataset.source, dataset.class_names
    if not len(dataset):
        raise DatasetError(
            f"{expected} Received: {source!r} with no image. Names of images end in {', '.join(EXTENSIONS)}."
        )
    if (dataset.labels < 0).any():
        raise DatasetError(
            f"{expected} Received: {source!r} without labels. Put the images of each class into one folder."
        )
    counts = np.bincount(dataset.labels, minlength=len(names))
    for number, received, advice in (
        (0, "no image of", "Add images or remove the empty folders."),
        (
            1,
            "only one image of",
            "Add images or remove the class: one image cannot both train and test.",
        ),
    ):
        short = [name for name, count in zip(names, counts, strict=True) if count == number]
        if short:
            raise DatasetError(f"{expected} Received: {source!r} with {received} {few(short)}. {advice}")
    if len(names) < 2:
        raise DatasetError(f"{expected} Received: {source!r} with one class, {few(names)}. Add another class.")
    if dataset.split is None:
        return
    trained = {int(label) for label, part in zip(dataset.labels, dataset.split, strict=True) if part in ("train", None)}
    absent = [name for index, name in enumerate(names) if index not in trained]
    if absent:
        raise DatasetError(
            f"Expected training images of every class. Received: {source!r} with none of {few(absent)} in the train "
            f"split. Move some images there or remove the class."
        )


def check_unreadable(reasons: Mapping[str, str], total: int, *, source: str, max_unreadable: float) -> None:
    """Checks that at most a given share of the files, and not all of them, are unreadable.

    Args:
        reasons: Why a file cannot be decoded, by its name.
        total: Number of files that were read.
        source: Where the images come from, for the message.
        max_unreadable: Largest share that may be unreadable, 0 to 1.

    Raises:
        DatasetError: If too many are. The message names some of them.
    """
    if len(reasons) > max_unreadable * total or len(reasons) == total > 0:
        raise DatasetError(
            f"Expected at most {max_unreadable:.1%} of the images to be unreadable. Received: {len(reasons)} of "
            f"{total} in {source!r}: {few_unreadable(reasons)}. Fix or remove them, or allow more with "
            f"--max-unreadable (max_unreadable=...)."
        )


def few_unreadable(reasons: Mapping[str, str], most: int = 3) -> str:
    """Like `few`, for files that cannot be decoded: each name is followed by the reason."""
    return listed([f"{name!r} ({why})" for name, why in reasons.items()], most)
