"""Calibration: whether predicted probabilities match the share of correct predictions, and temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_BINS = 15
TEMPERATURES = (0.05, 20.0)  # search range: if all predictions are correct, the best temperature would be zero
TINY = 1e-12  # replaces a probability of zero, whose logarithm is infinite


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether predictions with a probability of, say, 80% are correct in 80% of the cases.

    Attributes:
        error: Expected calibration error: the absolute difference between accuracy and mean confidence (the highest
            probability) in each bin, averaged over images. On a few hundred images, chance alone puts even a perfectly
            calibrated model above zero.
        bins: One row for each of 15 bins of equal width that holds images: `low` and `high` (its bounds), mean
            `confidence`, `accuracy`, `num_images`.
        temperature: The number by which logits are divided to minimize the log loss on the validation images. Above 1,
            the model is overconfident. `None` without validation images.
        error_after: The error with that temperature. `None` without a temperature.
    """

    error: float
    bins: list[dict[str, Any]]
    temperature: float | None
    error_after: float | None


def measure_calibration(
    probabilities: np.ndarray, labels: np.ndarray, *, temperature: float | None = None
) -> Calibration:
    """Measures the calibration of predictions, as they are and with a temperature.

    Args:
        probabilities: Array of shape `(num_images, num_classes)`.
        labels: True class indices, shape `(num_images,)`.
        temperature: From `fit_temperature`, on other images than these. Default: no temperature.

    Reference:
        Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599), equation 3, 15 bins.

    Example:
        >>> import numpy as np
        >>> from strategies.training.calibration import measure_calibration
        >>> sure = np.array([[0.9, 0.1], [0.9, 0.1]])
        >>> round(measure_calibration(sure, np.array([0, 1])).error, 2)
        0.4
    """
    bins = _bins(probabilities, labels)
    tempered = None if temperature is None else _bins(apply_temperature(probabilities, temperature), labels)
    return Calibration(
        error=_error(bins),
        bins=bins,
        temperature=temperature,
        error_after=None if tempered is None else _error(tempered),
    )


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """Returns the temperature between 0.05 and 20 with the lowest log loss; `None` without images.

    Args:
        probabilities: Predictions for images that were not used for fitting, shape `(num_images, num_classes)`.
        labels: Their true class indices, shape `(num_images,)`.

    Reference:
        Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599), section 4.2, equation 9.

    Example:
        >>> import numpy as np
        >>> from strategies.training.calibration import fit_temperature
        >>> sure = np.array([[0.9, 0.1]] * 10)  # correct in six of ten cases
        >>> round(fit_temperature(sure, np.array([0] * 6 + [1] * 4)), 1)
        5.4
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        return None

    def loss(logarithm: float) -> float:
        return log_loss(apply_temperature(probabilities, np.exp(logarithm)), labels)

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the probabilities after dividing the logits by `temperature`; the order of the classes does not change.

    Example:
        >>> import numpy as np
        >>> from strategies.training.calibration import apply_temperature
        >>> apply_temperature(np.array([[0.8, 0.2]]), 2).round(2).tolist()
        [[0.67, 0.33]]
    """
    # The logarithm of a softmax equals its logits up to a constant, which the next softmax cancels.
    return softmax(np.log(np.maximum(probabilities.astype("float64"), TINY)) / temperature)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities from logits of shape `(num_images, num_classes)`."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative logarithm of the predicted probability of the true class."""
    chosen = probabilities[np.arange(len(labels)), labels].astype("float64")
    return float(-np.log(np.maximum(chosen, TINY)).mean())


def _bins(probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    confidence = probabilities.max(axis=1).astype("float64")
    correct = probabilities.argmax(axis=1) == labels
    owner = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    return [
        {
            "low": number / NUM_BINS,
            "high": (number + 1) / NUM_BINS,
            "confidence": float(confidence[owner == number].mean()),
            "accuracy": float(correct[owner == number].mean()),
            "num_images": int((owner == number).sum()),
        }
        for number in np.unique(owner).tolist()
    ]


def _error(bins: list[dict[str, Any]]) -> float:
    total = sum(row["num_images"] for row in bins)
    return sum(row["num_images"] * abs(row["accuracy"] - row["confidence"]) for row in bins) / total
