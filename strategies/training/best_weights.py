"""Which weights are kept: over all phases, the latest that the validation images cannot tell from the best."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from strategies.plans.phase import Phase

COLUMNS = ("loss", "accuracy", "balanced_accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy")
TOLERANCE = 2.0  # standard errors that validation may differ by without telling weights apart
_REMEMBERED = ("rows", "place", "best", "_kept", "_step", "_waited")
PATIENCE = 5  # evaluations in a row, each worse than the best by more than that, which end a phase


class BestWeights(keras.callbacks.Callback):
    """Records the history and remembers weights over all phases: the latest that are not clearly worse than the best.

    A later evaluation replaces the remembered weights unless it is worse than the best so far by more than two
    standard errors of a share among that many validation images. Taking the very best instead follows chance where
    validation images are few, and misses the end of a phase, where the learning rate has fallen to zero and the network
    is at its best. Optional phases must be better than what is remembered.

    Args:
        metric: `accuracy` or `balanced_accuracy`.
        num_val: Number of validation images; with none, every phase that is not optional is kept to its end.

    Reference:
        After the one-standard-error rule of Breiman et al. 1984, Classification and Regression Trees, section 3.4.3;
        with two of them, since a good result must not be lost to chance either.
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
        """Returns what is remembered beside the weights, as plain values."""
        return {name: getattr(self, name) for name in _REMEMBERED} | {"seconds": self._seconds()}

    def restore(self, values: Mapping[str, Any], weights: list[np.ndarray]) -> None:
        """Goes on from what another process remembered."""
        for name in _REMEMBERED:
            setattr(self, name, values[name])
        self.place, self.weights = (str(values["place"][0]), int(values["place"][1])), weights
        self._started = time.perf_counter() - values["seconds"]

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._started, 3)

    def start(self, phase: Phase, whole: keras.Model, *, resumed: bool = False) -> None:
        """Starts or resumes a phase. `whole` is the model whose weights are kept; a part of it may be trained."""
        self._phase, self._whole = phase, whole
        self._batch = 0
        if not resumed:
            self._step, self._waited = 0, 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Counts steps; Keras calls it."""
        self._batch += 1
        self._step += self._batch % self.accumulate == 0
        if self._step == self._phase.steps:  # the last epoch may be shorter
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Judges the weights; Keras calls it."""
        finite = self.record(dict(logs or {}))
        if self._waited >= PATIENCE or not finite:
            self.model.stop_training = True

    def record(self, logs: Mapping[str, float]) -> bool:
        """Adds a row to the history, keeps the weights if they are good enough; returns whether the loss is finite."""
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
        # Laplace's estimate: a share of 0 or 1 among few images has an error too.
        share = (share * self._num_val + 1) / (self._num_val + 2)
        return TOLERANCE * math.sqrt(share * (1 - share) / self._num_val)


class BalancedAccuracy(keras.metrics.Metric):
    """Mean recall of the classes that occur; labels one-hot, predictions one probability per class."""

    def __init__(self, num_classes: int, name: str = "balanced_accuracy") -> None:
        super().__init__(name=name)
        self.hits = self.add_variable((num_classes,), initializer="zeros", name="hits")
        self.counts = self.add_variable((num_classes,), initializer="zeros", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch; every image counts once, whatever its weight in the loss."""
        from keras import ops

        truth = ops.cast(y_true, "float32")
        answers = ops.one_hot(ops.argmax(y_pred, axis=-1), truth.shape[-1], dtype="float32")
        self.hits.assign_add(ops.sum(truth * answers, axis=0))
        self.counts.assign_add(ops.sum(truth, axis=0))

    def result(self) -> Any:
        """Returns the mean recall so far."""
        from keras import ops

        present = ops.cast(self.counts > 0, "float32")
        recall = self.hits / ops.maximum(self.counts, 1.0)
        return ops.sum(recall * present) / ops.maximum(ops.sum(present), 1.0)
