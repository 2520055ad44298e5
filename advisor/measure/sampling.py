"""Random samples of images with every class in them."""

from __future__ import annotations

import numpy as np


def sample(labels: np.ndarray, max_images: int, seed: int) -> np.ndarray:
    """Returns the sorted indices of a random sample of images with every class in it.

    Args:
        labels: Class index of each image, shape `(num_images,)`.
        max_images: Largest number of images. Two images of every class are kept in any case, even if that is more.
        seed: Seed of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    first = order[rank[order] < 2]
    rest = order[rank[order] >= 2]
    return np.sort(np.concatenate([first, rest])[: max(max_images, len(first))])
