"""Softmax regression with an L2 penalty, solved for several subsets of the same images at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

REMEMBERED = 10  # earlier steps that a direction is made of
FALL = 1e-4  # share of the predicted decrease that a step must bring
SMALLEST_DECREASE = 1e-7  # of the mean loss, in nats: less is not worth another step
HALVINGS = 20
_CURVATURE = 0.1  # of a class probability, p (1 - p), at about ten classes: only the speed depends on it
_TINY = 1e-12


class SoftmaxRegression:
    """A linear classifier without bias on a set of images, to be fitted to parts of it.

    Minimises the mean log loss of the weighted images plus `|kernel|² / (2 strength · sum of weights)`: scikit-learn's
    `LogisticRegression(C=strength, fit_intercept=False)`, and for two classes too, where the two columns differ in sign
    alone. Features are turned to their principal axes, to which the penalty is blind; along these the loss curves about
    as much as the features vary, and with that known a few steps suffice where the plain method takes hundreds. So it
    is several times faster than scikit-learn's, and takes nothing to import (benchmarks/head.py).

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`.
        num_classes: Width of the answer.

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
        few = len(values) < values.shape[1]  # then they span no more axes than there are images
        variances, axes = np.linalg.eigh(values @ values.T if few else values.T @ values)
        kept = variances > _TINY * max(float(variances[-1]), _TINY)
        variances, axes = variances[kept], axes[:, kept]
        if not few:
            axes[~values.any(axis=0)] = 0.0  # a dead feature has no weight, not even a rounded one
        self._back = [values.T, axes / np.sqrt(variances)] if few else [axes]
        self._features = (axes * np.sqrt(variances) if few else values @ axes).astype("float32")
        self._variances = variances / len(values)

    def fit(
        self, weights: np.ndarray, strength: float, start: np.ndarray | None = None, *, max_steps: int = 200
    ) -> np.ndarray:
        """Fits one classifier for each column of weights, all of them at the same time.

        Args:
            weights: How much each image counts in each fit, shape `(num_images, num_fits)`; zero leaves it out.
            strength: The inverse of the penalty.
            start: What was returned for other numbers, to start from.
            max_steps: Most steps.

        Returns:
            Kernels along the principal axes, for `probabilities` and `kernel`.
        """
        total = weights.sum(axis=0)
        penalty = ((2 if self._num_classes == 2 else 1) / (strength * total)).astype("float32")
        shares = (weights / total).astype("float32")
        flattening = (1 / (_CURVATURE * self._variances[:, None, None] + penalty[:, None])).astype("float32")
        shape = (len(self._variances), weights.shape[1], self._num_classes)
        kernels = np.zeros(shape, dtype="float32") if start is None else start
        loss, slope = self._loss(kernels, shares, penalty)
        memory: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque(maxlen=REMEMBERED)
        at_work = np.ones(shape[1], dtype=bool)
        for _ in range(max_steps):
            direction = _direction(slope, memory, flattening)
            decrease = _dot(slope, direction)
            at_work &= decrease > 2 * SMALLEST_DECREASE
            if not at_work.any():
                break
            step = at_work.astype("float32")
            for _ in range(HALVINGS):
                new = kernels - step[:, None] * direction
                new_loss, new_slope = self._loss(new, shares, penalty)
                too_far = at_work & ~(new_loss <= loss - FALL * step * decrease)
                if not too_far.any():
                    break
                step[too_far] /= 2
            else:  # rounding hides what is left to be gained
                at_work &= ~too_far
                continue
            moved, bent = new - kernels, new_slope - slope
            curvature = _dot(moved, bent)
            known = curvature > _TINY
            memory.append((moved * known[:, None], bent * known[:, None], known / np.where(known, curvature, 1)))
            kernels, loss, slope = new, new_loss, new_slope
        return kernels

    def probabilities(self, kernels: np.ndarray) -> np.ndarray:
        """Returns what each classifier says of every image, shape `(num_images, num_fits, num_classes)`."""
        odds = self._logits(kernels)
        np.exp(odds - odds.max(axis=2, keepdims=True), out=odds)
        return np.asarray(odds / odds.sum(axis=2, keepdims=True))

    def kernel(self, kernels: np.ndarray, fit: int = 0) -> np.ndarray:
        """Returns one classifier for features as they were given, shape `(num_features, num_classes)`."""
        kernel = kernels[:, fit].astype("float64")
        for matrix in reversed(self._back):
            kernel = matrix @ kernel
        return kernel

    def _logits(self, kernels: np.ndarray) -> np.ndarray:
        _, fits, classes = kernels.shape
        return (self._features @ kernels.reshape(-1, fits * classes)).reshape(-1, fits, classes)

    def _loss(self, kernels: np.ndarray, shares: np.ndarray, penalty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the penalised mean loss of each fit and its gradient."""
        logits = self._logits(kernels)
        logits -= logits.max(axis=2, keepdims=True)
        true = self._labels[:, None, None]
        chosen = np.take_along_axis(logits, true, axis=2)
        odds = np.exp(logits, out=logits)
        total = odds.sum(axis=2, keepdims=True)
        lost = ((np.log(total) - chosen)[..., 0] * shares).sum(axis=0, dtype="float64")
        odds /= total
        np.put_along_axis(odds, true, np.take_along_axis(odds, true, axis=2) - 1, axis=2)
        odds *= shares[..., None]
        slope = (self._features.T @ odds.reshape(len(odds), -1)).reshape(kernels.shape)
        return lost + penalty * _dot(kernels, kernels) / 2, slope + penalty[:, None] * kernels


def _direction(
    slope: np.ndarray, memory: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], flattening: np.ndarray
) -> np.ndarray:
    """Returns where to go down from here: the two loops over earlier steps (Liu & Nocedal 1989, algorithm 2.1)."""
    direction, taken = slope.copy(), []
    for moved, bent, inverse in reversed(memory):
        taken.append((inverse * _dot(moved, direction))[:, None])
        direction -= taken[-1] * bent
    direction *= flattening
    if memory:
        moved, bent, _ = memory[-1]
        scale = _dot(moved, bent) / np.maximum(_dot(bent, bent * flattening), _TINY)
        direction *= np.where(scale > 0, scale, 1.0)[:, None]
    for moved, bent, inverse in memory:
        direction += (taken.pop() - (inverse * _dot(bent, direction))[:, None]) * moved
    return direction


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the inner product of each fit, float32 of shape `(num_fits,)`."""
    return np.einsum("dfk,dfk->f", one, other)
