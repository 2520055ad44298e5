"""Records the evaluations of a training, and decides which phases are kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from strategies.networks.backend import keras
from strategies.plans.phase import Phase
from strategies.training.metrics import paired_difference
from strategies.training.run_files import MEASURES

EVIDENCE = 2.0  # in standard errors: a phase is undone if the validation images show such a loss


class Recorder:
    """Holds the history of a training, and keeps or undoes each phase at its end.

    Before and after a phase, the same validation images are predicted. The phase is undone if it has made them worse by
    more than two standard errors of the paired difference, that is, if chance does not explain it. An optional phase
    must make them better. There is no choice among the steps of a phase: at its end, the learning rate has fallen to
    zero and the network is usually at its best, and a choice by few validation images would follow chance.

    Args:
        metric: `accuracy` or `balanced_accuracy`.
        labels: Class indices of the validation images. Without any, every phase but the optional ones is kept.

    Example:
        >>> import numpy as np
        >>> from strategies.plans.phase import Phase
        >>> from strategies.training.recorder import Recorder
        >>> recorder = Recorder("accuracy", np.zeros(20, dtype=int))
        >>> kept = []
        >>> for name, correct in (("head", 16), ("all", 15), ("more", 8)):
        ...     phase = Phase(name=name, trains=("x",), learning_rate={})
        ...     _ = recorder.add(phase, 1, {"loss": 1.0}, np.eye(2)[np.repeat([0, 1], [correct, 20 - correct])])
        ...     kept.append(recorder.keeps(phase))
        >>> kept, recorder.place
        ([True, True, False], ('all', 1))
    """

    def __init__(self, metric: str, labels: np.ndarray) -> None:
        self.rows: list[dict[str, Any]] = []
        self.place = ("", 0)  # phase and step of the weights that are kept
        self.kept_phases: list[str] = []
        self.kept = self._last = np.zeros(0)  # 1 for each validation image that they predict correctly, else 0
        self._labels, self._weights = labels, np.ones(len(labels))
        if metric == "balanced_accuracy" and len(labels):
            counts = np.bincount(labels)
            self._weights = len(labels) / (counts[labels] * (counts > 0).sum())
        self._started = time.perf_counter()

    def remembered(self) -> dict[str, Any]:
        """Returns the state as plain values for a checkpoint."""
        return {
            "rows": list(self.rows),
            "place": self.place,
            "kept_phases": list(self.kept_phases),
            "correct": {"kept": self.kept.tolist(), "last": self._last.tolist()},
            "seconds": self._seconds(),
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """Restores the state that `remembered` returned."""
        self.rows, self.place = list(values["rows"]), (str(values["place"][0]), int(values["place"][1]))
        self.kept_phases = list(values["kept_phases"])
        self.kept, self._last = np.array(values["correct"]["kept"]), np.array(values["correct"]["last"])
        self._started = time.perf_counter() - values["seconds"]

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._started, 3)

    def add(
        self,
        phase: Phase,
        step: int,
        measures: Mapping[str, float],
        probabilities: np.ndarray | None,
        *,
        smoothing: float = 0.0,
    ) -> dict[str, float]:
        """Adds a row to the history.

        Args:
            phase: The phase.
            step: The step within the phase.
            measures: Loss, accuracy and balanced accuracy on training images.
            probabilities: Predictions for the validation images, or `None` where there are none.
            smoothing: Share of each label that the loss spreads over all classes.

        Returns:
            `measures`, with those of the validation images.
        """
        logs = dict(measures)
        if probabilities is not None:
            found = split_measures(probabilities, self._labels, smoothing=smoothing)
            logs |= {f"val_{name}": value for name, value in found.items()}
            self._last = (probabilities.argmax(axis=1) == self._labels).astype("float64")
        values = {name: float(logs[name]) if name in logs else None for name in MEASURES}
        self.rows.append({"phase": phase.name, "step": step, **values, "seconds": self._seconds()})
        return logs

    @property
    def diverged(self) -> bool:
        """Whether the last evaluation had a loss that is not finite."""
        values = [self.rows[-1][name] for name in MEASURES]
        return not math.isfinite(sum(value for value in values if value is not None))

    def keeps(self, phase: Phase) -> bool:
        """Returns whether the weights at the end of a phase are kept, from its last evaluation."""
        kept = not self.diverged and self._is_kept(phase)
        if kept:
            self.kept, self.place = self._last, (phase.name, self.rows[-1]["step"])
            self.kept_phases.append(phase.name)
        return kept

    def _is_kept(self, phase: Phase) -> bool:
        if not len(self._labels):
            return not phase.optional
        if not len(self.kept):
            return True  # the first phase
        gain, error = paired_difference(self._last * self._weights, self.kept * self._weights)
        return gain > 0 if phase.optional else gain >= -EVIDENCE * error


def split_measures(probabilities: np.ndarray, labels: np.ndarray, *, smoothing: float = 0.0) -> dict[str, float]:
    """Returns loss, accuracy and balanced accuracy of predictions.

    Args:
        probabilities: Predicted probabilities, shape `(num_images, num_classes)`.
        labels: Class indices, shape `(num_images,)`.
        smoothing: Share of each label that the loss spreads over all classes.

    Example:
        >>> import numpy as np
        >>> from strategies.training.recorder import split_measures
        >>> split_measures(np.array([[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]), np.array([0, 0, 1]))["balanced_accuracy"]
        0.75
    """
    logs = np.log(np.clip(probabilities.astype("float64"), 1e-7, 1.0))  # Keras' bound: the training loss has it too
    hits = probabilities.argmax(axis=1) == labels
    chosen = logs[np.arange(len(logs)), labels]
    return {
        "loss": -float(((1 - smoothing) * chosen + smoothing * logs.mean(axis=1)).mean()),
        "accuracy": float(hits.mean()),
        "balanced_accuracy": float(np.mean([hits[labels == label].mean() for label in np.unique(labels)])),
    }


class BalancedAccuracy(keras.metrics.Metric):
    """Mean recall of the classes that occur. Labels are one-hot; predictions are one probability per class."""

    def __init__(self, num_classes: int, name: str = "balanced_accuracy") -> None:
        super().__init__(name=name)
        self.hits = self.add_variable((num_classes,), initializer="zeros", name="hits")
        self.counts = self.add_variable((num_classes,), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch. Every image counts once, whatever its weight in the loss."""
        truth = keras.ops.cast(y_true, "float32")
        answers = keras.ops.one_hot(keras.ops.argmax(y_pred, axis=-1), truth.shape[-1], dtype="float32")
        self.hits.assign_add(keras.ops.sum(truth * answers, axis=0))
        self.counts.assign_add(keras.ops.sum(truth, axis=0))

    def result(self) -> Any:
        """Returns the mean recall of all batches so far."""
        present = keras.ops.cast(self.counts > 0, "float32")
        recall = self.hits / keras.ops.maximum(self.counts, 1.0)
        return keras.ops.sum(recall * present) / keras.ops.maximum(keras.ops.sum(present), 1.0)
