"""Measures many images in parallel, and caches the image statistics on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from advisor.quality.image_statistics import MEASURED_SIZE, ImageStatistics, measure_image
from strategies.cluster import is_on_ray, map_images
from strategies.data.decoding import PIXELS_VERSION
from strategies.data.digests import content_digest
from strategies.data.encoded import Encoded, UnreadableImage
from strategies.data.pixels import PixelCache
from strategies.features.cache import FeatureCache, make_key

STATISTICS_VERSION = 3  # to be raised whenever `ImageStatistics` changes
COLUMNS = ("size", "grayscale", "deviation", "brightest", "sharpness", "bits", "fourth_channel", "hash", "thumbnail")


def scan_images(
    items: Sequence[Any], *, cache: FeatureCache | None = None, pixel_cache: PixelCache | None = None
) -> list[ImageStatistics | UnreadableImage]:
    """Measures images in one pass.

    Args:
        items: Files or arrays, as in `ImageDataset.items`.
        cache: Cache for the statistics. Their key depends on the content of every file. `None` caches nothing.
        pixel_cache: Pixel cache that decoded images and digests are added to, for later use.

    Returns:
        For each image its statistics, or the reason why it cannot be read; in the order of `items`.
    """
    if cache is None or not cache.max_bytes:
        return _measured(items, pixel_cache)
    digests = list(map_images(_digest, items, "Reading files"))
    if pixel_cache is not None:
        pixel_cache.put_digests(items, digests)
    key = make_key(
        looks=STATISTICS_VERSION,
        look_size=MEASURED_SIZE,
        pixels_version=PIXELS_VERSION,
        images=hashlib.sha256(b"".join(digests)).digest(),
    )
    arrays = cache.load(key)
    if arrays is not None:
        return _unpack(items, digests, arrays)
    statistics = _measured(items, pixel_cache)
    cache.store(key, _pack(statistics))
    return statistics


def _measured(items: Sequence[Any], pixel_cache: PixelCache | None) -> list[ImageStatistics | UnreadableImage]:
    # On a cluster, pixels stay with the workers.
    measure = measure_image if is_on_ray() else partial(measure_image, pixel_cache=pixel_cache)
    return list(map_images(measure, items, "Reading images"))


def _digest(item: Any) -> bytes:
    """Returns the digest of the content of an image; zeros for a file that cannot be read."""
    try:
        return content_digest(item)
    except UnreadableImage:
        return bytes(hashlib.sha256().digest_size)


def _pack(statistics: Sequence[ImageStatistics | UnreadableImage]) -> list[np.ndarray]:
    """Returns the reasons for unreadable images, by number, as JSON, and a column for each measure of the others."""
    reasons = {
        str(number): result.reason for number, result in enumerate(statistics) if isinstance(result, UnreadableImage)
    }
    measured = [result for result in statistics if isinstance(result, ImageStatistics)]
    columns = [np.array([getattr(image, name) for image in measured]) for name in COLUMNS[:-2]]
    columns.append(np.array([image.hash for image in measured], dtype="uint64"))
    columns.append(np.array([image.thumbnail for image in measured], dtype="uint8"))
    return [np.frombuffer(json.dumps(reasons).encode(), dtype="uint8"), *columns]


def _unpack(
    items: Sequence[Any], digests: Sequence[bytes], arrays: Sequence[np.ndarray]
) -> list[ImageStatistics | UnreadableImage]:
    reasons = json.loads(arrays[0].tobytes())
    rows = zip(*(array if array.ndim > 1 else array.tolist() for array in arrays[1:]), strict=True)
    statistics: list[ImageStatistics | UnreadableImage] = []
    for number, (item, digest) in enumerate(zip(items, digests, strict=True)):
        if (reason := reasons.get(str(number))) is not None:
            statistics.append(UnreadableImage(item.name if isinstance(item, Encoded) else str(item), reason))
            continue
        size, *values = next(rows)
        measures = dict(zip(COLUMNS[1:], values, strict=True))
        statistics.append(ImageStatistics(digest=digest, size=(int(size[0]), int(size[1])), **measures))
    return statistics
