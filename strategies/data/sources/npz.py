"""Arrays of pixels and labels in an `.npz` file, all together or for each split."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from strategies.data.dataset import ImageDataset
from strategies.data.sources.archives import check_zip
from strategies.data.sources.arrays import from_arrays
from strategies.data.sources.parts import read_parts
from strategies.data.sources.paths import SPLIT_NAMES, existing_file
from strategies.data.sources.unused import NO_IMAGE
from strategies.errors import DatasetError, few, in_a_sentence
from strategies.files import open_regular

IMAGES = ("x", "images", "image", "data")
LABELS = ("y", "labels", "label", "targets", "target")


def read_npz(source: Any) -> ImageDataset:
    """Reads the arrays `x` and `y` of an `.npz` file, or those of splits, such as `x_train` and `y_train`.

    Other words for `x` and `y` are `IMAGES` and `LABELS`: `train_images` and `train_labels` are fine. Arrays of Python
    objects are refused: they may hold code.

    Raises:
        DatasetError: If the file is damaged, or has not both arrays.
    """

    def read(pair: tuple[Any, Any]) -> ImageDataset:
        return from_arrays(pair[0], pair[1], str(source))

    path = existing_file(source, "an .npz file")
    try:
        with open_regular(path) as file:
            check_zip(file, str(source))
            with np.load(file, allow_pickle=False) as arrays:
                names = arrays.files
                pairs = _pairs(names, str(source))
                parts = {part: (arrays[x], arrays[y]) for part, (x, y) in pairs.items()}
    except DatasetError:
        raise
    except Exception as error:  # what NumPy and zipfile raise differs by what is wrong
        raise DatasetError(
            f"Expected an .npz file with only numbers and text. Received: {str(source)!r} ({in_a_sentence(error)}). "
            f"Save it again with np.savez."
        ) from error
    dataset = read(parts[""]) if "" in parts else read_parts(parts, read=read)
    others = {name: NO_IMAGE for name in names if not any(name in pair for pair in pairs.values())}
    return replace(dataset, source=str(source), ignored=others)


def _pairs(names: list[str], source: str) -> dict[str, tuple[str, str]]:
    """Returns the names of the images and of the labels for each split, or for `""` where there is none."""
    found: dict[str, list[str]] = {}
    for place, words in enumerate((IMAGES, LABELS)):
        for name in names:
            rest = [part for part in re.split("[_-]", name.lower()) if part not in words]
            if len(rest) < len(re.split("[_-]", name)) and (rest == [] or (len(rest) == 1 and rest[0] in SPLIT_NAMES)):
                found.setdefault("".join(rest), ["", ""])[place] = name
    pairs = {part: (x, y) for part, (x, y) in found.items() if x and y}
    if not pairs or len(pairs) < len(found) or ("" in pairs and len(pairs) > 1):
        raise DatasetError(
            f"Expected an .npz file with the arrays x and y, or x_train, y_train and so on. Received: {source!r} with "
            f"{few(names, 10) or 'none'}. Save it with np.savez(path, x=images, y=labels)."
        )
    return pairs
