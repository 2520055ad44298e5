"""Metrics of a trained model on test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from strategies.training.calibration import Calibration, log_loss, measure_calibration

Z_95 = 1.959964
NUM_BOOTSTRAP = 2_000
MOST_MISTAKES = 12


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics on labeled images. Shares are fractions; intervals are 95% confidence intervals.

    Attributes:
        accuracy: Share of correct predictions. Its Wilson interval is `low` to `high`.
        low: Lower bound of that interval.
        high: Upper bound of that interval.
        balanced_accuracy: Mean recall of the classes that have images. Its bootstrap interval (images are drawn with
            replacement within each class) is `balanced_low` to `balanced_high`. Where each class is entirely correct or
            entirely wrong, that interval has no width; then use the interval of the accuracy.
        balanced_low: Lower bound of that interval.
        balanced_high: Upper bound of that interval.
        macro_f1: Mean F1 score of the classes that have images.
        log_loss: Mean negative logarithm of the predicted probability of the true class.
        num_images: Number of images.
        majority_class: The most frequent class among the training images.
        majority_accuracy: Accuracy of always predicting that class, on the same images.
        per_class: By class name: `num_images`, `recall` with its Wilson interval `low` to `high`, `precision`, `f1`.
            `None` where a value is undefined: the class has no image, or (precision) was never predicted.
        confusion: `confusion[i][j]` is the number of images of class i that were predicted as class j.
        calibration: Whether predicted probabilities match the share of correct predictions.
        mistakes: The wrong predictions with the highest probabilities, at most 12: `image`, `true`, `predicted`,
            `probability`.
    """

    accuracy: float
    low: float
    high: float
    balanced_accuracy: float
    balanced_low: float
    balanced_high: float
    macro_f1: float
    log_loss: float
    num_images: int
    majority_class: str
    majority_accuracy: float
    per_class: dict[str, dict[str, Any]]
    confusion: list[list[int]]
    calibration: Calibration
    mistakes: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `metrics.json`, in which the calibration has the key `reliability`."""
        values = asdict(self)
        values["reliability"] = values.pop("calibration")
        return values


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Returns the 95% confidence interval of a share (Wilson score interval).

    It stays within [0, 1] and is reliable for small test sets too.

    Args:
        correct: Number of correct predictions.
        total: Number of predictions, at least 1.

    Reference:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.

    Example:
        >>> from strategies.training.metrics import wilson_interval
        >>> [round(bound, 3) for bound in wilson_interval(9, 10)]
        [0.596, 0.982]
    """
    share, z2 = correct / total, Z_95**2
    center = (share + z2 / (2 * total)) / (1 + z2 / total)
    spread = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, center - spread), min(1.0, center + spread)


def evaluate_predictions(
    probabilities: np.ndarray,
    labels: np.ndarray,
    train_labels: np.ndarray,
    class_names: Sequence[str],
    *,
    temperature: float | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Computes the metrics of predicted probabilities on labeled images.

    Args:
        probabilities: Array of shape `(num_images, num_classes)`.
        labels: True class indices, shape `(num_images,)`.
        train_labels: Class indices of the training images, from which the majority class is taken.
        class_names: Names of the classes, in the order of the indices.
        temperature: From `strategies.training.calibration.fit_temperature` on validation images. Default: no
            temperature.
        names: Name of each image. Default: `"image 0"`, `"image 1"`, ...
        seed: Seed of the bootstrap.

    Example:
        >>> import numpy as np
        >>> from strategies.training.metrics import evaluate_predictions
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        >>> result = evaluate_predictions(probabilities, np.array([0, 1, 1]), np.array([0, 0, 1]), ["cat", "dog"])
        >>> round(result.accuracy, 2), result.per_class["dog"]["recall"], result.mistakes[0]["image"]
        (0.67, 0.5, 'image 2')
    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(class_names), len(class_names)), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    counts, hits = confusion.sum(axis=1), confusion.diagonal()
    present = counts > 0
    per_class = {
        name: _class_row(int(hits[index]), int(counts[index]), int(confusion[:, index].sum()))
        for index, name in enumerate(class_names)
    }
    low, high = wilson_interval(int(hits.sum()), len(labels))
    balanced_low, balanced_high = balanced_interval(hits[present], counts[present], seed=seed)
    majority = int(np.bincount(train_labels, minlength=len(class_names)).argmax())
    return Evaluation(
        accuracy=int(hits.sum()) / len(labels),
        low=low,
        high=high,
        balanced_accuracy=float((hits[present] / counts[present]).mean()),
        balanced_low=balanced_low,
        balanced_high=balanced_high,
        macro_f1=float(np.mean([row["f1"] for row in per_class.values() if row["num_images"]])),
        log_loss=log_loss(probabilities, labels),
        num_images=len(labels),
        majority_class=class_names[majority],
        majority_accuracy=float(counts[majority] / len(labels)),
        per_class=per_class,
        confusion=confusion.tolist(),
        calibration=measure_calibration(probabilities, labels, temperature=temperature),
        mistakes=_mistakes(probabilities, labels, class_names, names),
    )


def balanced_interval(hits: np.ndarray, counts: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Returns the 95% bootstrap interval of the mean recall. Images are drawn with replacement within each class.

    Args:
        hits: Number of correct predictions in each class, shape `(num_classes,)`.
        counts: Number of images in each class, at least one, shape `(num_classes,)`.
        seed: Seed of the draws.

    Reference:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, percentile interval; stratified by class.

    Example:
        >>> import numpy as np
        >>> from strategies.training.metrics import balanced_interval
        >>> [round(bound, 1) for bound in balanced_interval(np.array([80, 8]), np.array([100, 10]))]
        [0.7, 0.9]
    """
    # The number of correct images among n images drawn with replacement has a binomial distribution.
    draws = np.random.default_rng(seed).binomial(counts, hits / counts, size=(NUM_BOOTSTRAP, len(counts)))
    low, high = np.percentile((draws / counts).mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _class_row(hits: int, count: int, num_predicted: int) -> dict[str, Any]:
    low, high = wilson_interval(hits, count) if count else (None, None)
    return {
        "num_images": count,
        "recall": hits / count if count else None,
        "low": low,
        "high": high,
        "precision": hits / num_predicted if num_predicted else None,
        "f1": 2 * hits / (count + num_predicted) if count else None,
    }


def _mistakes(
    probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str], names: Sequence[str] | None
) -> list[dict[str, Any]]:
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return [
        {
            "image": f"image {index}" if names is None else names[index],
            "true": class_names[labels[index]],
            "predicted": class_names[predicted[index]],
            "probability": float(confidence[index]),
        }
        for index in wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES].tolist()
    ]


def paired_difference(correct: np.ndarray, baseline_correct: np.ndarray) -> tuple[float, float]:
    """Returns how much more accurate a model is than a baseline on the same images, and the standard error of that.

    Args:
        correct: Whether the model's prediction for each image is correct, shape `(num_images,)`.
        baseline_correct: The same for the baseline, in the same order of images.

    Returns:
        `(difference, standard_error)`, as fractions. The standard error is smaller than with two separate test sets,
        since only images on which exactly one of the two is correct contribute to the difference.

    Example:
        >>> import numpy as np
        >>> from strategies.training.metrics import paired_difference
        >>> difference, error = paired_difference(np.array([1, 1, 1, 0]), np.array([1, 0, 1, 0]))
        >>> round(difference, 2), round(error, 2)
        (0.25, 0.22)
    """
    differences = np.asarray(correct, dtype="float64") - np.asarray(baseline_correct, dtype="float64")
    return float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))
