"""Decodes and resizes images. Advice, training, evaluation and prediction see the same pixels."""

from __future__ import annotations

import ctypes
import io
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from strategies.data.bands import FORMATS, INSTALL, is_array, peek_bands, read_bands
from strategies.data.channels import RGB, channels_of, mixing_of, num_channels
from strategies.data.encoded import SQUEEZE, Encoded, Undecodable, UnreadableImage, open_encoded, readable
from strategies.data.memory import MemoryBudget
from strategies.data.repair import repaired
from strategies.data.resizing import cut_square, image_of, resize_of
from strategies.data.signatures import why_not_an_image
from strategies.data.upright import Upright, is_deep, upright
from strategies.data.value_range import FULL_RANGE, range_of
from strategies.display.progress import note, track
from strategies.errors import DatasetError, in_a_sentence
from strategies.processes import num_cores

PIXELS_VERSION = 1  # increase it when a change below changes a pixel: it is part of the keys of cached features
MAX_PEEKED = 100  # files whose headers tell whether a dataset has 16-bit images
MEMORY = MemoryBudget(2 * 2**30)  # for all images that are being decoded
BYTES_PER_PIXEL = 8  # while decoding: Pillow holds color in four bytes, and the image in two states

_Result = TypeVar("_Result")


def _hide_messages() -> None:
    """Hides what the readers of images print about damaged files: our reasons say it, once per file.

    Pillow's library for TIFF files is found only where Pillow does not hold it in itself; its function is documented
    in TIFFError(3).
    """
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    with suppress(AttributeError, OSError):
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


_hide_messages()


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """An image at several sizes, and what its file is like.

    Attributes:
        size: Width and height of the file's image.
        pixels: uint8 RGB of shape `(size, size, 3)` for each of the sizes that were asked for.
        bits: As in `strategies.data.upright.Upright`.
        fourth_channel: Likewise.
    """

    size: tuple[int, int]
    pixels: Sequence[np.ndarray]
    bits: int | None
    fourth_channel: bool


def decode_image(
    item: Path | str | Encoded | np.ndarray, image_size: int | None = None, num_channels: int = RGB
) -> np.ndarray:
    """Decodes an image as upright RGB on white, and resizes it.

    An image whose pixels are whole is decoded even if its metadata or the mark of its end is damaged.

    Args:
        item: A file, an `Encoded` or an array: an item of `ImageDataset.items`.
        image_size: Side of the square in pixels; `None` keeps the image's own size and shape. An image is squeezed to
            the square, as with Keras' `image_dataset_from_directory`, unless the item says otherwise; see
            `strategies.data.resizing`.
        num_channels: How many channels are wanted. 3 are red, green and blue, whatever the channels of the item are;
            any other number are the channels of the item.

    Returns:
        uint8 of shape `(image_size, image_size, num_channels)`.

    Raises:
        UnreadableImage: If the file cannot be decoded completely, has more than 178,956,970 pixels, or lacks a channel.
    """
    if isinstance(item, np.ndarray):
        if num_channels != RGB:
            raise UnreadableImage("an array", f"an RGB image, while {num_channels} channels are expected")
        return to_pixels(image_of(item), image_size)

    def use(file: BinaryIO) -> np.ndarray:
        if num_channels != RGB or _has_bands(item, file):
            return _band_pixels(item, file, image_size, num_channels)
        # Pillow refuses images of more than 178,956,970 pixels, since a small file may fill the memory.
        with Image.open(file, formats=FORMATS) as image:
            return to_pixels(image, image_size, range_of([item]), resize_of([item]))

    with readable(item), open_encoded(item) as file:
        return _decode(file, use)


def _has_bands(item: Path | str | Encoded | None, file: BinaryIO) -> bool:
    """Returns whether an image is read band by band: if its channels are named, or if it is an array."""
    return bool(channels_of([item])) or is_array(file)


def _band_pixels(item: Any, file: BinaryIO, image_size: int | None, wanted: int) -> np.ndarray:
    """Returns the channels of an item, or RGB, as pixels."""
    channels, bits, resize = channels_of([item]), range_of([item]), resize_of([item])
    if wanted not in (RGB, num_channels(channels)):
        raise Undecodable(f"{num_channels(channels)} channels are used of it, while {wanted} are expected")
    with _room_for_bands(file, channels):
        bands = read_bands(file, channels)
        images = [bands.rgb(bits, mixing_of([item]))] if wanted == RGB else bands.images(bits)
        if image_size is not None:
            return np.dstack([_resized(cut_square(image, resize, image_size), image_size) for image in images])
        return np.dstack([np.asarray(image) for image in images])


def _room_for_bands(file: BinaryIO, channels: Sequence[int]) -> AbstractContextManager[None]:
    """Waits for the memory that reading the bands of an image needs."""
    header = peek_bands(file)
    if header is not None:
        (width, height), count = header.size, header.count
    else:
        with Image.open(file, formats=FORMATS) as image:
            (width, height), count = image.size, len(channels)
        file.seek(0)
    return MEMORY.reserve(BYTES_PER_PIXEL * (1 + count) * width * height)


