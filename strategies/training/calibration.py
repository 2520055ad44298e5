"""How far predicted probabilities can be believed, and the temperature that mends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_BINS = 15
TEMPERATURES = (0.05, 20.0)  # between which one is looked for; images that are all right would ask for zero
TINY = 1e-12  # what a probability of zero counts as, so that its logarithm is finite


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether images that were called something with a probability of 80 % are right in 80 % of the cases.

    Attributes:
        error: Expected calibration error: the distance between accuracy and mean confidence of each bin, averaged over
            images. On a few hundred images it is above zero for the best of models, by chance.
        bins: The rows behind it, those that hold images: `low` and `high` of the bin, mean `confidence`, `accuracy`,
            `num_images`. 15 bins of equal width.
        temperature: What logits are divided by so that the log loss of the validation images is lowest; above 1 the
            model is too sure of itself. `None` without such images.
        error_after: The error with that temperature; `None` without one.
    """

    error: float
    bins: list[dict[str, Any]]
    temperature: float | None
    error_after: float | None


def measure_calibration(
    probabilities: np.ndarray, labels: np.ndarray, *, temperature: float | None = None
) -> Calibration:
    """Measures the calibration of predictions, as they are and at a temperature.

    Args:
        probabilities: Array of shape `(num_images, num_classes)`.
        labels: True class indices, shape `(num_images,)`.
        temperature: From `fit_temperature`, of other images than these; default: none.

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
    """Returns the temperature with the lowest log loss, between 0.05 and 20; `None` without images.

    Args:
        probabilities: Of images that training did not fit, shape `(num_images, num_classes)`.
        labels: Their true class indices, shape `(num_images,)`.

    Reference:
        Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599), section 4.2, equation 9.

    Example:
        >>> import numpy as np
        >>> from strategies.training.calibration import fit_temperature
        >>> sure = np.array([[0.9, 0.1]] * 10)  # right in six of ten cases
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
    """Returns the probabilities of a softmax whose logits are divided by `temperature`; the order stays the same.

    Example:
        >>> import numpy as np
        >>> from strategies.training.calibration import apply_temperature
        >>> apply_temperature(np.array([[0.8, 0.2]]), 2).round(2).tolist()
        [[0.67, 0.33]]
    """
    # The logarithm of a softmax is its logits but for a constant, which the next softmax does not see.
    logits = np.log(np.maximum(probabilities.astype("float64"), TINY)) / temperature
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative logarithm of the probability that each image's true class was given."""
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
