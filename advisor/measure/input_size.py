"""The input size of a network that suits a set of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from strategies.data.decoding import peek_size
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import native_size

MAX_PEEKED = 100  # files whose headers are read to settle the input size before any image is decoded
MIN_DEFAULT_SIZE = 96  # pixels


def fitting_size(network: PretrainedNetwork, items: Sequence[Any]) -> int:
    """Returns the input size, in pixels, that suits a network and a set of images.

    It is the network's own size, or less if the images are smaller, because enlarging adds blur and no detail: the
    median short side, rounded up to a multiple of 32, but at least 96 and at least the smallest input of the network.
    The headers of up to 100 files, evenly spaced, tell the median; files without a readable header do not count.

    Args:
        network: The pretrained network.
        items: Files or arrays, as in `ImageDataset.items`.
    """
    row = network.row
    spread = items[:: max(1, math.ceil(len(items) / MAX_PEEKED))]
    short_side = float(np.median([min(size) for size in map(peek_size, spread) if size] or [0]))
    smallest = max(MIN_DEFAULT_SIZE, row.min_image_size)
    return int(min(native_size(row, network.weights), max(smallest, -(-short_side // 32) * 32)))