def peek_size(item: Path | str | Encoded | np.ndarray) -> tuple[int, int] | None:
    """Returns width and height from the header of an image, or `None` if the header cannot be read."""
    if isinstance(item, np.ndarray):
        return item.shape[1], item.shape[0]
    try:
        with readable(item), open_encoded(item) as file:
            if (header := peek_bands(file)) is not None:
                return header.size
            with Image.open(file, formats=FORMATS) as image:
                return image.size
    except UnreadableImage:
        return None


def decode_sizes(content: bytes, sizes: Sequence[int], item: Path | Encoded | None = None) -> DecodedImage:
    """Decodes an image at several sizes, with the same pixels as `decode_image` where images are squeezed.

    The image is decoded once if possible. For a JPEG, sizes that differ much are decoded at different scales.

    Args:
        content: The whole file.
        sizes: Sides of the squares in pixels.
        item: The item that the file is of, which says how it is decoded. Default: as a file by itself.

    Raises:
        Undecodable: If it cannot be decoded.
    """

    bits = range_of([item])

    def use(file: BinaryIO) -> DecodedImage:
        if _has_bands(item, file):
            with _room_for_bands(file, channels_of([item])):
                bands = read_bands(file, channels_of([item]))
                image = bands.rgb(bits, mixing_of([item]))
                pixels_of = [_resized(image, size) for size in sizes]
            return DecodedImage(size=image.size, pixels=pixels_of, bits=bands.bits, fourth_channel=False)
        decoded: dict[tuple[int, int], Upright] = {}
        pixels: dict[int, np.ndarray] = {}
        with ExitStack() as memory:
            for size in sorted(set(sizes), reverse=True):
                with Image.open(file, formats=FORMATS) as image:
                    original = image.size
                    _draft(image, size)
                    scaled = image.size
                    if not decoded:
                        memory.enter_context(_room(image))  # the largest
                    if scaled not in decoded:
                        decoded[scaled] = upright(image, bits)
                pixels[size] = _resized(decoded[scaled].image, size)
        first = next(iter(decoded.values()))
        return DecodedImage(
            size=original,
            pixels=[pixels[size] for size in sizes],
            bits=first.bits,
            fourth_channel=first.fourth_channel,
        )

    return _decode(io.BytesIO(content), use)


def to_pixels(image: Image.Image, image_size: int | None, bits: int = FULL_RANGE, resize: str = SQUEEZE) -> np.ndarray:
    """Returns the first frame of an opened image as pixels; see `decode_image`."""
    if image_size is not None:
        _draft(image, image_size)
    with _room(image):
        rgb = upright(image, bits).image
        return np.array(rgb) if image_size is None else _resized(cut_square(rgb, resize, image_size), image_size)


def _decode(file: BinaryIO, use: Callable[[BinaryIO], _Result]) -> _Result:
    """Returns what `use` makes of an open file, or of the file without damaged parts that its pixels do not need."""
    try:
        return use(file)
    except (Undecodable, Image.DecompressionBombError, MemoryError) as error:
        raise Undecodable(_why(error, file)) from error
    except Exception as error:  # Pillow's readers raise a dozen kinds on broken files
        try:
            content = repaired(file, _all_pixels)
            if content is not None:
                return use(io.BytesIO(content))
        except Exception:
            pass
        raise Undecodable(_why(error, file)) from error


def _all_pixels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image, _room(image):
        return image.tobytes()


def _why(error: Exception, file: BinaryIO) -> str:
    """Returns why a file cannot be decoded, in words for the user. Pillow's own are often Python's internals."""
    if isinstance(error, Undecodable):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return why_not_an_image(file)
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if isinstance(error, OSError) and error.errno:
        return in_a_sentence(error)
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "truncated: the file ends before its last pixel"
    return "its pixels are damaged"


def _room(image: Image.Image) -> AbstractContextManager[None]:
    """Waits for the memory that decoding an opened image needs."""
    return MEMORY.reserve(BYTES_PER_PIXEL * image.width * image.height)


def _draft(image: Image.Image, image_size: int) -> None:
    # JPEG only: decoding at 1/2, 1/4 or 1/8 is several times faster and leaves enough pixels for a smooth resize.
    image.draft(None, (2 * image_size, 2 * image_size))


def _resized(image: Image.Image, image_size: int) -> np.ndarray:
    return np.array(image.resize((image_size, image_size), Image.Resampling.BILINEAR))


def find_range(items: Sequence[Any]) -> int:
    """Returns the range of a dataset's 16-bit images, in bits: the smallest that holds all values.

    If none of up to 100 images, evenly spaced, has 16 bits, the others are not looked at. Files that cannot be read do
    not count.

    Args:
        items: As `ImageDataset.items` holds them.
    """
    with ThreadPoolExecutor(num_cores()) as pool:
        spread = items[:: max(1, math.ceil(len(items) / MAX_PEEKED))]
        if not any(pool.map(_bits, spread)):
            return FULL_RANGE
        return max(pool.map(_bits, items)) or FULL_RANGE


