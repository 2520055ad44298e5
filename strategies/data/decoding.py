"""The one way through the pixels: decoding and resizing, the same for advice, training, evaluation and prediction."""

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

# What a file is follows from its first bytes. Pillow knows forty more formats; for some it starts other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
PIXELS_VERSION = 1  # raise it with any change below that changes a pixel: cached features depend on it


def decode_image(item: Path | str | Encoded | np.ndarray, image_size: int | None = None) -> np.ndarray:
    """Returns the pixels of an image: the one way for advice, training, evaluation and prediction.

    Args:
        item: A file, an `Encoded` or an array, as `ImageDataset.items` holds it.
        image_size: Side of the square to resize to; `None` keeps the image's own size. The aspect ratio is not kept:
            all of the image stays in view, as with Keras' `image_dataset_from_directory`.

    Returns:
        uint8 RGB of shape `(image_size, image_size, 3)`.

    Raises:
        UnreadableImage: If the file cannot be decoded to its end, or has more than 178,956,970 pixels.
    """
    if isinstance(item, np.ndarray):
        array = item[..., 0] if item.ndim == 3 and item.shape[2] == 1 else item
        return to_pixels(Image.fromarray(np.clip(np.rint(array), 0, 255).astype("uint8")), image_size)
    # Pillow itself refuses to open what has more than 178,956,970 pixels: a small file may fill the memory.
    with readable(item), open_encoded(item) as file, Image.open(file, formats=FORMATS) as image:
        return to_pixels(image, image_size)


def peek_size(item: Path | str | Encoded | np.ndarray) -> tuple[int, int] | None:
    """Returns width and height from the header of an image, or `None` where it cannot be read."""
    if isinstance(item, np.ndarray):
        return item.shape[1], item.shape[0]
    try:
        with readable(item), open_encoded(item) as file, Image.open(file, formats=FORMATS) as image:
            return image.size
    except UnreadableImage:
        return None


def decode_sizes(content: bytes, sizes: Sequence[int]) -> tuple[tuple[int, int], list[np.ndarray]]:
    """Returns the pixels of an encoded image at several sizes, those of `decode_image`; read once, decoded once if so.

    Args:
        content: The whole file.
        sizes: Sides of the squares to resize to. Of a JPEG, sizes that differ much are decoded at scales of their own.

    Returns:
        Width and height of the original, and uint8 RGB of shape `(size, size, 3)` for each size.
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
    """Returns the first frame of an opened image upright, on white, as RGB and resized; see `decode_image`."""
    if image_size is None:
        return np.array(_upright(image))
    _draft(image, image_size)
    return _resized(_upright(image), image_size)


def _draft(image: Image.Image, image_size: int) -> None:
    # JPEG only: decodes at 1/2, 1/4 or 1/8, several times faster, and leaves enough for a smooth resize.
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
    """Scales 16-bit gray; Pillow's own conversion would cut off at 255."""
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
    """Decodes images in threads.

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
    """Decodes images in threads and goes on where one cannot be decoded.

    Returns:
        `(pixels, unreadable)`: uint8 RGB of shape `(num_readable, image_size, image_size, 3)`, in the order of `items`,
        and the reason for each index in `items` that is left out.
    """

    def decode(item: Path | Encoded | np.ndarray) -> np.ndarray | str:
        try:
            return decode_image(item, image_size)
        except UnreadableImage as error:
            return error.reason

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = list(pool.map(decode, items))
    readable_ones = [one for one in decoded if isinstance(one, np.ndarray)]
    unreadable = {index: one for index, one in enumerate(decoded) if isinstance(one, str)}
    return np.array(readable_ones, dtype="uint8").reshape(-1, image_size, image_size, 3), unreadable
