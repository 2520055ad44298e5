"""Images whose pixels are the cells of a table, as in the CSV files of MNIST and FER2013."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.sources.arrays import check_arrays
from strategies.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

ALL_IN_ONE = "pixels"  # a column with all pixels of an image, as numbers that spaces separate
_NUMBERED = re.compile(r"(pixel|pix|px)?[ _]?\d+|\d+x\d+", re.IGNORECASE)
MIN_COLUMNS = 64  # of 8 x 8 images


def pixel_columns(names: Sequence[Any]) -> list[Any]:
    """Returns the columns that hold one pixel each, such as `pixel0` or `1x1`.

    Example:
        >>> from strategies.data.sources.pixel_columns import pixel_columns
        >>> len(pixel_columns(["label", *(f"pixel{place}" for place in range(784))]))
        784
    """
    found = [name for name in names if _NUMBERED.fullmatch(str(name).strip())]
    return found if len(found) >= MIN_COLUMNS else []


def read_pixels(frame: pd.DataFrame, label: Any, source: str, notes: list[str]) -> list[np.ndarray] | None:
    """Returns the images whose pixels a table holds; `None` if it holds no pixels.

    Args:
        frame: The table.
        label: The column of the labels, which may be called by a number like a pixel.
        source: Where it comes from, for messages.
        notes: What was taken for what is added to them.

    Raises:
        DatasetError: If the images are not square, gray or RGB, or the values are not pixels.
    """
    columns = [name for name in pixel_columns(list(frame.columns)) if name != label]
    if columns:
        rows: Any = frame[columns].to_numpy()
        what = f"{len(columns):,} columns"
    elif (
        column := next((name for name in frame.columns if str(name).strip().lower() == ALL_IN_ONE), None)
    ) is not None:
        rows = [_numbers(cell, source) for cell in frame[column].tolist()]
        what = f"column {column!r}"
    else:
        return None
    images = [_square(row, source) for row in rows]
    if images:
        side, gray = images[0].shape[0], images[0].ndim == 2
        notes.append(
            f"The {what} of the table are taken as the pixels of {side} x {side} images, row by row"
            f"{'' if gray else ', with red, green and blue of each pixel together'}."
        )
    return check_arrays(images)


def _numbers(cell: Any, source: str) -> np.ndarray:
    try:
        return np.array(str(cell).split(), dtype="float32")
    except ValueError:
        raise _no_pixels(source, repr(str(cell)[:40])) from None


def _square(row: np.ndarray, source: str) -> np.ndarray:
    """Returns a row of pixels as a gray or RGB image; whole numbers of 0 to 255 as bytes."""
    for channels in ((), (3,)):
        side = math.isqrt(row.size // math.prod(channels))
        if row.size and row.size == side**2 * math.prod(channels):
            image = row.reshape(side, side, *channels)
            are_bytes = bool(((image >= 0) & (image <= 255) & (image % 1 == 0)).all())
            return image.astype("uint8") if are_bytes else image
    raise _no_pixels(source, f"{row.size:,} values in a row")


def _no_pixels(source: str, received: str) -> DatasetError:
    return DatasetError(
        f"Expected the pixels of a square image in each row, gray or RGB. Received: {source!r} with {received}. Save "
        f"images and labels with np.savez(path, x=images, y=labels)."
    )