def peek_counts(items: Sequence[Any]) -> set[int]:
    """Returns how many bands images of a dataset have; 0 stands for those that are gray, RGB or RGBA.

    The headers of up to 100 arrays, `.npy` files and TIFF files, evenly spaced, tell it. All other images are RGB.

    Args:
        items: As `ImageDataset.items` holds them.

    Raises:
        DatasetError: If tifffile is needed to read them, and missing.
    """
    some = [item for item in items if isinstance(item, np.ndarray) or _name(item).endswith((".npy", ".tif", ".tiff"))]
    with ThreadPoolExecutor(num_cores()) as pool:
        return set(pool.map(_count, some[:: max(1, math.ceil(len(some) / MAX_PEEKED))])) - {-1}


def _name(item: Any) -> str:
    return (item.name if isinstance(item, Encoded) else str(item)).lower()


def _count(item: Any) -> int:
    """Returns how many bands an image has; 0 if it is gray, RGB or RGBA, -1 if it cannot be read."""
    if isinstance(item, np.ndarray):
        return 0 if item.ndim == 2 or item.shape[2] in (1, 3, 4) else item.shape[2]
    try:
        with open_encoded(item) as file:
            if (header := peek_bands(file)) is None:
                with Image.open(file, formats=FORMATS):
                    return 0
    except Exception:  # whoever decodes it reports it
        return -1
    if header.is_color:
        return 0
    if not header.is_array and find_spec("tifffile") is None:
        raise DatasetError(
            f"Expected tifffile for TIFF images of {header.count} bands. Received: an environment without it. Run: "
            f"{INSTALL}"
        )
    return 0 if header.is_array and header.count in (1, RGB) else header.count


def note_range(items: Sequence[Any], bits: int) -> None:
    """Tells the user if 16-bit images are about to be decoded with a range larger than they need."""
    if bits == range_of(items) == FULL_RANGE and (found := find_range(items)) < FULL_RANGE:
        note(
            f"The values of these 16-bit images need {found} bits, but 65,535 is taken as white, so most levels are "
            f"lost: pass image_bits={found}."
        )


def _bits(item: Path | str | Encoded | np.ndarray) -> int:
    """Returns the smallest range that holds the values of a 16-bit image; 0 for any other image."""
    if isinstance(item, np.ndarray):
        return 0
    try:
        with open_encoded(item) as file:
            if _has_bands(item, file):
                with _room_for_bands(file, channels_of([item])):
                    return read_bands(file, channels_of([item])).bits or 0
            with Image.open(file, formats=FORMATS) as image:
                if not is_deep(image):
                    return 0
                with _room(image):
                    return upright(image, FULL_RANGE).bits or 0
    except Exception:  # whoever decodes it reports it
        return 0


def decode_images(
    items: Sequence[Path] | Sequence[Encoded] | Sequence[np.ndarray],
    image_size: int,
    *,
    num_channels: int = RGB,
    description: str = "Reading images",
) -> np.ndarray:
    """Decodes images in parallel.

    Args:
        items: As `ImageDataset.items` holds them.
        image_size: Side of the square in pixels.
        num_channels: As in `decode_image`.
        description: Label of the progress bar.

    Returns:
        uint8 of shape `(num_images, image_size, image_size, num_channels)`, in the order of `items`.

    Raises:
        UnreadableImage: If a file cannot be decoded.
    """
    pixels = np.empty((len(items), image_size, image_size, num_channels), dtype="uint8")
    with ThreadPoolExecutor(num_cores()) as pool:
        decoded = pool.map(lambda item: decode_image(item, image_size, num_channels), items)
        for index, image in enumerate(track(decoded, description, total=len(items))):
            pixels[index] = image
    return pixels


def decode_readable(
    items: Sequence[Path] | Sequence[Encoded] | Sequence[np.ndarray], image_size: int, num_channels: int = RGB
) -> tuple[np.ndarray, dict[int, str]]:
    """Decodes images in parallel and leaves out those that cannot be decoded.

    Args:
        items: As `ImageDataset.items` holds them.
        image_size: Side of the square in pixels.
        num_channels: As in `decode_image`.

    Returns:
        `(pixels, unreadable)`: uint8 of shape `(num_readable, image_size, image_size, num_channels)`, in that order,
        and the reason for each item that is left out, by its index in `items`.
    """

    def decode(item: Path | Encoded | np.ndarray) -> np.ndarray | str:
        try:
            return decode_image(item, image_size, num_channels)
        except UnreadableImage as error:
            return error.reason

    with ThreadPoolExecutor(num_cores()) as pool:
        decoded = list(pool.map(decode, items))
    pixels = [result for result in decoded if isinstance(result, np.ndarray)]
    unreadable = {index: result for index, result in enumerate(decoded) if isinstance(result, str)}
    return np.array(pixels, dtype="uint8").reshape(-1, image_size, image_size, num_channels), unreadable
