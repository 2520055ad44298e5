"""How images of any shape become squares: squeezed, cropped or padded. One way serves a dataset and a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from strategies.data.channels import Mixing, with_channels
from strategies.data.encoded import SQUEEZE, Encoded, as_encoded
from strategies.data.png import encode_png
from strategies.data.value_range import with_range
from strategies.errors import unknown_name

# Name -> which side of an image, the shorter or the longer, is that of the square that is cut out around its center
# before it is resized; `None`: it is resized as it is. Where the square is larger, the rest is black, as with Keras and
# TensorFlow. Black is the same for all networks; the color that a network scales to zero differs from one to the next.
SQUARES: dict[str, Callable[[tuple[int, int]], int] | None] = {SQUEEZE: None, "crop": min, "pad": max}


def check_resize(name: str) -> None:
    """Refuses an unknown way to resize.

    Raises:
        UnknownNameError: If there is no such way.
    """
    if name not in SQUARES:
        raise unknown_name("way to resize", name, SQUARES)


def cut_square(image: Image.Image, resize: str, image_size: int) -> Image.Image:
    """Returns what is resized to `image_size` pixels: an RGB image as it is, its center, or the image on black.

    Example:
        >>> from PIL import Image
        >>> from strategies.data.resizing import SQUARES, cut_square
        >>> {name: cut_square(Image.new("RGB", (30, 20)), name, 32).size for name in SQUARES}
        {'squeeze': (30, 20), 'crop': (20, 20), 'pad': (30, 30)}
    """
    choose = SQUARES[resize]
    if choose is None or image.width == image.height:
        return image
    # As small as a JPEG that is decoded at reduced scale, so that a long image does not become a square of its length.
    image = image.reduce(max(1, choose(image.size) // (2 * image_size)))
    side = choose(image.size)
    return cut_around_center(image, side, side)


def cut_around_center(image: Image.Image, width: int, height: int) -> Image.Image:
    """Returns the center of an image, on black where it is smaller."""
    left, top = int((image.width - width) / 2), int((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def resize_of(items: Sequence[Any]) -> str:
    """Returns how items of an `ImageDataset` are resized."""
    return next((item.resize for item in items if isinstance(item, Encoded)), SQUEEZE)


def with_resize(items: Sequence[Any], resize: str) -> list[Any]:
    """Returns items of an `ImageDataset` so that they are resized in a given way: a key of `SQUARES`.

    Example:
        >>> from pathlib import Path
        >>> from strategies.data.resizing import resize_of, with_resize
        >>> resize_of([Path("cat.jpg")]), resize_of(with_resize([Path("cat.jpg")], "crop"))
        ('squeeze', 'crop')
    """
    check_resize(resize)
    return [_with_resize(item, resize) for item in items]


def as_planned(
    items: Sequence[Any], image_bits: int, resize: str, channels: Sequence[int] = (), mixing: Mixing = ()
) -> list[Any]:
    """Returns items of an `ImageDataset` so that they are decoded with the values of a plan that have these names."""
    return with_resize(with_range(with_channels(items, channels, mixing), image_bits), resize)


def _with_resize(item: Any, resize: str) -> Any:
    if resize_of([item]) == resize:
        return item
    if isinstance(item, np.ndarray):
        return Encoded("an array", partial(_png, item), resize=resize)
    return replace(as_encoded(item), resize=resize)


def image_of(array: np.ndarray) -> Image.Image:
    """Returns an array of values 0-255, an item of an `ImageDataset`, as an image."""
    values = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype("uint8"))


def _png(array: np.ndarray) -> bytes:
    """Returns an array as a file without loss."""
    return encode_png(image_of(array))
