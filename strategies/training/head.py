"""The exact head: logistic regression on frozen features, with cross-validated regularization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from strategies.plans.plan import STRENGTHS
from strategies.training.softmax import SoftmaxRegression

FEWEST_IMAGES_STRENGTH = 10.0  # used where no two classes have two images, so that cross-validation is impossible
MAX_FOLDS = 5
MOST_AXES = 256  # of largest variance, on which folds are fitted; the head itself is fitted on all
MOST_NUMBERS = 2**26  # probabilities in memory at once; beyond that, folds are fitted in groups


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfFold:
    """Cross-validated predictions of a head, for the regularization with the lowest log loss.

    Attributes:
        strength: The chosen value of scikit-learn's `C`, the inverse of the penalty.
        correct: Whether the prediction for each image was correct while it was held out, shape `(num_images,)`.
        probabilities: Predicted probabilities of held-out images, shape `(num_images, num_classes)`, float32. Zero for
            images that were never held out.
        predict: Takes features of some images and the fold that each of them is held out in. Returns the probabilities
            by the classifier of that fold, shape `(num_images, num_classes)`. So changed copies of held-out images can
            be predicted as the images themselves were.
    """

    strength: float
    correct: np.ndarray
    probabilities: np.ndarray
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray]


def fit_head(
    features: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int, class_weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the weights of a softmax layer on features.

    The features of each image are divided by their length before fitting, and there is no bias. So the predicted class
    does not depend on that length, and the fitted layer can be applied to the original features. The common
    alternative, dividing each feature by its standard deviation, amplifies noise: with one to ten images per class, it
    costs two to seven points of accuracy on features of MobileNet-0.25 (benchmarks/head.py).

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`. Every class has at least one image.
        num_classes: Number of outputs of the layer.
        seed: Seed of the cross-validation folds.
        class_weights: Weight of each class in the loss, shape `(num_classes,)`. Default: equal weights.

    Returns:
        `(kernel, bias)` of shapes `(num_features, num_classes)` and `(num_classes,)`; the bias is zero.

    Reference:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features (L2-regularized linear probe).

    Example:
        >>> import numpy as np
        >>> from strategies.training.head import fit_head
        >>> kernel, bias = fit_head(np.eye(4), np.array([0, 0, 1, 1]), 2, seed=0)
        >>> (np.eye(4) @ kernel + bias).argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """
    values, length = _of_length_one(features)
    weights = np.ones(len(labels)) if class_weights is None else class_weights[labels]
    with one_thread():
        regression = SoftmaxRegression(values, labels, num_classes)
        folds = make_folds(labels, seed)
        strength = _validate(regression, labels, folds, weights).strength if folds else FEWEST_IMAGES_STRENGTH
        kernel = regression.kernel(regression.fit(weights[:, None], strength, max_steps=1000)) / length
    return kernel.astype("float32"), np.zeros(num_classes, dtype="float32")


