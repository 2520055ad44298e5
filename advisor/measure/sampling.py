"""Random samples of images that hold every class."""

from __future__ import annotations

import numpy as np


def sample(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Returns the indices of at most `most` images, drawn at random; of two per class where that is more.

    Args:
        labels: Class index of each image, shape `(num_images,)`.
        most: Largest number of images.
        seed: Seed of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    first = order[rank[order] < 2]
    rest = order[rank[order] >= 2]
    return np.sort(np.concatenate([first, rest])[: max(most, len(first))])
