"""Keeps the best weights over all phases, judged by the validation images."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from strategies.plans.phase import Phase

COLUMNS = ("loss", "accuracy", "balanced_accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy")
TOLERANCE = 2.0  # in standard errors: a smaller difference in validation accuracy does not count
_REMEMBERED = ("rows", "place", "best", "_kept", "_step", "_waited")
PATIENCE = 5  # evaluations in a row that are worse by more than the tolerance, after which a phase ends


class BestWeights(keras.callbacks.Callback):
    """Records the history, and keeps the latest weights that are not clearly worse than the best over all phases.

    After each evaluation, the new weights replace the kept ones unless they are worse than the best so far by more than
    two standard errors of a share among that many validation images. Keeping only the very best would follow chance
    where there are few validation images. It would also miss the end of a phase, where the learning rate has fallen to
    zero and the network is usually at its best. The weights of an optional phase must be better than the kept ones.

    Args:
        metric: `accuracy` or `balanced_accuracy`.
        num_val: Number of validation images. Without any, every phase is kept to its end, except for optional phases.

    Reference:
        Breiman et al. 1984, Classification and Regression Trees, section 3.4.3 (one-standard-error rule). Two standard
        errors are used here, so that a good result is not lost to chance either.
    """

    def __init__(self, metric: str, num_val: int) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.weights: list[np.ndarray] = []
        self.place = ("", 0)
        self.best: float | None = None
        self._kept: float | None = None
        self._step = self._waited = self._batch = 0
        self.accumulate = 1  # batches that make one step
        self._metric, self._num_val = metric, num_val
        self._started = time.perf_counter()

    def remembered(self) -> dict[str, Any]:
        """Returns the state of this callback without the weights, as plain values for a checkpoint."""
        return {name: getattr(self, name) for name in _REMEMBERED} | {"seconds": self._seconds()}

    def restore(self, values: Mapping[str, Any], weights: list[np.ndarray]) -> None:
        """Restores the state that `remembered` returned, and the kept weights."""
        for name in _REMEMBERED:
            setattr(self, name, values[name])
        self.place, self.weights = (str(values["place"][0]), int(values["place"][1])), weights
        self._started = time.perf_counter() - values["seconds"]

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._started, 3)

    def start(self, phase: Phase, whole: keras.Model, *, resumed: bool = False) -> None:
        """Starts or resumes a phase.

        Args:
            phase: The phase.
            whole: The model whose weights are kept. The model that is trained may be a part of it.
            resumed: Whether the phase continues from a checkpoint.
        """
        self._phase, self._whole = phase, whole
        self._batch = 0
        if not resumed:
            self._step, self._waited = 0, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Counts optimizer steps; called by Keras."""
        self._batch += 1
        self._step += self._batch % self.accumulate == 0
        if self._step == self._phase.steps:  # the last epoch may be shorter
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Judges the current weights; called by Keras."""
        finite = self.record(dict(logs or {}))
        if self._waited >= PATIENCE or not finite:
            self.model.stop_training = True

    def record(self, logs: Mapping[str, float]) -> bool:
        """Adds a row to the history and keeps the weights if they are good. Returns whether all values are finite."""
        values = {name: float(logs[name]) if name in logs else None for name in COLUMNS}
        self.rows.append({"phase": self._phase.name, "step": self._step, **values, "seconds": self._seconds()})
        if not math.isfinite(sum(value for value in values.values() if value is not None)):
            return False
        if self._is_kept(values[f"val_{self._metric}"]):
            self.weights, self.place = self._whole.get_weights(), (self._phase.name, self._step)
        return True

    def _is_kept(self, score: float | None) -> bool:
        if score is None:
            return not self._phase.optional
        if self._phase.optional:
            kept = self._kept is None or score > self._kept
        else:
            kept = self.best is None or score >= self.best - self._tolerance(self.best)
        self._waited = 0 if kept else self._waited + 1
        if kept:
            self.best, self._kept = max(self.best or 0.0, score), score
        return kept

    def _tolerance(self, share: float) -> float:
        # Laplace's estimate, so that a share of 0 or 1 among few images has a standard error above zero.
        share = (share * self._num_val + 1) / (self._num_val + 2)
        return TOLERANCE * math.sqrt(share * (1 - share) / self._num_val)


class BalancedAccuracy(keras.metrics.Metric):
    """Mean recall of the classes that occur. Labels are one-hot; predictions are one probability per class."""

    def __init__(self, num_classes: int, name: str = "balanced_accuracy") -> None:
        super().__init__(name=name)
        self.hits = self.add_variable((num_classes,), initializer="zeros", name="hits")
        self.counts = self.add_variable((num_classes,), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch. Every image counts once, whatever its weight in the loss."""
        from keras import ops

        truth = ops.cast(y_true, "float32")
        answers = ops.one_hot(ops.argmax(y_pred, axis=-1), truth.shape[-1], dtype="float32")
        self.hits.assign_add(ops.sum(truth * answers, axis=0))
        self.counts.assign_add(ops.sum(truth, axis=0))

    def result(self) -> Any:
        """Returns the mean recall of all batches so far."""
        from keras import ops

        present = ops.cast(self.counts > 0, "float32")
        recall = self.hits / ops.maximum(self.counts, 1.0)
        return ops.sum(recall * present) / ops.maximum(ops.sum(present), 1.0)


def split_measures(probabilities: np.ndarray, labels: np.ndarray, *, smoothing: float = 0.0) -> dict[str, float]:
    """Returns loss, accuracy and balanced accuracy of predictions.

    Args:
        probabilities: Predicted probabilities, shape `(num_images, num_classes)`.
        labels: Class indices, shape `(num_images,)`.
        smoothing: Share of each label that the loss spreads over all classes.

    Example:
        >>> import numpy as np
        >>> from strategies.training.best_weights import split_measures
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
