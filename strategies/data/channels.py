"""Which channels of images are used: red, green and blue, or bands by their numbers. One choice serves a dataset."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from strategies.data.encoded import Encoded, as_encoded
from strategies.errors import UserError

MAX_CHANNELS = 16
RGB = 3  # that many channels are red, green and blue; any other number is a network's own
Mixing = tuple[tuple[float, ...], ...]  # how much of each channel is red, how much green, how much blue


def check_channels(channels: Sequence[int]) -> tuple[int, ...]:
    """Returns channels as a plan holds them: numbers of bands from 1, or `()` for images that are RGB already.

    Raises:
        UserError: If these are not up to 16 numbers from 1.

    Example:
        >>> from strategies.data.channels import check_channels
        >>> check_channels([4, 3, 2])
        (4, 3, 2)
    """
    numbers = tuple(channels) if isinstance(channels, Sequence | range) and not isinstance(channels, str) else (None,)
    if len(numbers) > MAX_CHANNELS or any(type(number) is not int or number < 1 for number in numbers):
        raise UserError(
            f"Expected channels as up to {MAX_CHANNELS} numbers of bands, counted from 1, such as (4, 3, 2). Received: "
            f"{channels!r}. Leave channels out for images that are RGB."
        )
    return numbers


def num_channels(channels: Sequence[int]) -> int:
    """Returns how many channels a network for these channels takes: 3 for RGB."""
    return len(channels) or RGB


def mean_mixing(channels: Sequence[int]) -> Mixing:
    """Returns how channels are seen as red, green and blue unless something else is known: all as their mean.

    Example:
        >>> from strategies.data.channels import mean_mixing
        >>> mean_mixing((1, 2))
        ((0.5, 0.5), (0.5, 0.5), (0.5, 0.5))
    """
    return RGB * ((1 / len(channels),) * len(channels),)


def channels_of(items: Sequence[Any]) -> tuple[int, ...]:
    """Returns which channels of items of an `ImageDataset` are used; `()` means RGB."""
    return next((item.channels for item in items if isinstance(item, Encoded)), ())


def mixing_of(items: Sequence[Any]) -> Mixing:
    """Returns how the channels of items of an `ImageDataset` are seen as red, green and blue; `()` is their mean."""
    return next((item.mixing for item in items if isinstance(item, Encoded)), ())


def with_channels(items: Sequence[Any], channels: Sequence[int], mixing: Mixing = ()) -> list[Any]:
    """Returns items of an `ImageDataset` so that given channels of them are used.

    Example:
        >>> from pathlib import Path
        >>> from strategies.data.channels import channels_of, with_channels
        >>> channels_of([Path("field.npy")]), channels_of(with_channels([Path("field.npy")], (4, 3, 2)))
        ((), (4, 3, 2))
    """
    numbers = check_channels(channels)
    return [_with_channels(item, numbers, mixing) for item in items]


def _with_channels(item: Any, channels: tuple[int, ...], mixing: Mixing) -> Any:
    if (channels_of([item]), mixing_of([item])) == (channels, mixing):
        return item
    if isinstance(item, np.ndarray):
        return Encoded("an array", partial(_npy, item), channels=channels, mixing=mixing)
    return replace(as_encoded(item), channels=channels, mixing=mixing)


def _npy(array: np.ndarray) -> bytes:
    """Returns an array of values 0-255 as a file without loss."""
    file = io.BytesIO()
    np.save(file, np.clip(np.rint(array), 0, 255).astype("uint8"))
    return file.getvalue()
