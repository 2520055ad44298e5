"""The images of a run: where they are, and in which split, in `images.csv`. The table can be read as a dataset."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from strategies.cluster import map_images
from strategies.data.channels import Mixing
from strategies.data.dataset import SPLITS, ImageDataset
from strategies.data.digests import content_digest
from strategies.data.encoded import SQUEEZE, Encoded, UnreadableImage
from strategies.data.loading import load_dataset
from strategies.data.pixels import Pixels
from strategies.data.resizing import as_planned
from strategies.errors import DatasetError, RunError, few, in_a_sentence, redacted
from strategies.files import open_regular, replacing
from strategies.training.run_files import CONTINUE, IMAGES

_COLUMNS = ("path", "label", "split", "sha256")
_GROUP = "group"  # a further column, of images that have groups


def write_images(folder: Path, parts: Mapping[str, ImageDataset], pixels: Mapping[str, Pixels]) -> None:
    """Writes `images.csv`: path, label, split and SHA-256 of every image.

    Args:
        folder: The run folder.
        parts: The images of each split.
        pixels: The same images, whose digests are kept.
    """
    grouped = [_GROUP] if any(part.group is not None for part in parts.values()) else []
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow([*_COLUMNS, *grouped])
    for split, part in parts.items():
        labels = [part.class_names[label] for label in part.labels]
        paths = [_path(item, name) for item, name in zip(part.items, part.names, strict=True)]
        digests = [digest.hex() for digest in pixels[split].digests]
        groups = [part.group or part.names] if grouped else []
        writer.writerows(zip(paths, labels, [split] * len(part), digests, *groups, strict=True))
    with replacing(folder / IMAGES, again=CONTINUE) as temporary:
        temporary.write_bytes(table.getvalue().encode("utf-8", "surrogateescape"))


def _path(item: Any, name: str) -> str:
    """Returns the absolute path of a file; of anything else, its name."""
    if isinstance(item, np.ndarray):
        return name
    path = item.name if isinstance(item, Encoded) else str(item)
    return os.path.abspath(path) if os.path.isfile(path) else redacted(path)


def find_images(
    folder: Path,
    class_names: Sequence[str],
    data: Any = None,
    *,
    image_bits: int,
    resize: str = SQUEEZE,
    channels: Sequence[int] = (),
    mixing: Mixing = (),
) -> ImageDataset:
    """Finds the images of a run again, with their labels and their split.

    Args:
        folder: The run folder.
        class_names: Names of the classes of the run.
        data: Where the images are now: anything that `strategies.load_dataset` takes. They may have other names.
            Default: where they were.
        image_bits: As in the plan of the run.
        resize: Likewise.
        channels: Likewise.
        mixing: Likewise.

    Raises:
        RunError: If the run folder does not say which images it was trained on.
        DatasetError: If an image is missing or has changed.
    """
    rows = _read_rows(folder, class_names)
    source: Sequence[Any] = [Path(row["path"]) for row in rows]
    if data is not None:
        source = load_dataset(data, channels=channels, for_training=False).items
    items = as_planned(source, image_bits, resize, channels, mixing)
    found = dict(zip(map_images(_digest, items, "Reading the images of the run"), items, strict=True))
    missing = [row["path"] for row in rows if bytes.fromhex(row["sha256"]) not in found]
    if missing:
        raise DatasetError(
            f"Expected the {len(rows):,} images that the run was trained on. Received: {len(missing):,} of them that "
            f"are missing or have changed, such as {missing[0]!r}. Restore them, or say where all of them are now "
            f"with --old-data (old_data=...)."
        )
    number = {name: index for index, name in enumerate(class_names)}
    return ImageDataset(
        class_names=tuple(class_names),
        labels=np.array([number[row["label"]] for row in rows], dtype="int64"),
        items=[found[bytes.fromhex(row["sha256"])] for row in rows],
        names=tuple(row["path"] for row in rows),
        source=str(folder / IMAGES),
        split=tuple(row["split"] for row in rows),
        group=tuple(row[_GROUP] for row in rows) if _GROUP in rows[0] else None,
    )


def splits_in(folder: Path, class_names: Sequence[str], items: Sequence[Any]) -> list[str | None]:
    """Returns the split that each image has in a run; `None` for an image that is not of the run.

    Args:
        folder: The run folder.
        class_names: Names of the classes of the run.
        items: Items of an `ImageDataset`, wherever they are now, as the plan of the run decodes them.

    Raises:
        RunError: If `images.csv` is damaged.
    """
    if not (folder / IMAGES).is_file():  # a run of an earlier release
        return [None] * len(items)
    splits = {bytes.fromhex(row["sha256"]): row["split"] for row in _read_rows(folder, class_names)}
    return [splits.get(digest) for digest in map_images(_digest, items, "Reading files")]


def _digest(item: Any) -> bytes:
    """Returns the content digest of an image; nothing for one that cannot be read."""
    try:
        return content_digest(item)
    except UnreadableImage:
        return b""


def _read_rows(folder: Path, class_names: Sequence[str]) -> list[dict[str, str]]:
    path = folder / IMAGES
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8", "surrogateescape")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        if not rows or (missing := [name for name in _COLUMNS if name not in rows[0]]):
            raise ValueError("no row" if not rows else f"no column {few(missing)}")
        wrong = [number for number, row in enumerate(rows, start=1) if not _is_image(row, class_names)]
        if wrong:
            raise ValueError(f"a wrong value in row {wrong[0]}")
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"Expected the list of the images that the run was trained on. Received: {str(path)!r} "
            f"({in_a_sentence(error)}). Restore the file, or train the run again."
        ) from error
    return rows


def _is_image(row: Mapping[str | None, str | None], class_names: Sequence[str]) -> bool:
    if None in row or None in row.values():
        return False
    is_digest = re.fullmatch("[0-9a-f]{64}", str(row["sha256"]))
    return bool(is_digest and row["path"]) and row["label"] in class_names and row["split"] in SPLITS
