"""One phase of a plan: frozen part computed once, compiled anew, trained by steps or solved, its state kept on disk."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from strategies.batches import Batches, Views
from strategies.cache import FeatureCache
from strategies.checkpoint import Checkpoint, State, assign, values_of, variables
from strategies.classifier import fit_classifier
from strategies.features import use_xla
from strategies.model import cut_at_frozen, layers_by_stage, moving_paths, pass_frozen, snapshot
from strategies.optimizers import make_optimizer
from strategies.pixels import Pixels
from strategies.plan import Phase, Plan, class_weights
from strategies.selection import BalancedAccuracy, Selection

EVALUATIONS = 10  # of the validation set, per phase at most


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every phase of one training reads."""

    plan: Plan
    pixels: Mapping[str, Pixels]
    labels: Mapping[str, np.ndarray]
    selection: Selection
    callbacks: Sequence[keras.callbacks.Callback]
    optimizer: keras.optimizers.Optimizer | None
    cache: FeatureCache | None
    precision: str
    checkpoint: Checkpoint


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run stands: its phase, the epochs done through all phases and before this one, and what each trained."""

    phase: int
    epoch: int
    epochs_before: int
    stopped: bool
    accumulate: int
    before: Mapping[str, np.ndarray]
    trainable: Mapping[str, int]


def run_phase(
    this: Run,
    model: keras.Model,
    number: int,
    epochs_before: int,
    before: Mapping[str, np.ndarray],
    trainable: Mapping[str, int],
    resumed: State | None,
) -> int:
    """Trains one phase, or what is left of it, and returns how many epochs were run so far."""
    phase, labels = this.plan.phases[number], this.labels
    head, tail = cut_at_frozen(model, this.plan, phase)
    inputs: Mapping[str, Any] = this.pixels
    if head is not None:
        inputs, labels = _frozen_features(this, phase, head)
    if phase.solver == "logistic":
        _solve_head(this, model, inputs, labels)
        return epochs_before
    place = start = Place(
        phase=number,
        epoch=epochs_before,
        epochs_before=epochs_before,
        stopped=False,
        accumulate=1,
        before=before,
        trainable=trainable,
    )
    remembered, kept = this.selection.remembered(), this.selection.weights
    if resumed is not None:
        place = replace(start, **{name: resumed.values[name] for name in ("epoch", "stopped", "accumulate")})
    while True:
        _compile(this, model, tail, phase, place.accumulate)
        if resumed is not None and place.epoch > start.epoch:
            assign(tail.optimizer.variables, resumed.arrays["optimizer"])
        try:
            return _fit(this, model, tail, place, inputs, labels)
        except Exception as error:  # every backend has its own
            if not is_out_of_memory(error) or 2 * place.accumulate > this.plan.batch_size:
                raise
        place = replace(start, accumulate=2 * place.accumulate)
        print(
            f"Out of memory: {phase.name} begins again with {this.plan.batch_size // place.accumulate} images at a "
            f"time, {place.accumulate} times for each step.",
            file=sys.stderr,
        )
        for weight in model.weights:
            weight.assign(before[weight.path])
        this.selection.restore({**remembered, "rows": _rows_before(remembered["rows"], phase)}, kept)
        this.selection.start(phase, model)


def keep_state(this: Run, model: keras.Model, place: Place, optimizer: Sequence[Any]) -> None:
    """Writes where the run stands, where a run folder keeps it."""
    if not this.checkpoint.keeps:
        return
    arrays = {
        "variables": values_of(variables(model)),
        "optimizer": values_of(optimizer),
        "kept": this.selection.weights,
        "before": list(place.before.values()),
    }
    values = {
        "phase": place.phase,
        "epoch": place.epoch,
        "epochs_before": place.epochs_before,
        "stopped": place.stopped,
        "accumulate": place.accumulate,
        "trainable": dict(place.trainable),
        "selection": this.selection.remembered(),
    }
    this.checkpoint.write(State(arrays=arrays, values=values))


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether a backend says that memory did not suffice."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
        or "RESOURCE_EXHAUSTED" in str(error)
    )


def _rows_before(rows: Sequence[Mapping[str, Any]], phase: Phase) -> list[dict[str, Any]]:
    return [dict(row) for row in rows if row["phase"] != phase.name]


def _solve_head(
    this: Run, model: keras.Model, features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> None:
    plan = this.plan
    kernel, bias = fit_classifier(
        features["train"], labels["train"], len(plan.class_names), seed=plan.seed, class_weights=class_weights(plan)
    )
    model.get_layer(plan.new_layers[-1].name).set_weights([kernel, bias])
    this.selection.record(_metrics_of_head(features, labels, kernel, bias))


def _compile(this: Run, model: keras.Model, tail: keras.Model, phase: Phase, accumulate: int) -> None:
    """Compiles the part that is trained, anew in each phase: what `trainable` says holds from here on."""
    plan = this.plan
    rates = {
        weight.path: phase.learning_rate[stage]
        for stage, names in layers_by_stage(model, plan).items()
        if stage in phase.trains
        for name in names
        for weight in model.get_layer(name).trainable_weights
    }
    optimizer = make_optimizer(
        phase.solver,
        rates,
        tail.trainable_weights,
        steps=phase.steps,
        warmup=phase.warmup,
        weight_decay=phase.weight_decay,
        own=this.optimizer,
        accumulate=accumulate,
    )
    tail.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=plan.label_smoothing),
        # Metrics that exist before the first step: TensorFlow would trace that step twice for those made within it.
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy"), BalancedAccuracy(len(plan.class_names))],
        jit_compile=use_xla(),
    )


def _fit(
    this: Run,
    model: keras.Model,
    tail: keras.Model,
    place: Place,
    inputs: Mapping[str, Any],
    labels: Mapping[str, np.ndarray],
) -> int:
    if place.stopped:
        return place.epoch
    number = place.phase
    plan, phase = this.plan, this.plan.phases[number]
    targets = {name: np.eye(len(plan.class_names), dtype="float32")[part] for name, part in labels.items()}
    weights = class_weights(plan)
    per_epoch = steps_per_evaluation(phase.steps, len(labels["train"]), plan.batch_size)
    batches = Batches(
        inputs["train"],
        targets["train"],
        batch_size=plan.batch_size // place.accumulate,
        num_steps=per_epoch * place.accumulate,
        seed=(plan.seed, number),
        augmentation=plan.augmentation if phase.augmented and plan.augmentation else None,
        sample_weights=None if weights is None else weights[labels["train"]],
        epoch=place.epoch - place.epochs_before,
    )
    this.selection.accumulate = place.accumulate
    lines = _Lines(f"Phase {number + 1} of {len(plan.phases)}, {phase.name}", phase.steps * place.accumulate)
    history = tail.fit(
        batches,
        initial_epoch=place.epoch,
        epochs=place.epochs_before + math.ceil(phase.steps / per_epoch),
        validation_data=_Whole(inputs["val"], targets["val"]) if len(labels["val"]) else None,
        verbose=0,
        shuffle=False,
        callbacks=[this.selection, lines, *this.callbacks, _Keeper(this, model, place)],
    )
    return place.epoch + len(history.epoch)


def steps_per_evaluation(steps: int, num_train: int, batch_size: int) -> int:
    """Returns after how many steps the validation images are looked at: a pass over the training images or more.

    Args:
        steps: Of the whole phase.
        num_train: Training images.
        batch_size: Images per step.
    """
    return min(steps, math.ceil(max(steps / EVALUATIONS, num_train / batch_size)))


def _frozen_features(this: Run, phase: Phase, head: keras.Model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Runs the frozen part once over the images, and over augmented copies of the training images."""
    plan, labels = this.plan, dict(this.labels)

    def features(inputs: Pixels | Views, description: str) -> np.ndarray:
        return pass_frozen(
            head, plan, phase, inputs, cache=this.cache, precision=this.precision, description=description
        )

    inputs = {name: features(this.pixels[name], f"Features ({name})") for name in ("train", "val") if len(labels[name])}
    inputs.setdefault("val", inputs["train"][:0])
    if phase.views and plan.augmentation:
        copies = [
            features(
                Views(this.pixels["train"], plan.augmentation, seed=(plan.seed, view)),
                f"Features (view {view} of {phase.views})",
            )
            for view in range(1, phase.views + 1)
        ]
        inputs["train"] = np.concatenate([inputs["train"], *copies])
        labels["train"] = np.tile(labels["train"], phase.views + 1)
    return inputs, labels


