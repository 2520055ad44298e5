"""Decodes and resizes images. Advice, training, evaluation and prediction see the same pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from strategies.data.encoded import Encoded, UnreadableImage, open_encoded, readable
from strategies.display.progress import track

# The first bytes decide the format, not the name. Pillow knows forty more formats; for some it starts other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
PIXELS_VERSION = 1  # increase it when a change below changes a pixel: it is part of the keys of cached features


def decode_image(item: Path | str | Encoded | np.ndarray, image_size: int | None = None) -> np.ndarray:
    """Decodes an image as upright RGB on white, and resizes it.

    Args:
        item: A file, an `Encoded` or an array: an item of `ImageDataset.items`.
        image_size: Side of the square in pixels; `None` keeps the image's own size. The image is not cropped and its
            aspect ratio is not kept, as with Keras' `image_dataset_from_directory`.

    Returns:
        uint8 RGB of shape `(image_size, image_size, 3)`.

    Raises:
        UnreadableImage: If the file cannot be decoded completely, or has more than 178,956,970 pixels.
    """
    if isinstance(item, np.ndarray):
        array = item[..., 0] if item.ndim == 3 and item.shape[2] == 1 else item
        return to_pixels(Image.fromarray(np.clip(np.rint(array), 0, 255).astype("uint8")), image_size)
    # Pillow refuses images of more than 178,956,970 pixels, since a small file may fill the memory.
    with readable(item), open_encoded(item) as file, Image.open(file, formats=FORMATS) as image:
        return to_pixels(image, image_size)


def peek_size(item: Path | str | Encoded | np.ndarray) -> tuple[int, int] | None:
    """Returns width and height from the header of an image, or `None` if the header cannot be read."""
    if isinstance(item, np.ndarray):
        return item.shape[1], item.shape[0]
    try:
        with readable(item), open_encoded(item) as file, Image.open(file, formats=FORMATS) as image:
            return image.size
    except UnreadableImage:
        return None


def decode_sizes(content: bytes, sizes: Sequence[int]) -> tuple[tuple[int, int], list[np.ndarray]]:
    """Decodes an image at several sizes, with the same pixels as `decode_image`.

    The image is decoded once if possible. For a JPEG, sizes that differ much are decoded at different scales.

    Args:
        content: The whole file.
        sizes: Sides of the squares in pixels.

    Returns:
        `((width, height), pixels)`: the original size, and uint8 RGB of shape `(size, size, 3)` for each of `sizes`.
    """
    decoded: dict[tuple[int, int], Image.Image] = {}
    pixels: dict[int, np.ndarray] = {}
    for size in dict.fromkeys(sizes):
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            original = image.size
            _draft(image, size)
            scaled = image.size
            if scaled not in decoded:
                decoded[scaled] = _upright(image)
        pixels[size] = _resized(decoded[scaled], size)
    return original, [pixels[size] for size in sizes]


def to_pixels(image: Image.Image, image_size: int | None) -> np.ndarray:
    """Returns the first frame of an opened image as pixels; see `decode_image`."""
    if image_size is None:
        return np.array(_upright(image))
    _draft(image, image_size)
    return _resized(_upright(image), image_size)


def _draft(image: Image.Image, image_size: int) -> None:
    # JPEG only: decoding at 1/2, 1/4 or 1/8 is several times faster and leaves enough pixels for a smooth resize.
    image.draft(None, (2 * image_size, 2 * image_size))


def _resized(image: Image.Image, image_size: int) -> np.ndarray:
    return np.array(image.resize((image_size, image_size), Image.Resampling.BILINEAR))


def _upright(image: Image.Image) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit gray to 8 bits; Pillow's own conversion would clip at 255."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError("pixels of neither 8 nor 16 bit, whose range is unknown")
    return Image.fromarray(np.rint(values / 257).astype("uint8"))


def decode_images(
    items: Sequence[Path] | Sequence[Encoded] | Sequence[np.ndarray],
    image_size: int,
    *,
    description: str = "Reading images",
) -> np.ndarray:
    """Decodes images in parallel.

    Args:
        items: As `ImageDataset.items` holds them.
        image_size: Side of the square in pixels.
        description: Label of the progress bar.

    Returns:
        uint8 RGB of shape `(num_images, image_size, image_size, 3)`, in the order of `items`.

    Raises:
        UnreadableImage: If a file cannot be decoded.
    """
    pixels = np.empty((len(items), image_size, image_size, 3), dtype="uint8")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(lambda item: decode_image(item, image_size), items)
        for index, image in enumerate(track(decoded, description, total=len(items))):
            pixels[index] = image
    return pixels


def decode_readable(
    items: Sequence[Path] | Sequence[Encoded] | Sequence[np.ndarray], image_size: int
) -> tuple[np.ndarray, dict[int, str]]:
    """Decodes images in parallel and leaves out those that cannot be decoded.

    Args:
        items: As `ImageDataset.items` holds them.
        image_size: Side of the square in pixels.

    Returns:
        `(pixels, unreadable)`: uint8 RGB of shape `(num_readable, image_size, image_size, 3)`, in the order of `items`,
        and the reason for each item that is left out, by its index in `items`.
    """

    def decode(item: Path | Encoded | np.ndarray) -> np.ndarray | str:
        try:
            return decode_image(item, image_size)
        except UnreadableImage as error:
            return error.reason

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = list(pool.map(decode, items))
    pixels = [result for result in decoded if isinstance(result, np.ndarray)]
    unreadable = {index: result for index, result in enumerate(decoded) if isinstance(result, str)}
    return np.array(pixels, dtype="uint8").reshape(-1, image_size, image_size, 3), unreadable
