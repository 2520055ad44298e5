"""Decoded images of one size: decoded on demand and kept while there is room in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from strategies.cluster import map_images
from strategies.data.channels import RGB
from strategies.data.decoding import decode_image
from strategies.data.digests import content_digest
from strategies.data.encoded import Encoded
from strategies.processes import num_cores

MAX_BYTES = 2 * 2**30  # of decoded images that one `Pixels` keeps
MAX_CACHE_BYTES = 2**29  # of all images in one `PixelCache`


class PixelCache:
    """Pixels and digests of images that several steps of one command need.

    Args:
        sizes: Sides in pixels of the squares that will be needed.
        num_images: Number of images. If they do not all fit into `MAX_CACHE_BYTES`, no pixels are kept.
    """

    def __init__(self, sizes: Iterable[int], num_images: int) -> None:
        wanted = tuple(sorted(set(sizes)))
        fits = num_images * sum(3 * size**2 for size in wanted) <= MAX_CACHE_BYTES
        self.sizes = wanted if fits else ()
        self._kept: dict[tuple[Any, int], np.ndarray] = {}
        self._digests: dict[Any, bytes] = {}

    def put(self, item: Path | Encoded, image_size: int, pixels: np.ndarray) -> None:
        """Keeps the pixels of an item at a size."""
        self._kept[item, image_size] = pixels

    def put_digests(self, items: Sequence[Any], digests: Sequence[bytes]) -> None:
        """Keeps the content digests of items."""
        pairs = zip(items, digests, strict=True)
        self._digests |= {item: digest for item, digest in pairs if not isinstance(item, np.ndarray)}

    def digests(self, items: Sequence[Path | Encoded | np.ndarray]) -> list[bytes]:
        """Returns the digest of each item, kept or computed; see `content_digest`."""
        found = [None if isinstance(item, np.ndarray) else self._digests.get(item) for item in items]
        missing = [item for item, digest in zip(items, found, strict=True) if digest is None]
        computed = map_images(content_digest, missing, "Reading files") if missing else iter(())
        return [next(computed) if digest is None else digest for digest in found]

    def decode(self, item: Path | Encoded | np.ndarray, image_size: int, num_channels: int = RGB) -> np.ndarray:
        """Returns the kept pixels, or decodes them; see `decode_image`."""
        kept = None if isinstance(item, np.ndarray) else self._kept.get((item, image_size))
        if kept is not None and kept.shape[2] == num_channels:
            return kept
        return decode_image(item, image_size, num_channels)


class Pixels:
    """Images of one size, indexed like an array. Each is decoded when it is first needed.

    Decoded images are kept, up to `MAX_BYTES`. Indexing with a slice or an array of `n` indices returns uint8 of shape
    `(n, image_size, image_size, num_channels)`.

    Args:
        items: As `ImageDataset.items` holds them.
        image_size: Side of the square in pixels.
        pixel_cache: Pixels and digests that are known already.
        num_channels: How many channels are wanted; see `decode_image`.
    """

    def __init__(
        self, items: Sequence[Any], image_size: int, pixel_cache: PixelCache | None = None, num_channels: int = RGB
    ) -> None:
        self.items, self.image_size, self._pixel_cache = items, image_size, pixel_cache or PixelCache([], 0)
        self.num_channels = num_channels
        self._kept: dict[int, np.ndarray] = {}
        self._max_kept = MAX_BYTES // (image_size * image_size * num_channels)
        self._pool = ThreadPoolExecutor(num_cores())

    def __len__(self) -> int:
        return len(self.items)

    def identity(self) -> dict[str, Any]:
        """Returns what identifies these images, for a cache key: their content, number and size."""
        digest = hashlib.sha256(b"".join(self.digests)).digest()
        channels = {} if self.num_channels == RGB else {"num_channels": self.num_channels}
        return {"images": digest, "num_images": len(self.items), "image_size": self.image_size, **channels}

    @cached_property
    def digests(self) -> list[bytes]:
        """Content digest of each image; see `content_digest`."""
        return self._pixel_cache.digests(self.items)

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        indices = np.arange(len(self.items))[key].tolist()
        missing = sorted({index for index in indices if index not in self._kept})
        wanted = self.image_size, self.num_channels
        decoded = self._pool.map(lambda index: self._pixel_cache.decode(self.items[index], *wanted), missing)
        fresh = dict(zip(missing, decoded, strict=True))
        for index in missing[: max(0, self._max_kept - len(self._kept))]:
            self._kept[index] = fresh[index]
        return np.stack([fresh[index] if index in fresh else self._kept[index] for index in indices])


class PixelSubset:
    """Some images of a `Pixels`; has a length and is sliced in the same way."""

    def __init__(self, pixels: Pixels, indices: Sequence[int]) -> None:
        self._pixels, self._indices = pixels, np.array(indices)

    @property
    def items(self) -> list[Any]:
        """The items of these images."""
        return [self._pixels.items[index] for index in self._indices.tolist()]

    @property
    def image_size(self) -> int:
        """Side of the square in pixels."""
        return self._pixels.image_size

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return self._pixels.num_channels

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, key: slice) -> np.ndarray:
        return self._pixels[self._indices[key]]
