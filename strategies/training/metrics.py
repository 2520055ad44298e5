"""How good a trained model is on images that nothing else has seen."""

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
    """Metrics on labelled images; shares are fractions, intervals are of 95 %.

    Attributes:
        accuracy: With its Wilson interval, `low` to `high`.
        balanced_accuracy: Mean recall of the classes that have images, with its interval, `balanced_low` to
            `balanced_high`, by bootstrap: images drawn anew within each class. Where every class is all right or all
            wrong it has no width; the interval of the accuracy then tells more.
        macro_f1: Mean F1 of the classes that have images.
        log_loss: Mean negative logarithm of the probability of the true class.
        majority_class: The most frequent training class, and `majority_accuracy`, what always answering it reaches on
            the same images.
        per_class: By name: `num_images`, `recall` with its Wilson interval `low` to `high`, `precision`, `f1`. `None`
            where there is nothing to count: no image of the class, or for the precision no image that was called so.
        confusion: `confusion[i][j]` counts images of class i that were called class j.
        calibration: How far the probabilities can be believed.
        mistakes: The images that are wrong with the highest probability, at most 12: `image`, `true`, `predicted`,
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
        """Returns plain values for `metrics.json`, where the calibration is called `reliability`."""
        values = asdict(self)
        values["reliability"] = values.pop("calibration")
        return values


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a share.

    Reference:
        Wilson 1927, Probable Inference; it stays within [0, 1] and is honest for small test sets.

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
    """Scores predicted probabilities on labelled images.

    Args:
        probabilities: Array of shape `(num_images, num_classes)`.
        labels: True class indices, shape `(num_images,)`.
        train_labels: Class indices of the training images; they name the majority class.
        class_names: Names in the order of the indices.
        temperature: What `strategies.training.calibration.fit_temperature` found on validation images; default: none.
        names: What each image is called; default: `"image 0"`, `"image 1"`, ...
        seed: Of the bootstrap.

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
    """Returns the 95 % bootstrap interval of the mean recall, from images drawn anew within each class.

    Args:
        hits: Images of each class that are right, shape `(num_classes,)`.
        counts: Images of each class, at least one.
        seed: Of the draws.

    Reference:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, percentile interval; stratified by class.

    Example:
        >>> import numpy as np
        >>> from strategies.training.metrics import balanced_interval
        >>> [round(bound, 1) for bound in balanced_interval(np.array([80, 8]), np.array([100, 10]))]
        [0.7, 0.9]
    """
    # Drawing n images with replacement, of which a share is right, is drawing from a binomial.
    draws = np.random.default_rng(seed).binomial(counts, hits / counts, size=(NUM_BOOTSTRAP, len(counts)))
    low, high = np.percentile((draws / counts).mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _class_row(hits: int, count: int, called: int) -> dict[str, Any]:
    low, high = wilson_interval(hits, count) if count else (None, None)
    return {
        "num_images": count,
        "recall": hits / count if count else None,
        "low": low,
        "high": high,
        "precision": hits / called if called else None,
        "f1": 2 * hits / (count + called) if count else None,
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


def paired_difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Returns by how much one model is more accurate than another on the same images, and the standard error of that.

    Args:
        one: Whether each image was right, shape `(num_images,)`.
        other: The same of the other model, image by image.

    Returns:
        `(difference, standard_error)`, fractions. The error is smaller than that of two separate test sets: images that
        both models get right, or both wrong, say nothing about the difference.

    Example:
        >>> import numpy as np
        >>> from strategies.training.metrics import paired_difference
        >>> difference, error = paired_difference(np.array([1, 1, 1, 0]), np.array([1, 0, 1, 0]))
        >>> round(difference, 2), round(error, 2)
        (0.25, 0.22)
    """
    differences = np.asarray(one, dtype="float64") - np.asarray(other, dtype="float64")
    return float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))
