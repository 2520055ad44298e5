"""Datasets in the style of PyTorch: `len(dataset)`, and `dataset[index]` gives an image and its label."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from strategies.data.dataset import ImageDataset
from strategies.data.encoded import Encoded, Local
from strategies.data.png import encode_png
from strategies.data.resizing import image_of
from strategies.data.sources.arrays import check_arrays, numbered
from strategies.data.sources.labels import encode_labels
from strategies.display.progress import track
from strategies.errors import DatasetError


def is_map_style(source: Any) -> bool:
    """Returns whether `source` is such a dataset, and not a collection of Python or numpy."""
    kind = type(source)
    return kind.__module__ not in ("builtins", "numpy") and hasattr(kind, "__getitem__") and hasattr(kind, "__len__")


def read_map_style(source: Any) -> ImageDataset:
    """Reads a dataset in the style of PyTorch. Images are read when they are needed, labels now.

    Labels are `source.targets` where that has one for each image, as in torchvision, and are otherwise read with the
    images. Whole numbers get the names in `source.classes`, if there are any.

    Raises:
        DatasetError: If an item is not a pair of an image and its label.
    """
    targets = getattr(source, "targets", None)
    if targets is None or len(targets) != len(source):
        targets = [_pair(source, index)[1] for index in track(range(len(source)), "Reading labels")]
    labels = [target.item() if hasattr(target, "item") else target for target in targets]
    names = getattr(source, "classes", None)
    if names is not None and all(isinstance(label, int) and 0 <= label < len(names) for label in labels):
        labels = [str(names[label]) for label in labels]
    class_names, indices = encode_labels(labels)
    images = numbered(range(len(source)))
    # Another process cannot read an image without the whole dataset.
    items = [
        Encoded(f"PyTorch dataset: {name}", Local(partial(_png, source, index))) for index, name in enumerate(images)
    ]
    return ImageDataset(
        class_names=class_names, labels=indices, items=items, names=tuple(images), source="PyTorch dataset"
    )


def _pair(source: Any, index: int) -> tuple[Any, Any]:
    item = source[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DatasetError(
            f"Expected a dataset whose items are pairs of an image and its label. Received: {type(item).__name__} as "
            f"item {index} of a {type(source).__name__}. Wrap it so that dataset[index] gives such a pair."
        )
    return item[0], item[1]


def _png(source: Any, index: int) -> bytes:
    image = _pair(source, index)[0]
    if not isinstance(image, Image.Image):
        (array,) = check_arrays([np.asarray(image)])
        image = image_of(array)
    return encode_png(image)
