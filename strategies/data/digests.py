"""SHA-256 of images and of weights: parts of the keys of cached results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.channels import channels_of, mixing_of
from strategies.data.encoded import SQUEEZE, Encoded, open_encoded, readable
from strategies.data.resizing import resize_of
from strategies.data.value_range import FULL_RANGE, range_of


def content_digest(item: Path | str | Encoded | np.ndarray) -> bytes:
    """Returns the SHA-256 of an image. It does not depend on the name or the date of a file.

    Args:
        item: A file or an `Encoded`, whose bytes are hashed, with its range where that is not 16 bits, with how it is
            resized where it is not squeezed, and with its channels where they are named; or an array, whose shape, type
            and values are hashed.

    Raises:
        UnreadableImage: If the file cannot be read.
    """
    if isinstance(item, np.ndarray):
        digest = hashlib.sha256()
        _add_array(digest, item)
        return digest.digest()
    with readable(item), open_encoded(item) as file:
        return decoded_as(hashlib.file_digest(file, "sha256").digest(), item)


def decoded_as(digest: bytes, item: Path | str | Encoded) -> bytes:
    """Returns the content digest of an item, given the SHA-256 of its bytes."""
    bits, resize = range_of([item]), resize_of([item])
    how = (b"" if bits == FULL_RANGE else bytes([bits])) + (b"" if resize == SQUEEZE else resize.encode())
    if channels := channels_of([item]):
        how += repr((channels, mixing_of([item]))).encode()
    return hashlib.sha256(digest + how).digest() if how else digest


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of the bytes of a file, as text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(arrays: Iterable[np.ndarray]) -> str:
    """Returns the SHA-256 of arrays such as a model's weights, as text: of their shapes, types, values and order."""
    digest = hashlib.sha256()
    for array in arrays:
        _add_array(digest, array)
    return digest.hexdigest()


def _add_array(digest: Any, array: np.ndarray) -> None:
    # A line gives the number of bytes that follow, so no other sequence of arrays has the same bytes.
    digest.update(f"{array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
