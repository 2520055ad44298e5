"""How bands are seen as red, green and blue, found from the images without their labels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from strategies.data.bands import read_bands
from strategies.data.channels import RGB, Mixing, mean_mixing
from strategies.data.encoded import open_encoded
from strategies.processes import num_cores

MAX_SEEN = 100  # images, at even distances
MAX_PIXELS = 1_000  # of each of them, likewise
# The two directions in which the colors of photos vary most, at equal brightness: yellow to blue, magenta to green; and
# how much they vary, as shares of the brightness.
COLORS = np.array([[1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]) / np.sqrt([[2.0], [6.0]])
SPREADS = (0.45, 0.2)
MOST = 4.0  # times as much as in the images themselves: between bands that are nearly the same there is only noise


def find_mixing(items: Sequence[Any], channels: Sequence[int]) -> Mixing:
    """Finds how to mix bands into red, green and blue so that they vary as the colors of photos do.

    The mean of the bands is the brightness. The two directions in which bands differ most from their mean, beyond what
    follows from the brightness, become the two directions in which colors of photos vary most. A pixel that is the same
    in all bands becomes gray of that value, and the scale of the values does not matter. A direction has no sign: the
    longer tail of its values becomes yellow, or magenta.

    Args:
        items: As `ImageDataset.items` holds them.
        channels: Numbers of the bands, from 1.

    Returns:
        Three rows, each with the shares of the bands in red, green and blue, which add up to 1. The mean of the bands
        if no image can be read, or if the bands are all the same.
    """
    seen = [items[index] for index in np.unique(np.linspace(0, len(items) - 1, MAX_SEEN).astype(int))]
    with ThreadPoolExecutor(num_cores()) as pool:
        found = [values for values in pool.map(lambda item: _pixels(item, channels), seen) if values is not None]
    return _mixing(np.concatenate(found)) if found else mean_mixing(channels)


def _mixing(values: np.ndarray) -> Mixing:
    """Returns the mixing for pixels of shape `(num_pixels, num_bands)`."""
    count = values.shape[1]
    brightness = values.mean(axis=1)
    differences = values - brightness[:, np.newaxis]
    differences -= differences.mean(axis=0)
    brightness = brightness - brightness.mean()
    spread = brightness.std()
    rows = np.full((RGB, count), 1 / count)
    if spread > 0:
        differences -= np.outer(brightness, brightness @ differences / (brightness @ brightness))
        variances, directions = np.linalg.eigh(differences.T @ differences / len(values))
        for variance, direction, color, share in zip(
            variances[::-1], directions.T[::-1], COLORS, SPREADS, strict=False
        ):
            if variance <= 1e-9 * spread**2:
                break
            tail = ((differences @ direction) ** 3).mean()
            wanted = share * spread * np.sqrt(RGB / variance)
            gain = min(wanted, MOST * np.sqrt(RGB / count))
            rows += gain * np.outer(color, direction if tail >= 0 else -direction)
    return tuple(map(tuple, rows.tolist()))


def _pixels(item: Any, channels: Sequence[int]) -> np.ndarray | None:
    """Returns some pixels of an image, as its file has them; `None` if it cannot be read, which its reader reports."""
    try:
        with open_encoded(item) as file:
            bands = read_bands(file, channels)
    except Exception:  # of many kinds
        return None
    values = np.stack([band.ravel() for band in bands.values], axis=1)
    return values[np.unique(np.linspace(0, len(values) - 1, MAX_PIXELS).astype(int))].astype("float64")
