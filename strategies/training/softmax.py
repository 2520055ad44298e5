"""Softmax regression with an L2 penalty, solved for several subsets of the same images at once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from copy import copy

import numpy as np

REMEMBERED = 10  # earlier steps from which L-BFGS computes a direction
FALL = 1e-4  # share of the predicted decrease that a step must achieve (Armijo condition)
SMALLEST_DECREASE = 1e-7  # in nats of the mean loss; a fit stops when the expected decrease is smaller
HALVINGS = 20  # of the step size, at most
_CURVATURE = 0.1  # p (1 - p) of a class probability with about ten classes; it affects only the speed
_TINY = 1e-12
FEW = 0.6  # share of the images up to which a fit computes with its own images only, and not with all of them


class SoftmaxRegression:
    """A linear classifier without bias, fitted to one or more subsets of the same images.

    It minimizes the mean log loss of the weighted images plus `|kernel|² / (2 strength · sum of weights)`. This is
    scikit-learn's `LogisticRegression(C=strength, fit_intercept=False)`. For two classes it is the same too: the two
    columns of the kernel differ only in sign.

    It is several times faster than scikit-learn and imports only NumPy (benchmarks/head.py). The features are rotated
    to their principal axes, which does not change the penalty. Along these axes, the curvature of the loss is about
    proportional to the variance of the features. With this as a starting point, a few steps suffice where the plain
    method needs hundreds.

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`.
        num_classes: Number of classes.

    Reference:
        Liu & Nocedal 1989, On the limited memory BFGS method for large scale optimization (algorithm 2.1), with a
        diagonal start from a bound on the curvature as in Böhning 1992, Multinomial logistic regression algorithm.

    Example:
        >>> import numpy as np
        >>> from strategies.training.softmax import SoftmaxRegression
        >>> regression = SoftmaxRegression(np.eye(4), np.array([0, 0, 1, 1]), 2)
        >>> kernels = regression.fit(np.ones((4, 1)), strength=1.0)
        >>> regression.probabilities(kernels)[:, 0].argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
        self._labels, self._num_classes = labels, num_classes
        values = features.astype("float64")
        is_wide = len(values) < values.shape[1]  # then the number of axes is at most that of images
        variances, axes = np.linalg.eigh(values @ values.T if is_wide else values.T @ values)
        kept = variances > _TINY * max(float(variances[-1]), _TINY)
        variances, axes = variances[kept], axes[:, kept]
        if not is_wide:
            axes[~values.any(axis=0)] = 0.0  # a feature that is always zero gets a weight of exactly zero
        self._back = [values.T, axes / np.sqrt(variances)] if is_wide else [axes]
        self._features = (axes * np.sqrt(variances) if is_wide else values @ axes).astype("float32")
        self._variances = variances / len(values)

    def leading(self, num_axes: int) -> SoftmaxRegression:
        """Returns the same regression on the principal axes of largest variance only, at most so many.

        The cost of a step falls in proportion. Cross-validation on 256 axes finds almost the same strength and held-out
        accuracy as on all of them (benchmarks/head.py).
        """
        fewer = copy(self)
        fewer._back = [*self._back[:-1], self._back[-1][:, -num_axes:]]
        fewer._features = np.ascontiguousarray(self._features[:, -num_axes:])
        fewer._variances = self._variances[-num_axes:]
        return fewer

    def fit(
        self, weights: np.ndarray, strength: float, start: np.ndarray | None = None, *, max_steps: int = 200
    ) -> np.ndarray:
        """Fits one classifier for each column of weights, all at the same time.

        Args:
            weights: Weight of each image in each fit, shape `(num_images, num_fits)`. Zero leaves the image out.
            strength: The inverse of the penalty, scikit-learn's `C`.
            start: Kernels of an earlier fit to start from. Default: zeros.
            max_steps: Maximum number of steps.

        Returns:
            Kernels along the principal axes, shape `(num_axes, num_fits, num_classes)`, for `probabilities` and
            `kernel`.
        """
        total = weights.sum(axis=0)
        penalty = ((2 if self._num_classes == 2 else 1) / (strength * total)).astype("float32")
        shares = (weights / total).astype("float32")
        preconditioner = (1 / (_CURVATURE * self._variances[:, None, None] + penalty[:, None])).astype("float32")
        shape = (len(self._variances), weights.shape[1], self._num_classes)
        kernels = np.zeros(shape, dtype="float32") if start is None else start
        images = self._of_fits(shares)
        loss, gradient = _loss(kernels, *images, penalty)
        memory: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque(maxlen=REMEMBERED)
        active = np.ones(shape[1], dtype=bool)
        for _ in range(max_steps):
            direction = _direction(gradient, memory, preconditioner)
            decrease = _dot(gradient, direction)
            active &= decrease > 2 * SMALLEST_DECREASE
            if not active.any():
                break
            step = active.astype("float32")
            for _ in range(HALVINGS):
                new = kernels - step[:, None] * direction
                new_loss, new_gradient = _loss(new, *images, penalty)
                too_far = active & ~(new_loss <= loss - FALL * step * decrease)
                if not too_far.any():
                    break
                step[too_far] /= 2
            else:  # rounding errors hide any further decrease
                active &= ~too_far
                continue
            moves, change = new - kernels, new_gradient - gradient
            curvature = _dot(moves, change)
            known = curvature > _TINY
            memory.append((moves * known[:, None], change * known[:, None], known / np.where(known, curvature, 1)))
            kernels, loss, gradient = new, new_loss, new_gradient
        return kernels

    def probabilities(self, kernels: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
        """Returns the probabilities of each classifier for every image, shape `(num_images, num_fits, num_classes)`.

        Args:
            kernels: From `fit`.
            features: Features of other images, shape `(num_images, num_features)`. Default: the images of the fit.
        """
        odds = self._logits(kernels, features)
        np.exp(odds - odds.max(axis=2, keepdims=True), out=odds)
        return np.asarray(odds / odds.sum(axis=2, keepdims=True))

    def kernel(self, kernels: np.ndarray, fit: int = 0) -> np.ndarray:
        """Returns the kernel of one fit for the original features, shape `(num_features, num_classes)`."""
        kernel = kernels[:, fit].astype("float64")
        for matrix in reversed(self._back):
            kernel = matrix @ kernel
        return kernel

    def _logits(self, kernels: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
        rotated = self._features
        if features is not None:
            rotated = np.linalg.multi_dot([features.astype("float64"), *self._back]).astype("float32")
        return _product(rotated, kernels)

    def _of_fits(self, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns features, labels and shares of the images: all, or those of each fit if each has few of them.

        Features are of shape `(num_images, num_axes)`, or `(num_fits, num_images, num_axes)`; the others have shape
        `(num_images, num_fits)`, or `(num_images, 1)` for the labels of all images.
        """
        most = int((shares > 0).sum(axis=0).max())
        if most > FEW * len(shares):
            return self._features, self._labels[:, None], shares
        chosen = np.argsort(shares == 0, axis=0, kind="stable")[:most]  # where a fit has fewer, the rest have no share
        return self._features[chosen.T], self._labels[chosen], np.take_along_axis(shares, chosen, axis=0)


def _loss(
    kernels: np.ndarray, features: np.ndarray, labels: np.ndarray, shares: np.ndarray, penalty: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the penalized mean loss of each fit, and its gradient."""
    logits = _product(features, kernels)
    logits -= logits.max(axis=2, keepdims=True)
    true = labels[..., None]
    chosen = np.take_along_axis(logits, true, axis=2)
    odds = np.exp(logits, out=logits)
    total = odds.sum(axis=2, keepdims=True)
    losses = ((np.log(total) - chosen)[..., 0] * shares).sum(axis=0, dtype="float64")
    odds /= total
    np.put_along_axis(odds, true, np.take_along_axis(odds, true, axis=2) - 1, axis=2)
    odds *= shares[..., None]
    gradient = _product(features.swapaxes(-1, -2), odds)
    return losses + penalty * _dot(kernels, kernels) / 2, gradient + penalty[:, None] * kernels


def _product(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Multiplies a matrix, or one for each fit, by values of shape `(rows, num_fits, num_classes)`."""
    if matrix.ndim == 2:
        return (matrix @ values.reshape(len(values), math.prod(values.shape[1:]))).reshape(-1, *values.shape[1:])
    return np.ascontiguousarray(np.matmul(matrix, values.swapaxes(0, 1)).swapaxes(0, 1))


def _direction(
    gradient: np.ndarray, memory: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], preconditioner: np.ndarray
) -> np.ndarray:
    """Returns the direction of ascent, to be subtracted (Liu & Nocedal 1989, algorithm 2.1, two-loop recursion)."""
    direction, coefficients = gradient.copy(), []
    for moves, change, inverse in reversed(memory):
        coefficients.append((inverse * _dot(moves, direction))[:, None])
        direction -= coefficients[-1] * change
    direction *= preconditioner
    if memory:
        moves, change, _ = memory[-1]
        scale = _dot(moves, change) / np.maximum(_dot(change, change * preconditioner), _TINY)
        direction *= np.where(scale > 0, scale, 1.0)[:, None]
    for moves, change, inverse in memory:
        direction += (coefficients.pop() - (inverse * _dot(change, direction))[:, None]) * moves
    return direction


def _dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the inner product for each fit, float32 of shape `(num_fits,)`."""
    return np.einsum("dfk,dfk->f", left, right)
