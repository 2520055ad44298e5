"""The range of values in 16-bit images: many hold the 10, 12 or 14 bits of a sensor. One range serves a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from strategies.data.encoded import Encoded, Undecodable, as_encoded

FULL_RANGE = 16
RANGES = (8, 10, 12, 14, FULL_RANGE)  # bits: bytes, and what the converters of cameras and microscopes deliver


def fitting_range(largest: int) -> int:
    """Returns the smallest of `RANGES`, in bits, that holds a value.

    Example:
        >>> from strategies.data.value_range import fitting_range
        >>> fitting_range(3_000), fitting_range(10_000), fitting_range(65_535)
        (12, 14, 16)
    """
    return next(bits for bits in RANGES if largest < 2**bits)


def range_of(items: Sequence[Any]) -> int:
    """Returns the range, in bits, with which items of an `ImageDataset` are decoded."""
    return min((item.bits for item in items if isinstance(item, Encoded)), default=FULL_RANGE)


def with_range(items: Sequence[Any], bits: int) -> list[Any]:
    """Returns items of an `ImageDataset` so that the values in 16-bit images are taken to have `bits` bits.

    Arrays stay as they are: their values are 0-255.
    """
    return [_with_range(item, bits) for item in items]


def _with_range(item: Any, bits: int) -> Any:
    if isinstance(item, np.ndarray) or range_of([item]) == bits:
        return item
    return replace(as_encoded(item), bits=bits)


def to_eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Scales values of `bits` bits to 0-255.

    Raises:
        Undecodable: If a value is outside the range.
    """
    largest = values.max()
    if values.dtype.kind == "f" or values.min() < 0 or largest >= 2**FULL_RANGE:
        raise Undecodable("pixels of neither 8 nor 16 bits, whose range is unknown")
    if largest >= 2**bits:
        raise Undecodable(f"values up to {largest:,}, beyond {bits} bits (image_bits of the plan)")
    return _table(bits)[values]


@cache
def _table(bits: int) -> np.ndarray:
    return np.rint(np.arange(2**bits) / ((2**bits - 1) / 255)).astype("uint8")
