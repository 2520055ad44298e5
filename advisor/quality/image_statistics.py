"""Image statistics: everything that a single pass over an image measures."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from advisor.quality.near_copies import picture_hash, thumbnail
from strategies.data.decoding import decode_image, decode_sizes
from strategies.data.digests import content_digest, decoded_as
from strategies.data.encoded import Encoded, UnreadableImage, open_encoded, readable
from strategies.data.pixels import PixelCache

MEASURED_SIZE = 128  # pixels: side of the square in which images are measured


@dataclass(frozen=True, kw_only=True)
class ImageStatistics:
    """Measurements of one image, about a kilobyte.

    Attributes:
        digest: SHA-256 digest of the content of the file, or of the array.
        size: Width and height of the original image in pixels.
        grayscale: Whether it has no color.
        deviation: Standard deviation of the gray levels at 128 px.
        brightest: 99th percentile of the gray levels at 128 px.
        sharpness: Variance of the Laplacian at 128 px.
        hash: Difference hash, to find near copies.
        thumbnail: Gray thumbnail, uint8 of shape `(1024,)`, to verify near copies.
        bits: The smallest range, in bits, that holds its values; 0 for an image of 8 bits.
        fourth_channel: Whether it has a fourth channel that may be more than transparency.
    """

    digest: bytes
    size: tuple[int, int]
    grayscale: bool
    deviation: float
    brightest: float
    sharpness: float
    hash: int
    thumbnail: np.ndarray
    bits: int = 0
    fourth_channel: bool = False


def measure_image(
    item: Path | Encoded | np.ndarray, pixel_cache: PixelCache | None = None
) -> ImageStatistics | UnreadableImage:
    """Reads and measures an image.

    Args:
        item: A file, encoded bytes, or an array; see `ImageDataset.items`.
        pixel_cache: Pixel cache that the decoded image is added to, at each size of the cache.

    Returns:
        The statistics, or the reason why the image cannot be read.
    """
    if isinstance(item, np.ndarray):
        return _statistics(content_digest(item), (item.shape[1], item.shape[0]), decode_image(item, MEASURED_SIZE))
    try:
        with readable(item), open_encoded(item) as file:
            content = file.read()
            sizes = pixel_cache.sizes if pixel_cache is not None else ()
            # Even at a small size the decoder reads every byte of the file, so truncated files are found.
            decoded = decode_sizes(content, (MEASURED_SIZE, *sizes), item)
    except UnreadableImage as error:
        return error
    pixels, *resized = decoded.pixels
    for cached_size, values in zip(sizes, resized, strict=True):
        assert pixel_cache is not None
        pixel_cache.put(item, cached_size, values)
    digest = decoded_as(hashlib.sha256(content).digest(), item)
    return _statistics(digest, decoded.size, pixels, bits=decoded.bits or 0, fourth_channel=decoded.fourth_channel)


def _statistics(
    digest: bytes, size: tuple[int, int], pixels: np.ndarray, *, bits: int = 0, fourth_channel: bool = False
) -> ImageStatistics:
    gray = Image.fromarray(pixels).convert("L")
    values, counts = np.arange(256), np.array(gray.histogram())
    mean = (values * counts).sum() / counts.sum()
    levels = np.asarray(gray).astype("float32")
    inner = 4 * levels[1:-1, 1:-1]
    laplacian = inner - levels[:-2, 1:-1] - levels[2:, 1:-1] - levels[1:-1, :-2] - levels[1:-1, 2:]
    return ImageStatistics(
        digest=digest,
        size=size,
        grayscale=bool((pixels == pixels[..., :1]).all()),
        deviation=math.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()),
        brightest=float(np.searchsorted(counts.cumsum(), 0.99 * counts.sum())),
        sharpness=float(laplacian.var()),
        hash=picture_hash(gray),
        thumbnail=thumbnail(gray),
        bits=bits,
        fourth_channel=fourth_channel,
    )
