"""What features of a frozen network show about labels and splits: likely wrong labels, lookalikes, the split gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from strategies.data.dataset import ImageDataset
from strategies.data.splits import split_dataset
from strategies.training.head import cross_validate

# A lookalike lies, in the features of a frozen network, less than 0.6 times as far as the fifth nearest training image.
# That is 13 to 36 % of the test images where frames of one video or pictures of one hand lie on both sides of a random
# split, none where they do not, and at most 8 % of those of nine other datasets (three seeds, two networks).
NEIGHBOR, NEARER = 5, 0.6
# With 5 % of the labels of eight datasets changed, this margin named 27 to 57 % of the changed ones and at most 2 % of
# the others. Without a margin it was 66 to 78 % and up to 21 %.
MISTAKE_MARGIN = 0.7
GAP_SPLITS, GAP_HELD_OUT = 3, 0.25


def label_mistakes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the class that held-out predictions are confident of, -1 where they do not contradict the label.

    A class is confident of an image where its probability reaches the mean that it has over the images of that label.
    Of such classes the most probable one is the image's; a mistake is likely where it is not the label, and by 0.7 more
    probable than it.

    Args:
        probabilities: Of each class for each image when held out, shape `(num_images, num_classes)`.
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
    confident = np.where(probabilities >= means - 1e-6, probabilities, -1.0)  # equal ones, but for rounding
    found = confident.argmax(axis=1)
    rows = np.arange(len(labels))
    margin = confident[rows, found] - probabilities[rows, labels]
    return np.where((found != labels) & (margin >= MISTAKE_MARGIN), found, -1)


def lookalikes(features: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Returns for each image the index of the one among others that it lies suspiciously near to, else -1.

    Near is what lies less than 0.6 times as far as the fifth nearest: pictures of one class lie about as far from one
    another as from the next, frames of one video do not.

    Args:
        features: Of each stage, shape `(num_images, channels)`; centred on the others and divided by their length, so
            that every stage has a say.
        others: Likewise.

    Example:
        >>> import numpy as np
        >>> from advisor.quality.features import lookalikes
        >>> others = np.random.default_rng(0).normal(size=(50, 8))
        >>> lookalikes([others[:2] + [[0.01], [3]]], [others]).tolist()
        [0, -1]
    """
    if len(others[0]) < NEIGHBOR:
        return np.full(len(features[0]), -1)
    centers = [other.mean(axis=0) for other in others]
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
    """Returns the accuracy of a linear classifier on held-out images, with a random split and with one by groups.

    Args:
        dataset: Labelled images with groups.
        features: Of one stage, shape `(num_images, channels)`.
        seed: Of the splits; each kind is drawn three times, a quarter of the images held out.
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
