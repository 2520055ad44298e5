"""One way through the pixels: decoding and resizing, the same for advice, training, evaluation and prediction."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from strategies.cache import content_digest
from strategies.encoded import Encoded, open_encoded
from strategies.errors import DatasetError, in_a_sentence
from strategies.progress import track

# What a file is follows from its first bytes. Pillow knows forty more formats; for some it starts other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
CACHE_BYTES = 2 * 2**30
SHELF_BYTES = 2**29
PIXELS_VERSION = 1  # to be raised with any change below that changes a pixel: features in a cache depend on it


class UnreadableImage(DatasetError):  # noqa: N818
    """A file that cannot be decoded; `path` and `reason` say which and why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(
            f"Expected an image that can be decoded. Received: {str(path)!r} ({reason}). Mend or remove the file."
        )
        self.path, self.reason = str(path), reason


@contextmanager
def readable(item: Path | str | Encoded) -> Iterator[None]:
    """Whatever goes wrong inside of the block becomes an `UnreadableImage` with the path and the reason."""
    path = item.name if isinstance(item, Encoded) else item
    try:
        yield
    except UnidentifiedImageError:
        raise UnreadableImage(path, "not a JPEG, PNG, BMP, GIF, WebP or TIFF image") from None
    except Exception as error:  # Pillow's readers raise a dozen kinds on broken files
        raise UnreadableImage(path, in_a_sentence(error)) from error


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


class Shelf:
    """Pixels that were decoded on the way, since within the same command they will be asked for again.

    Args:
        sizes: Sides of the squares that will be asked for.
        num_images: Of how many images; where all of them do not fit into `SHELF_BYTES`, nothing is kept.
    """

    def __init__(self, sizes: Iterable[int], num_images: int) -> None:
        wanted = tuple(sorted(set(sizes)))
        fits = num_images * sum(3 * size**2 for size in wanted) <= SHELF_BYTES
        self.sizes = wanted if fits else ()
        self._kept: dict[tuple[Any, int], np.ndarray] = {}
        self._digests: dict[Any, bytes] = {}

    def put(self, item: Path | Encoded, image_size: int, pixels: np.ndarray) -> None:
        """Keeps the pixels of an item at one of the sizes."""
        self._kept[item, image_size] = pixels

    def put_digests(self, items: Sequence[Any], digests: Sequence[bytes]) -> None:
        """Keeps the digests of what the items hold."""
        pairs = zip(items, digests, strict=True)
        self._digests |= {item: digest for item, digest in pairs if not isinstance(item, np.ndarray)}

    def digest(self, item: Path | Encoded | np.ndarray) -> bytes:
        """Returns what was kept, or else computes it: see `content_digest`."""
        kept = None if isinstance(item, np.ndarray) else self._digests.get(item)
        return content_digest(item) if kept is None else kept

    def decode(self, item: Path | Encoded | np.ndarray, image_size: int) -> np.ndarray:
        """Returns what was kept, or else decodes: see `decode_image`."""
        kept = None if isinstance(item, np.ndarray) else self._kept.get((item, image_size))
        return decode_image(item, image_size) if kept is None else kept


class Pixels:
    """Images of one size as an array that is decoded piece by piece, and kept as far as `CACHE_BYTES` reach.

    Indexing with a slice or an array of indices returns uint8 RGB of shape `(n, image_size, image_size, 3)`.

    Args:
        items: As `ImageDataset.items` holds them.
        image_size: Side of the square in pixels.
        shelf: Where some of them may lie decoded.
    """

    def __init__(self, items: Sequence[Any], image_size: int, shelf: Shelf | None = None) -> None:
        self._items, self._size, self._shelf = items, image_size, shelf or Shelf([], 0)
        self._kept: dict[int, np.ndarray] = {}
        self._room = CACHE_BYTES // (image_size * image_size * 3)
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return len(self._items)

    def identity(self) -> dict[str, Any]:
        """Returns what distinguishes these images from others, for the key of a cache: the content of every file."""
        digest = hashlib.sha256(b"".join(self.digests)).digest()
        return {"images": digest, "num_images": len(self._items), "image_size": self._size}

    @cached_property
    def digests(self) -> list[bytes]:
        """Of the content of each image, whatever its file is called."""
        return list(self._pool.map(self._shelf.digest, self._items))

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        indices = np.arange(len(self._items))[key].tolist()
        missing = sorted({index for index in indices if index not in self._kept})
        decoded = self._pool.map(lambda index: self._shelf.decode(self._items[index], self._size), missing)
        fresh = dict(zip(missing, decoded, strict=True))
        for index in missing[: max(0, self._room - len(self._kept))]:
            self._kept[index] = fresh[index]
        return np.stack([fresh[index] if index in fresh else self._kept[index] for index in indices])


class Part:
    """Some of `Pixels`, to be sent through a network: has a length and is cut in slices, as they are."""

    def __init__(self, pixels: Pixels, indices: Sequence[int]) -> None:
        self._pixels, self._indices = pixels, np.array(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, key: slice) -> np.ndarray:
        return self._pixels[self._indices[key]]
