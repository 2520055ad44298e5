"""Looks at many images: in parallel, and once for the same images, since what was seen is kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from advisor.quality.image_statistics import MEASURED_SIZE, ImageStatistics, measure_image
from strategies.data.decoding import PIXELS_VERSION
from strategies.data.digests import content_digest
from strategies.data.encoded import Encoded, UnreadableImage
from strategies.data.pixels import PixelCache
from strategies.display.progress import track
from strategies.features.cache import FeatureCache, make_key

STATISTICS_VERSION = 2  # to be raised with any change of what a `ImageStatistics` holds
COLUMNS = ("size", "grayscale", "deviation", "brightest", "sharpness", "hash", "thumbnail")


def scan_images(
    items: Sequence[Any], *, cache: FeatureCache | None = None, pixel_cache: PixelCache | None = None
) -> list[ImageStatistics | UnreadableImage]:
    """Returns what one pass over each image keeps of it, in their order.

    Args:
        items: Files or arrays, as `ImageDataset.items` holds them.
        cache: Where that is kept, under a key of the content of every file; `None` keeps and reads nothing.
        pixel_cache: Where pixels and digests are put on the way that will be asked for again.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if cache is None or not cache.max_bytes:
            return list(
                track(
                    pool.map(partial(measure_image, pixel_cache=pixel_cache), items), "Reading images", total=len(items)
                )
            )
        digests = list(track(pool.map(_digest, items), "Reading files", total=len(items)))
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
        statistics = list(
            track(pool.map(partial(measure_image, pixel_cache=pixel_cache), items), "Reading images", total=len(items))
        )
    cache.store(key, _pack(statistics))
    return statistics


def _digest(item: Any) -> bytes:
    """The content of an image; of a file that cannot be read, none."""
    try:
        return content_digest(item)
    except UnreadableImage:
        return bytes(hashlib.sha256().digest_size)


def _pack(statistics: Sequence[ImageStatistics | UnreadableImage]) -> list[np.ndarray]:
    """Returns the reasons of what cannot be read, by number, as JSON, and a column for each measure of the others."""
    reasons = {str(number): one.reason for number, one in enumerate(statistics) if isinstance(one, UnreadableImage)}
    seen = [one for one in statistics if isinstance(one, ImageStatistics)]
    columns = [np.array([getattr(one, name) for one in seen]) for name in COLUMNS[:-2]]
    columns.append(np.array([one.hash for one in seen], dtype="uint64"))
    columns.append(np.array([one.thumbnail for one in seen], dtype="uint8"))
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
