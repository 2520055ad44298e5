"""Trains one phase of a plan: runs the frozen part once, then trains or solves the rest, and saves the state."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from strategies.data.batches import AugmentedViews, Batches
from strategies.data.pixels import Pixels
from strategies.display.numbers import duration
from strategies.display.progress import note, redraw, silenced
from strategies.features.cache import FeatureCache
from strategies.features.forward import forward
from strategies.networks.backbones import CLASSIFIER
from strategies.networks.backend import keras, use_xla
from strategies.plans.phase import Phase, steps_per_evaluation
from strategies.plans.plan import Plan, class_weights
from strategies.training.calibration import softmax
from strategies.training.checkpoint import Checkpoint, State, values_of, variables
from strategies.training.distribution import Devices
from strategies.training.head import fit_head
from strategies.training.model import CutModel, StagedModel
from strategies.training.optimizers import Schedule, make_optimizer
from strategies.training.recorder import BalancedAccuracy, Recorder, split_measures


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the validation images have decided, before they are used for training themselves.

    Attributes:
        place: Phase and step of the weights that were kept.
        kept_phases: Names of the phases that were kept, in order.
        temperature: Temperature of the probabilities. `None` without validation images.
        threshold: Distance that 95% of new images are expected not to exceed; see `find_threshold`. `None` without
            validation images, and where the backbone stayed as it was: then all training images can tell.
    """

    place: tuple[str, int]
    kept_phases: tuple[str, ...]
    temperature: float | None
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything that the phases of one training share.

    Attributes:
        staged: The model that is trained.
        pixels: Images of the splits `train`, `val` and `test`.
        labels: Class indices of the same splits.
        recorder: Records the history, and decides which phases are kept.
        callbacks: Callbacks of the user.
        optimizer: Optimizer of the user, which replaces that of the plan. `None` uses that of the plan.
        cache: Where frozen features are kept, or `None`.
        checkpoint: Where the state of the training is kept.
        devices: The devices that share each batch.
        decided: In a refit, what the validation images have decided. `None` before.
    """

    staged: StagedModel
    pixels: Mapping[str, Pixels]
    labels: Mapping[str, np.ndarray]
    recorder: Recorder
    callbacks: Sequence[keras.callbacks.Callback]
    optimizer: keras.optimizers.Optimizer | None
    cache: FeatureCache | None
    checkpoint: Checkpoint
    devices: Devices
    decided: Decided | None = None

    @property
    def plan(self) -> Plan:
        """The plan that is carried out."""
        return self.staged.plan

    @property
    def model(self) -> keras.Model:
        """The whole model."""
        return self.staged.model

    def features(self, cut: CutModel, inputs: Pixels | AugmentedViews, description: str) -> np.ndarray:
        """Returns the output of the frozen part for images, cached where the run has a cache."""
        return cut.features(inputs, cache=self.cache, precision=self.staged.precision, description=description)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training has come.

    Attributes:
        phase: Index of the phase.
        epoch: Epochs completed in all phases together.
        epochs_before: Epochs completed in earlier phases.
        stopped: Whether the phase has ended early.
        accumulate: Number of batches whose gradients make one step.
        before: Weights at the start of the phase, by path.
        trainable: Number of trainable weights of each phase so far, by its name.
    """

    phase: int
    epoch: int
    epochs_before: int
    stopped: bool = False
    accumulate: int = 1
    before: Mapping[str, np.ndarray]
    trainable: Mapping[str, int]


def run_phase(run: TrainingRun, start: Progress, resumed: State | None) -> int:
    """Trains one phase, or the rest of it, and returns the number of epochs in all phases so far.

    If memory runs out, the phase starts again with smaller batches, whose gradients are accumulated.

    Args:
        run: What all phases share.
        start: Progress at the start of the phase.
        resumed: The state within the phase from which to continue, or `None`.
    """
    phase = run.plan.phases[start.phase]
    inputs: Mapping[str, Any] = run.pixels
    labels, trained = run.labels, run.model
    if (cut := run.staged.cut(phase)) is not None:
        trained = cut.trained
        inputs, labels = _frozen_features(run, cut)
    if not phase.has_steps:
        _solve_head(run, start.phase, inputs, labels)
        return start.epochs_before
    progress = start
    remembered = run.recorder.remembered()
    if resumed is not None:
        progress = replace(start, **{name: resumed.values[name] for name in ("epoch", "stopped", "accumulate")})
    while True:
        replica = run.devices.replica(trained)
        schedule = _compile(run, replica, phase, progress)
        if resumed is not None and progress.epoch > start.epoch:
            run.devices.load(replica.optimizer.variables, resumed.arrays["optimizer"])
        try:
            return _fit(run, trained, replica, progress, inputs, labels, schedule)
        except Exception as error:  # each backend raises another type
            if not is_out_of_memory(error) or not _can_halve(run, progress.accumulate):
                raise
        progress = replace(start, accumulate=2 * progress.accumulate)
        note(
            f"Out of memory: {phase.name} starts again with {run.plan.batch_size // progress.accumulate} images per "
            f"batch and {progress.accumulate} batches per step."
        )
        for weight in run.model.weights:
            weight.assign(start.before[weight.path])
        rows = [row for row in remembered["rows"] if row["phase"] != phase.name]
        run.recorder.restore({**remembered, "rows": rows})


