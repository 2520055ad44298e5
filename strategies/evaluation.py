"""How good a trained model is on images that nothing else has seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Z_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Test metrics; shares are fractions, `low` and `high` a 95 % Wilson interval of the accuracy.

    `majority_accuracy` is what always answering the most frequent training class reaches on the same images.
    `confusion[i][j]` counts images of class i that were called class j.
    """

    accuracy: float
    low: float
    high: float
    balanced_accuracy: float
    num_images: int
    majority_class: str
    majority_accuracy: float
    per_class: dict[str, dict[str, Any]]
    confusion: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Returns the 95 % confidence interval of a share.

    Reference:
        Wilson 1927, Probable Inference; it stays within [0, 1] and is honest for small test sets.

    Example:
        >>> from strategies.evaluation import wilson_interval
        >>> [round(bound, 3) for bound in wilson_interval(9, 10)]
        [0.596, 0.982]
    """
    share, z2 = correct / total, Z_95**2
    center = (share + z2 / (2 * total)) / (1 + z2 / total)
    spread = Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, center - spread), min(1.0, center + spread)


def evaluate_predictions(
    probabilities: np.ndarray, labels: np.ndarray, train_labels: np.ndarray, class_names: Sequence[str]
) -> Evaluation:
    """Scores predicted probabilities on a test set.

    Args:
        probabilities: Array of shape `(num_images, num_classes)`.
        labels: True class indices, shape `(num_images,)`.
        train_labels: Class indices of the training images; they name the majority class.
        class_names: Names in the order of the indices.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(class_names), len(class_names)), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    counts = confusion.sum(axis=1)
    present = counts > 0
    recall = np.divide(confusion.diagonal(), counts, out=np.zeros(len(counts)), where=present)
    correct = int(confusion.trace())
    low, high = wilson_interval(correct, len(labels))
    majority = int(np.bincount(train_labels, minlength=len(class_names)).argmax())
    return Evaluation(
        accuracy=correct / len(labels),
        low=low,
        high=high,
        balanced_accuracy=float(recall[present].mean()),
        num_images=len(labels),
        majority_class=class_names[majority],
        majority_accuracy=float(counts[majority] / len(labels)),
        per_class={
            name: {"num_images": int(counts[index]), "recall": float(recall[index]) if present[index] else None}
            for index, name in enumerate(class_names)
        },
        confusion=confusion.tolist(),
    )


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
        >>> from strategies.evaluation import paired_difference
        >>> difference, error = paired_difference(np.array([1, 1, 1, 0]), np.array([1, 0, 1, 0]))
        >>> round(difference, 2), round(error, 2)
        (0.25, 0.22)
    """
    differences = np.asarray(one, dtype="float64") - np.asarray(other, dtype="float64")
    return float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))
