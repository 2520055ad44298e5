"""Images in memory, as arrays or as images of Pillow, and lists of paths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from strategies.data.channels import MAX_CHANNELS
from strategies.data.dataset import ImageDataset
from strategies.data.decoding import to_pixels
from strategies.data.encoded import Encoded
from strategies.data.sources.labels import encode_labels, stripped_note
from strategies.data.sources.paths import is_path
from strategies.data.sources.table_files import check_any_exists
from strategies.errors import DatasetError


def is_pair(source: Any) -> bool:
    """Returns whether `source` is a tuple of images and labels."""
    return isinstance(source, tuple) and len(source) == 2


def are_pairs(source: Any) -> bool:
    """Returns whether `source` is a list of pairs of an image and its label."""
    return isinstance(source, list) and bool(source) and all(map(is_pair, source))


def read_pairs(source: Any) -> ImageDataset:
    """Reads a list of pairs of an image and its label; see `from_arrays`."""
    images, labels = zip(*source, strict=True)
    return from_arrays(list(images), list(labels), "pairs")


def read_arrays(source: Any) -> ImageDataset:
    """Reads arrays `(x, y)`; see `from_arrays`."""
    images, labels = source
    return from_arrays(images, labels, "arrays")


def from_arrays(images: Any, labels: Any, source: str) -> ImageDataset:
    """Returns a dataset of arrays.

    Args:
        images: Array of values 0-255 and shape `(num_images, height, width[, channels])` with up to 16 channels, or a
            list of such images, of PIL images or of paths.
        labels: What `encode_labels` takes.
        source: Where they come from, in a few words.

    Raises:
        DatasetError: If shapes, values or labels differ from that.
    """
    items: list[Any]
    if isinstance(images, list | tuple) and images and all(map(is_path, images)):
        items, names = [Path(image) for image in images], [str(image) for image in images]
        check_any_exists(items, source)
    else:
        items = check_arrays(images)
        names = numbered(items)
    class_names, indices = encode_labels(labels)
    return ImageDataset(
        class_names=class_names,
        labels=indices,
        items=items,
        names=tuple(names),
        source=source,
        notes=stripped_note(np.asarray(labels, dtype=object).ravel()),
    )


def encoded_images(source: Any) -> list[Encoded]:
    """Returns the bytes of an encoded image, or a list of several, as items of a dataset; nothing for anything else."""
    given = [source] if isinstance(source, bytes) else source
    if not isinstance(given, list | tuple) or not all(isinstance(content, bytes) for content in given):
        return []
    names = numbered(given)
    return [Encoded(name, partial(bytes, content)) for name, content in zip(names, given, strict=True)]


def numbered(items: Sequence[Any]) -> list[str]:
    """Returns names for images without names: `"image 0"`, `"image 1"`, ..."""
    return [f"image {index}" for index in range(len(items))]


def is_one_image(array: np.ndarray) -> bool:
    """Returns whether an array is one image by its shape, and not several."""
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))


def _is_image(array: np.ndarray) -> bool:
    """Returns whether an array that is one of several may be an image."""
    few = array.ndim == 3 and array.shape[2] <= MAX_CHANNELS and array.shape[0] not in (1, 3, 4)
    return is_one_image(array) or few


def check_arrays(images: Any) -> list[np.ndarray]:
    """Checks shapes and values of images, and returns them as a list of arrays.

    Raises:
        DatasetError: If one is not an image of values 0-255.
    """
    if isinstance(images, np.ndarray) and images.dtype == object:
        images = list(images)
    if not isinstance(images, list | tuple):
        images = np.asarray(images)
        if images.ndim not in (3, 4) or (images.ndim == 3 and images.shape[-1] in (1, 3, 4)):
            raise _wrong_arrays(
                f"one array of shape {images.shape}", "Use the first dimension for the images: (num_images, ...)"
            )
    arrays = [
        to_pixels(image.copy(), None) if isinstance(image, Image.Image) else np.asarray(image) for image in images
    ]
    largest = 0.0
    for index, array in enumerate(arrays):
        if not _is_image(array) or not array.size or array.dtype.kind not in "uif":
            channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
            advice = "Transpose the images to (height, width, channels)" if channels_first else "Convert it"
            raise _wrong_arrays(f"image {index} of shape {array.shape} and type {array.dtype}", advice)
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 255):  # NaN is neither
            raise _wrong_arrays(f"image {index} with values from {low:g} to {high:g}", "Scale the images to 0-255")
        largest = max(largest, high)
    if largest <= 1 and any(array.dtype.kind == "f" for array in arrays):
        raise _wrong_arrays(f"floats of at most {largest:g}", "Multiply the images by 255")
    return arrays


def _wrong_arrays(received: str, advice: str) -> DatasetError:
    return DatasetError(
        f"Expected images of shape (height, width) or (height, width, channels), with up to {MAX_CHANNELS} channels "
        f"and values 0-255. Received: {received}. {advice}."
    )