def cross_validate(
    features: np.ndarray, labels: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> OutOfFold:
    """Measures how well a linear classifier separates the classes, on held-out images.

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`.
        folds: Pairs of index arrays (training images, held-out images), for example from `make_folds`. Each image is
            held out at most once, and the training images of each fold contain every class.
    """
    values, _ = _of_length_one(features)
    with one_thread():
        regression = SoftmaxRegression(values, labels, int(labels.max()) + 1)
        return _validate(regression, labels, folds, np.ones(len(labels)))


def make_folds(
    labels: np.ndarray, seed: int, groups: Sequence[Any] | np.ndarray | None = None, *, most: int = MAX_FOLDS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns up to five stratified folds; fewer where a class has fewer images or groups.

    They are equal to those of scikit-learn's `StratifiedKFold(shuffle=True)`, or with groups of several images, none
    of which is ever divided, to those of `StratifiedGroupKFold`. The only image of a class, or its only group, is never
    held out: it is in the training images of every fold.

    Args:
        labels: Class indices, shape `(num_images,)`.
        seed: Seed of the shuffle.
        groups: Group of each image, such as a patient. Default: each image is alone.
        most: Largest number of folds.

    Returns:
        Pairs of index arrays: training images, held-out images. None unless two classes have two images or groups.

    Example:
        >>> import numpy as np
        >>> from strategies.training.head import make_folds
        >>> [held.tolist() for _, held in make_folds(np.array([0, 0, 0, 1, 1]), 0, ["a", "a", "b", "c", "d"])]
        [[0, 1, 4], [2, 3]]
    """
    if groups is not None and len(set(groups)) < len(labels):
        return _grouped_folds(labels, np.unique(groups, return_inverse=True)[1], seed, most)
    counts = np.bincount(labels)
    several = np.flatnonzero(counts[labels] > 1)
    if len(several) < len(labels):
        single = np.setdiff1d(np.arange(len(labels)), several)
        inner = make_folds(labels[several], seed, most=most) if len(several) else []
        return [(np.sort([*single, *several[train]]), several[held]) for train, held in inner]
    found, first = np.unique(labels, return_index=True)
    if len(found) < 2:
        return []
    most = min(most, int(counts[found].min()))
    by_appearance = found[np.argsort(first)]
    ranks = np.sort(np.argsort(np.argsort(first))[np.searchsorted(found, labels)])
    generator, fold_of = np.random.RandomState(seed), np.empty(len(labels), dtype=int)
    for rank, label in enumerate(by_appearance):
        shares = [int((ranks[fold::most] == rank).sum()) for fold in range(most)]
        members = np.repeat(np.arange(most), shares)
        generator.shuffle(members)
        fold_of[labels == label] = members
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(most)]


def _grouped_folds(labels: np.ndarray, groups: np.ndarray, seed: int, most: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns as many folds as leave every class among the training images of each."""
    from sklearn.model_selection import StratifiedGroupKFold

    free = np.ones(len(labels), dtype=bool)
    while True:  # a class whose only group is never held out may leave another with one group
        counts = {label: len(np.unique(groups[free & (labels == label)])) for label in np.unique(labels[free])}
        alone = [label for label, count in counts.items() if count == 1]
        if not alone:
            break
        free &= ~np.isin(groups, groups[free & np.isin(labels, alone)])
    chosen, everyone = np.flatnonzero(free), np.arange(len(labels))
    for number in range(min([most, *counts.values()]) if len(counts) > 1 else 0, 1, -1):
        splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
        parts = [chosen[held] for _, held in splitter.split(chosen, labels[chosen], groups[chosen]) if len(held)]
        if all(len(np.unique(np.delete(labels, held))) == len(np.unique(labels)) for held in parts):
            return [(np.setdiff1d(everyone, held), held) for held in parts]
    return []


def _of_length_one(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the features scaled to length one, and their mean length before."""
    lengths = np.linalg.norm(features.astype("float64"), axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1.0), float(lengths.mean()) or 1.0


def one_thread() -> AbstractContextManager[Any]:
    """Multiplies matrices in a single thread within the block.

    The matrices are small. Two threads that compete with the threads of a network take up to thirty times longer.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def _validate(
    regression: SoftmaxRegression,
    labels: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    weights: np.ndarray,
) -> OutOfFold:
    """Tries each strength, starting from the previous solution, until the log loss has risen twice in a row."""
    regression = regression.leading(MOST_AXES)
    together = max(1, MOST_NUMBERS // (len(labels) * (int(labels.max()) + 1)))
    groups = [folds[first : first + together] for first in range(0, len(folds), together)]
    starts: Sequence[np.ndarray | None] = [None] * len(groups)
    losses: list[float] = []
    best: OutOfFold | None = None
    for strength in STRENGTHS:
        held_out = np.zeros((len(labels), int(labels.max()) + 1), dtype="float32")
        fits = []
        for group, start in zip(groups, starts, strict=True):
            fitted = np.zeros((len(labels), len(group)))
            for fold, (train, _) in enumerate(group):
                fitted[train, fold] = weights[train]
            fits.append(regression.fit(fitted, strength, start))
            probabilities = regression.probabilities(fits[-1])
            for fold, (_, test) in enumerate(group):
                held_out[test] = probabilities[test, fold]
        starts = fits
        tested = np.concatenate([test for _, test in folds])
        chosen = held_out[tested, labels[tested]]
        losses.append(-float(np.log(np.maximum(chosen, 1e-12)).sum(dtype="float64")))
        if best is None or losses[-1] < min(losses[:-1]):
            correct = np.zeros(len(labels), dtype=bool)
            correct[tested] = held_out[tested].argmax(axis=1) == labels[tested]
            predict = partial(_predict, regression, fits, together)
            best = OutOfFold(strength=strength, correct=correct, probabilities=held_out, predict=predict)
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    assert best is not None
    return best


def _predict(
    regression: SoftmaxRegression,
    kernels: Sequence[np.ndarray],
    together: int,
    features: np.ndarray,
    folds: np.ndarray,
) -> np.ndarray:
    """See `OutOfFold.predict`; `kernels` are those of groups of so many folds."""
    values, _ = _of_length_one(features)
    found = np.empty((len(values), kernels[0].shape[2]), dtype="float32")
    with one_thread():
        for fold in np.unique(folds).tolist():
            group, place = divmod(fold, together)
            rows = folds == fold
            found[rows] = regression.probabilities(kernels[group][:, [place]], values[rows])[:, 0]
    return found
