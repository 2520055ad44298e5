"""What a cached result depends on: the content of images and weights, as SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.encoded import Encoded, open_encoded, readable


def content_digest(item: Path | str | Encoded | np.ndarray) -> bytes:
    """Returns the SHA-256 of one image, which neither the file's name nor its date changes.

    Args:
        item: A file or an `Encoded`, of which the content counts, or an array, of which shape, type and values count.

    Raises:
        UnreadableImage: If the file cannot be read.
    """
    if isinstance(item, np.ndarray):
        digest = hashlib.sha256()
        _add_array(digest, item)
        return digest.digest()
    with readable(item), open_encoded(item) as file:
        return hashlib.file_digest(file, "sha256").digest()


def weights_digest(arrays: Iterable[np.ndarray]) -> str:
    """Returns the SHA-256 of shapes, types and values of arrays in order, a model's weights for instance, as text."""
    digest = hashlib.sha256()
    for array in arrays:
        _add_array(digest, array)
    return digest.hexdigest()


def _add_array(digest: Any, array: np.ndarray) -> None:
    # A line that ends, then as many bytes as the line says: arrays one after the other cannot be taken for others.
    digest.update(f"{array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