class _Whole(keras.utils.PyDataset):
    """All images of a split once, in order."""

    def __init__(self, inputs: Any, targets: np.ndarray, batch_size: int = 64) -> None:
        super().__init__()
        self._inputs, self._targets, self._batch_size = inputs, targets, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        return self._inputs[part].astype("float32"), self._targets[part]


def _metrics_of_head(
    inputs: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], kernel: np.ndarray, bias: np.ndarray
) -> dict[str, float]:
    metrics = {}
    for name, prefix in (("train", ""), ("val", "val_")):
        if len(labels[name]):
            logits = inputs[name] @ kernel + bias
            logits -= logits.max(axis=1, keepdims=True)
            chosen = logits[np.arange(len(logits)), labels[name]]
            metrics[f"{prefix}loss"] = float((np.log(np.exp(logits).sum(axis=1)) - chosen).mean())
            hits = logits.argmax(axis=1) == labels[name]
            metrics[f"{prefix}accuracy"] = float(hits.mean())
            recall = [hits[labels[name] == label].mean() for label in np.unique(labels[name])]
            metrics[f"{prefix}balanced_accuracy"] = float(np.mean(recall))
    return metrics


def check_frozen(model: keras.Model, phase: Phase, before: Mapping[str, np.ndarray]) -> None:
    """Checks, against the weights at the start of a phase, that all that were frozen are as they were, bit for bit."""
    moving = moving_paths(model)
    for path, value in snapshot(model).items():
        if path not in moving and not np.array_equal(value, before[path]):
            raise RuntimeError(
                f"A frozen weight has moved: {path} in phase {phase.name!r}. This is a defect of this software "
                f"or of Keras {keras.__version__}, not of the data; the result cannot be trusted."
            )


