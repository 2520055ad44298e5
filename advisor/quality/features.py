"""Checks of labels and splits with frozen features: likely wrong labels, lookalikes, and the effect of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from strategies.data.dataset import ImageDataset
from strategies.data.splits import split_dataset
from strategies.training.head import cross_validate

# In frozen features, the nearest training image of a lookalike is less than 0.6 times as far away as the fifth nearest.
# Where a random split separates frames of one video or photos of one hand, that holds for 13 to 36% of the test images;
# where a split keeps them together, for none; in nine other datasets for at most 8% (three seeds, two networks).
NEIGHBOR, NEARER = 5, 0.6
# With 5% of the labels of eight datasets changed, this margin found 27 to 57% of the changed labels, and at most 2% of
# the others by mistake. Without a margin it was 66 to 78%, and up to 21%.
MISTAKE_MARGIN = 0.7
GAP_SPLITS, GAP_HELD_OUT = 3, 0.25


def label_mistakes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Finds likely wrong labels: returns the likely class of such images, and -1 for all others.

    A class is a candidate for an image if its probability is at least the mean probability of that class over the
    images with its label. The label is likely wrong if the most probable candidate is another class, and its
    probability exceeds that of the label by at least 0.7.

    Args:
        probabilities: Held-out probability of each class for each image, shape `(num_images, num_classes)`.
        labels: Class indices, shape `(num_images,)`.

    Reference:
        Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, equation 1.

    Example:
        >>> import numpy as np
        >>> from advisor.quality.features import label_mistakes
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
        >>> label_mistakes(probabilities, np.array([0, 0, 1, 1])).tolist()
        [-1, -1, -1, 0]
    """
    classes = probabilities.shape[1]
    means = np.array(
        [probabilities[labels == label, label].mean() if (labels == label).any() else 2 for label in range(classes)]
    )
    confident = np.where(probabilities >= means - 1e-6, probabilities, -1.0)  # allows for rounding
    found = confident.argmax(axis=1)
    rows = np.arange(len(labels))
    margin = confident[rows, found] - probabilities[rows, labels]
    return np.where((found != labels) & (margin >= MISTAKE_MARGIN), found, -1)


def lookalikes(features: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Finds lookalikes: returns, for each image, the index of an image among others that is suspiciously near, or -1.

    The nearest of the others is suspicious if it is less than 0.6 times as far away as the fifth nearest. Photos of one
    class are at similar distances from each other; frames of one video are not.

    Args:
        features: Features of each stage, shape `(num_images, channels)`. They are centered on the mean of the others
            and scaled to unit length, so that every stage counts.
        others: Features of the other images at the same stages.

    Example:
        >>> import numpy as np
        >>> from advisor.quality.features import lookalikes
        >>> others = np.random.default_rng(0).normal(size=(50, 8))
        >>> lookalikes([others[:2] + [[0.01], [3]]], [others]).tolist()
        [0, -1]
    """
    if len(others[0]) < NEIGHBOR:
        return np.full(len(features[0]), -1)
    centers = [values.mean(axis=0) for values in others]
    ours, theirs = (
        np.concatenate([_unit(values - center) for values, center in zip(side, centers, strict=True)], axis=1)
        for side in (features, others)
    )
    found = []
    for start in range(0, len(ours), 1_000):
        distance = np.sqrt(np.maximum(2 * len(others) - 2 * ours[start : start + 1_000] @ theirs.T, 0))
        nearest = distance.argmin(axis=1)
        fifth = np.partition(distance, NEIGHBOR - 1, axis=1)[:, NEIGHBOR - 1]
        found.append(np.where(distance.min(axis=1) < NEARER * fifth, nearest, -1))
    return np.concatenate(found)


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)


def split_gap(dataset: ImageDataset, features: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Compares random splits with splits that keep groups together, by the accuracy of a linear classifier.

    Args:
        dataset: Labeled images with groups.
        features: Features of one stage, shape `(num_images, channels)`.
        seed: Seed of the splits. There are three of each kind, and each holds out a quarter of the images.

    Returns:
        Accuracy on held-out images with random splits, and with splits by groups.
    """
    accuracy = []
    for group in (None, dataset.group):
        right, count = 0.0, 0
        for number in range(GAP_SPLITS):
            drawn = split_dataset(
                replace(dataset, split=None, group=group),
                seed=seed + number,
                val_fraction=0,
                test_fraction=GAP_HELD_OUT,
            )
            is_test = np.array(drawn.split) == "test"
            held = np.flatnonzero(is_test)
            right += cross_validate(features, dataset.labels, [(np.flatnonzero(~is_test), held)]).correct[held].sum()
            count += len(held)
        accuracy.append(right / max(count, 1))
    return accuracy[0], accuracy[1]