def save_state(run: TrainingRun, progress: Progress, optimizer: Sequence[Any]) -> None:
    """Saves the state of a training to its run folder, if it has one."""
    run.devices.write(lambda: _write_state(run, progress, optimizer))


def _write_state(run: TrainingRun, progress: Progress, optimizer: Sequence[Any]) -> None:
    if not run.checkpoint.keeps:
        return
    arrays = {
        "variables": values_of(variables(run.model)),
        "optimizer": values_of(optimizer),
        "before": list(progress.before.values()),
    }
    values = {
        "phase": progress.phase,
        "epoch": progress.epoch,
        "epochs_before": progress.epochs_before,
        "stopped": progress.stopped,
        "accumulate": progress.accumulate,
        "trainable": dict(progress.trainable),
        "recorder": run.recorder.remembered(),
        "decided": None if run.decided is None else asdict(run.decided),
    }
    run.checkpoint.write(State(arrays=arrays, values=values))


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of a backend means that memory ran out."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
        or "RESOURCE_EXHAUSTED" in str(error)
    )


def _can_halve(run: TrainingRun, accumulate: int) -> bool:
    """Returns whether batches can be smaller still. Other processes would not know of it: they have memory left."""
    size = run.plan.batch_size // (2 * accumulate)
    return run.devices.num_processes == 1 and size > 0 and size % run.devices.num_devices == 0


def _solve_head(
    run: TrainingRun, number: int, features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> None:
    plan = run.plan
    kernel, bias = fit_head(
        features["train"], labels["train"], len(plan.class_names), seed=plan.seed, class_weights=class_weights(plan)
    )
    kernel = run.devices.of_first(kernel)
    run.model.get_layer(CLASSIFIER).set_weights([kernel, bias])
    probabilities = {part: softmax(features[part] @ kernel + bias) for part in ("train", "val") if len(labels[part])}
    measures = split_measures(probabilities["train"], labels["train"])
    judged = run.devices.of_first(probabilities["val"]) if "val" in probabilities else None
    run.recorder.add(plan.phases[number], 0, measures, judged)


def _compile(run: TrainingRun, replica: keras.Model, phase: Phase, progress: Progress) -> Schedule | None:
    """Compiles the trained part. Only now do changes of `trainable` take effect.

    Returns:
        The schedule of the learning rates. `None` with an optimizer of the user, which has its own.
    """
    plan = run.plan
    with run.devices.scope():
        optimizer = make_optimizer(
            phase.solver,
            run.staged.learning_rates(phase, progress.before),
            replica.trainable_weights,
            weight_decay=phase.weight_decay,
            own=run.optimizer,
            accumulate=progress.accumulate,
        )
        replica.compile(
            optimizer=optimizer,
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=plan.label_smoothing),
            # Metric objects, not names: Keras would create those in the first step, which TensorFlow then traces twice.
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy"), BalancedAccuracy(len(plan.class_names))],
            jit_compile=use_xla(),
        )
    if run.optimizer is not None:
        return None
    return Schedule(optimizer, steps=phase.steps, warmup=phase.warmup)


