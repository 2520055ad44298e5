"""The exact head: logistic regression on frozen features, its regularisation chosen by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Strengths of the regularisation (scikit-learn's C) that cross-validation chooses from, the strongest first.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
FEWEST_IMAGES_STRENGTH = 10.0  # where a class has one image, so that nothing can be held out
MAX_FOLDS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfFold:
    """What cross-validation says of one representation, for the strength with the lowest log loss.

    Attributes:
        strength: The chosen strength, scikit-learn's `C`.
        correct: Whether each image was right when held out, shape `(num_images,)`.
        probabilities: Of each class when held out, shape `(num_images, num_classes)`, float32; zero where an image was
            never held out; `None` where only the strength was asked for.
    """

    strength: float
    correct: np.ndarray
    probabilities: np.ndarray | None = None


def fit_classifier(
    features: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int, class_weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the weights of a softmax layer on features.

    Each image's features are divided by their length, and there is no bias: the answer to an image does not depend on
    that length, so the layer fits features as they are. The usual way, dividing each feature by its own deviation,
    lets noise in: with one to ten images a class it costs two to seven points on the features of MobileNet-0.25
    (benchmarks/head.py).

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`; every class has at least one image.
        num_classes: Width of the layer.
        seed: Seed of the folds.
        class_weights: Weight of each class in the loss; default: equal.

    Returns:
        `(kernel, bias)` of shapes `(num_features, num_classes)` and `(num_classes,)`; the bias is zero.

    Reference:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features (L2-regularised linear probe).

    Example:
        >>> import numpy as np
        >>> from strategies.classifier import fit_classifier
        >>> kernel, bias = fit_classifier(np.eye(4), np.array([0, 0, 1, 1]), 2, seed=0)
        >>> (np.eye(4) @ kernel + bias).argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """
    compact, back, length = _compact(features)
    weights = None if class_weights is None else class_weights[labels]
    folds = make_folds(labels, seed)
    strength = _validate(compact, labels, folds, weights).strength if folds else FEWEST_IMAGES_STRENGTH
    coefficients = _fit(compact, labels, strength, weights, max_iter=1000)
    if num_classes == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
    kernel = back @ coefficients.T / length
    return kernel.astype("float32"), np.zeros(num_classes, dtype="float32")


def cross_validate(
    features: np.ndarray, labels: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> OutOfFold:
    """Tells how well a linear classifier separates the classes, from images that it was not fitted on.

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`.
        folds: Pairs of indices, fitted on and held out, that hold each image out at most once, such as `make_folds`.
            Every class is among those that are fitted on.
    """
    return _validate(_compact(features)[0], labels, folds, None, keep=True)


def make_folds(labels: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns up to five folds that hold every class, fewer where a class has fewer images; none for a single image."""
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(labels)
    folds = min(MAX_FOLDS, int(counts[counts > 0].min()))
    if folds < 2:
        return []
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))


def _compact(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns features of length one in as few dimensions as they span, the basis that leads back, their mean length.

    An L2 penalty does not see a rotation, so the solution is the same, and much faster where images are few.
    """
    values = features.astype("float64")
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values /= np.where(lengths > 0, lengths, 1.0)
    mean = float(lengths.mean()) or 1.0
    if len(values) >= values.shape[1]:
        return values, np.eye(values.shape[1]), mean
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        basis, coordinates = np.linalg.qr(values.T)
    return coordinates.T, basis, mean


def _validate(
    features: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    weights: np.ndarray | None,
    *,
    keep: bool = False,
) -> OutOfFold:
    from threadpoolctl import threadpool_limits

    losses = np.full(len(STRENGTHS), np.inf)
    correct = np.zeros((len(STRENGTHS), len(labels)), dtype=bool)
    kept: np.ndarray | None = None
    starts: list[np.ndarray | None] = [None] * len(folds)
    # Matrices this small are multiplied by one thread: beside a network's own, two take up to thirty times longer.
    with threadpool_limits(1, user_api="blas"):
        for index, strength in enumerate(STRENGTHS):
            losses[index] = 0.0
            parts = []
            for number, (train, test) in enumerate(folds):
                share = None if weights is None else weights[train]
                start = _fit(features[train], labels[train], strength, share, max_iter=200, start=starts[number])
                starts[number] = start  # the next fit starts from this one
                probabilities = _probabilities(features[test] @ start.T)
                chosen = probabilities[np.arange(len(test)), labels[test]]
                losses[index] -= np.log(np.maximum(chosen, 1e-12)).sum()
                correct[index, test] = probabilities.argmax(axis=1) == labels[test]
                if keep:
                    parts.append(probabilities.astype("float32"))
            if keep and losses[index] == losses.min():
                kept = np.zeros((len(labels), parts[0].shape[1]), dtype="float32")
                for (_, test), part in zip(folds, parts, strict=True):
                    kept[test] = part
            if index >= 2 and losses[index] > losses[index - 1] > losses[index - 2]:
                break  # less and less regularisation only makes it worse from here on, and takes longest
    best = int(losses.argmin())
    return OutOfFold(strength=STRENGTHS[best], correct=correct[best], probabilities=kept)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    if logits.shape[1] == 1:
        logits = np.concatenate([-logits, logits], axis=1) / 2
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _fit(
    features: np.ndarray,
    labels: np.ndarray,
    strength: float,
    weights: np.ndarray | None,
    *,
    max_iter: int,
    start: np.ndarray | None = None,
) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=max_iter, fit_intercept=False, warm_start=start is not None)
    if start is not None:
        model.coef_, model.intercept_ = start, np.zeros(len(start))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the path needs no full convergence
        model.fit(features, labels, weights)
    return model.coef_