class _Lines(keras.callbacks.Callback):
    """Says on stderr how far a phase is: one line, redrawn, on a terminal; one line per phase elsewhere."""

    def __init__(self, label: str, num_steps: int) -> None:
        super().__init__()
        self._label, self._num_steps, self._started = label, num_steps, time.perf_counter()
        self._done, self._shown, self._accuracy = 0, 0.0, ""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._done += 1
        now = time.perf_counter()
        if sys.stderr.isatty() and now - self._shown > 0.2:
            self._shown = now
            left = (now - self._started) / self._done * (self._num_steps - self._done)
            print(f"\r{self._text()}, {left:.0f} s left\033[K", end="", file=sys.stderr, flush=True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if logs and "val_accuracy" in logs:
            self._accuracy = f", validation accuracy {logs['val_accuracy']:.3f}"

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{clear}{self._text()}", file=sys.stderr, flush=True)

    def _text(self) -> str:
        return f"{self._label}: step {self._done} of {self._num_steps}{self._accuracy}"


class _Keeper(keras.callbacks.Callback):
    """Writes the state of the run at the end of every epoch, after the selection has judged it."""

    def __init__(self, this: Run, model: keras.Model, place: Place) -> None:
        super().__init__()
        self._this, self._whole, self._place = this, model, place

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        place = replace(self._place, epoch=epoch + 1, stopped=bool(self.model.stop_training))
        keep_state(self._this, self._whole, place, self.model.optimizer.variables)