def _fit(
    run: TrainingRun,
    trained: keras.Model,
    replica: keras.Model,
    progress: Progress,
    inputs: Mapping[str, Any],
    labels: Mapping[str, np.ndarray],
    schedule: Schedule | None,
) -> int:
    if progress.stopped:
        return progress.epoch
    number, accumulate = progress.phase, progress.accumulate
    plan, phase = run.plan, run.plan.phases[number]
    weights = class_weights(plan)
    per_epoch = steps_per_evaluation(phase.steps, len(labels["train"]), plan.batch_size)
    batches = Batches(
        inputs["train"],
        np.eye(len(plan.class_names), dtype="float32")[labels["train"]],
        batch_size=plan.batch_size // accumulate,
        seed=(plan.seed, number),
        augmentation=plan.augmentation if phase.augmented and plan.augmentation else None,
        sample_weights=None if weights is None else weights[labels["train"]],
        part=(run.devices.process, run.devices.num_processes),
    )
    lines = _ProgressLine(f"Phase {number + 1} of {len(plan.phases)}, {phase.name}", phase.steps * accumulate)
    epochs, last = progress.epoch, progress.epochs_before + math.ceil(phase.steps / per_epoch)
    callbacks = keras.callbacks.CallbackList(
        [lines, *run.callbacks, _StateSaver(run, progress)], model=replica, epochs=last, verbose=0
    )
    done = (epochs - progress.epochs_before) * per_epoch * accumulate  # batches of this phase
    replica.stop_training = False
    callbacks.on_train_begin()
    with ThreadPoolExecutor(max_workers=1) as ahead:  # the next batch is prepared during the current step
        batch = ahead.submit(batches.batch, done)
        while epochs < last and not replica.stop_training:
            callbacks.on_epoch_begin(epochs)
            replica.reset_metrics()
            logs: dict[str, float] = {}
            for index in range(min(per_epoch * accumulate, phase.steps * accumulate - done)):
                if schedule is not None:
                    schedule.set(done // accumulate)
                callbacks.on_train_batch_begin(index)
                done += 1
                current, batch = batch.result(), ahead.submit(batches.batch, done)
                logs = run.devices.train_on_batch(replica, current)
                callbacks.on_train_batch_end(index, logs)
                if replica.stop_training:
                    break
            run.devices.collect(replica, trained)
            if done == phase.steps * accumulate:
                _blend(run.model, progress.before, phase.blend)
            probabilities = None
            if len(labels["val"]):
                with silenced():
                    probabilities = run.devices.of_first(forward(trained, inputs["val"])[0])
            logs = run.recorder.add(phase, done // accumulate, logs, probabilities, smoothing=plan.label_smoothing)
            replica.stop_training = replica.stop_training or run.recorder.diverged
            callbacks.on_epoch_end(epochs, logs)
            epochs += 1
    callbacks.on_train_end()
    return epochs


def _blend(model: keras.Model, before: Mapping[str, np.ndarray], share: float) -> None:
    """Moves the weights back to a point on the straight line from the start of the phase to its end."""
    if share == 1:
        return
    for weight in model.weights:
        start = before[weight.path]
        if np.issubdtype(start.dtype, np.floating):
            weight.assign(start + share * (keras.ops.convert_to_numpy(weight.value) - start))


def _frozen_features(run: TrainingRun, cut: CutModel) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Runs the frozen part once over the images, and over augmented copies of them if the phase has views."""
    plan, phase, labels = run.plan, cut.phase, dict(run.labels)
    inputs = {
        name: run.features(cut, run.pixels[name], f"Features ({name})")
        for name in ("train", "val")
        if len(labels[name])
    }
    inputs.setdefault("val", inputs["train"][:0])
    if phase.views and plan.augmentation:
        copies = [
            run.features(
                cut,
                AugmentedViews(run.pixels["train"], plan.augmentation, seed=(plan.seed, view)),
                f"Features (view {view} of {phase.views})",
            )
            for view in range(1, phase.views + 1)
        ]
        inputs["train"] = np.concatenate([inputs["train"], *copies])
        labels["train"] = np.tile(labels["train"], phase.views + 1)
    return inputs, labels


class _ProgressLine(keras.callbacks.Callback):
    """Shows the progress of a phase on stderr: a line that is redrawn on a terminal, else a line at the end."""

    def __init__(self, label: str, num_steps: int) -> None:
        super().__init__()
        self._label, self._num_steps, self._started = label, num_steps, time.perf_counter()
        self._done, self._shown, self._accuracy = 0, 0.0, ""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._done += 1
        now = time.perf_counter()
        if now - self._shown > 0.2:
            self._shown = now
            left = (now - self._started) / self._done * (self._num_steps - self._done)
            redraw(f"{self._text()}, {duration(max(1.0, left))} left")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if logs and "val_accuracy" in logs:
            self._accuracy = f", validation accuracy {logs['val_accuracy']:.3f}"

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        redraw("")
        note(self._text())

    def _text(self) -> str:
        return f"{self._label}: step {self._done} of {self._num_steps}{self._accuracy}"


class _StateSaver(keras.callbacks.Callback):
    """Saves the state of the training at the end of every epoch."""

    def __init__(self, run: TrainingRun, progress: Progress) -> None:
        super().__init__()
        self._run, self._progress = run, progress

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        progress = replace(self._progress, epoch=epoch + 1, stopped=bool(self.model.stop_training))
        save_state(self._run, progress, self.model.optimizer.variables)
