"""Arrays of pixels, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from strategies.data.dataset import ImageDataset
from strategies.data.sources.labels import encode_labels
from strategies.errors import DatasetError


def is_pair(source: Any) -> bool:
    """Returns whether `source` is a tuple of images and labels."""
    return isinstance(source, tuple) and len(source) == 2


def read_arrays(source: Any) -> ImageDataset:
    """Reads arrays `(x, y)`; see `from_arrays`."""
    images, labels = source
    return from_arrays(images, labels, "arrays")


def from_arrays(images: Any, labels: Any, source: str) -> ImageDataset:
    """Returns a dataset of arrays.

    Args:
        images: Array of values 0-255 and shape `(num_images, height, width[, channels])`, or a list of such images.
        labels: What `encode_labels` takes.
        source: Where they come from, in a few words.

    Raises:
        DatasetError: If shapes, values or labels differ from that.
    """
    items = check_arrays(images)
    class_names, indices = encode_labels(labels)
    return ImageDataset(
        class_names=class_names, labels=indices, items=items, names=tuple(numbered(items)), source=source
    )


def numbered(items: Sequence[Any]) -> list[str]:
    """Returns names for images without names: `"image 0"`, `"image 1"`, ..."""
    return [f"image {index}" for index in range(len(items))]


def check_arrays(images: Any) -> list[np.ndarray]:
    """Checks shapes and values of images, and returns them as a list of arrays.

    Raises:
        DatasetError: If one is not an image of values 0-255.
    """
    if not isinstance(images, list | tuple):
        images = np.asarray(images)
        if images.ndim not in (3, 4) or (images.ndim == 3 and images.shape[-1] in (1, 3, 4)):
            raise _wrong_arrays(
                f"one array of shape {images.shape}", "Use the first dimension for the images: (num_images, ...)"
            )
    arrays = [np.asarray(image) for image in images]
    largest = 0.0
    for index, array in enumerate(arrays):
        is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
        if not is_image or not array.size or array.dtype.kind not in "uif":
            raise _wrong_arrays(f"image {index} of shape {array.shape} and type {array.dtype}", "Convert it")
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 255):  # NaN is neither
            raise _wrong_arrays(f"image {index} with values from {low:g} to {high:g}", "Scale the images to 0-255")
        largest = max(largest, high)
    if largest <= 1 and any(array.dtype.kind == "f" for array in arrays):
        raise _wrong_arrays(f"floats of at most {largest:g}", "Multiply the images by 255")
    return arrays


def _wrong_arrays(received: str, advice: str) -> DatasetError:
    return DatasetError(
        f"Expected images of shape (height, width) or (height, width, 1, 3 or 4 channels) with values 0-255. "
        f"Received: {received}. {advice}."
    )
