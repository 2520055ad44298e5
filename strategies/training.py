"""Carries a plan out in Keras, phase by phase, and keeps the best weights over all phases."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from strategies.baseline import HeadBaseline, measure_baseline
from strategies.batches import Batches, Pixels, Views
from strategies.cache import FeatureCache, default_cache
from strategies.checkpoint import FILE as CHECKPOINT
from strategies.checkpoint import Checkpoint, State, assign, locked, values_of, variables
from strategies.classifier import fit_classifier
from strategies.errors import DatasetError, PlanError
from strategies.evaluation import Evaluation, evaluate_predictions
from strategies.features import forward, frozen_pass, use_xla
from strategies.files import check_run, replacing, write_json
from strategies.images import ImageDataset, load_dataset
from strategies.model import (
    build_model,
    cut_at_frozen,
    frozen_outputs,
    layers_by_stage,
    moving_paths,
    resolve_precision,
    snapshot,
    start_phase,
)
from strategies.optimizers import make_optimizer
from strategies.plan import Phase, Plan, check_classes, check_plan, class_weights
from strategies.reliability import fit_temperature
from strategies.selection import BalancedAccuracy, Selection
from strategies.splits import split_dataset

if TYPE_CHECKING:
    import pandas as pd

METRICS_VERSION = 2
EVALUATIONS = 10  # of the validation set, per phase at most
PhaseHook = Callable[[Phase, keras.Model, Mapping[str, np.ndarray]], None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainingResult:
    """A trained model and how it came about.

    Attributes:
        plan: The plan that was carried out.
        model: The Keras model with the best weights over all phases; RGB pixels 0-255 in, probabilities out.
        history: One row per evaluation: phase, step, loss and accuracy on training and validation images.
        test: Metrics on the test split, which nothing but this evaluation has read.
        predicted: Class index that the model gives each image of the test split, in the order of the data.
        best_phase: Name of the phase whose weights were kept, and `best_step`, the step within it.
        num_trainable_by_phase: How many numbers each phase trained.
        head: What a new head alone reaches on the same images, and the gain over it; `None` where it was left out.
        seconds: Wall-clock time from decoding to evaluation, without that of `head`.
    """

    plan: Plan
    model: keras.Model
    history: pd.DataFrame
    test: Evaluation
    predicted: np.ndarray
    best_phase: str
    best_step: int
    head: HeadBaseline | None
    num_trainable_by_phase: Mapping[str, int]
    seconds: float
    versions: Mapping[str, str]

    def __repr__(self) -> str:
        return f"TrainingResult({self.plan.recipe!r}, test accuracy {self.test.accuracy:.3f}, {self.seconds:.0f} s)"

    def _repr_html_(self) -> str:
        from strategies.pages import result_html

        return result_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `metrics.json`."""
        test = self.test.to_dict()
        baseline: dict[str, Any] = {key: test.pop(key) for key in ("majority_class", "majority_accuracy")}
        baseline["head"] = None if self.head is None else self.head.to_dict()
        return {
            "version": METRICS_VERSION,
            "test": test,
            "baseline": baseline,
            "best_phase": self.best_phase,
            "best_step": self.best_step,
            "num_trainable_by_phase": dict(self.num_trainable_by_phase),
            "seconds": self.seconds,
            "versions": dict(self.versions),
        }

    def save(self, folder: str | Path) -> None:
        """Writes `model.keras`, `plan.json`, `class_names.json`, `history.csv` and `metrics.json` into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "model.keras") as temporary:
            self.model.save(temporary)
        with replacing(folder / "history.csv") as temporary:
            self.history.to_csv(temporary, index=False)
        write_json(folder / "plan.json", self.plan.to_dict())
        write_json(folder / "class_names.json", {"version": 1, "class_names": list(self.plan.class_names)})
        write_json(folder / "metrics.json", self.to_dict())


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

    def __init__(self, this: _Run, model: keras.Model, place: _Place) -> None:
        super().__init__()
        self._this, self._whole, self._place = this, model, place

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        place = replace(self._place, epoch=epoch + 1, stopped=bool(self.model.stop_training))
        _keep(self._this, self._whole, place, self.model.optimizer.variables)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a run stands: its phase, the epochs done through all phases and before this one, and what each trained."""

    phase: int
    epoch: int
    epochs_before: int
    stopped: bool
    accumulate: int
    before: Mapping[str, np.ndarray]
    trainable: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class _Run:
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


def train(
    plan: Plan,
    data: Any,
    run: str | Path | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    optimizer: keras.optimizers.Optimizer | None = None,
    cache: bool = True,
    baseline: bool = True,
    on_phase_end: PhaseHook | None = None,
) -> TrainingResult:
    """Carries a plan out: builds the model, trains it phase by phase, evaluates it on the test split.

    Each phase sets what is frozen, compiles anew with a fresh optimizer and trains; over all phases the latest weights
    are kept that the validation split cannot tell from the best. Weights that the freeze map calls frozen are checked
    to be unchanged.

    Args:
        plan: From `strategies.make_plan`, `strategies.read_plan` or a recommendation.
        data: Anything `advisor.recommend` takes; without a split of its own it is split by the plan's seed.
        run: Folder to write model, plan, history and metrics to; `None` writes nothing.
        overwrite: Whether that folder may hold files already.
        resume: Go on where an earlier run in that folder was cut off, after its last epoch; begin anew where there is
            none. The result is that of a run that was not cut off. Callbacks of your own start anew.
        callbacks: Keras callbacks for the phases that are trained by steps, such as `TensorBoard`; epochs are counted
            through all phases. Where everything but the new layers is frozen, the model that they see is those layers.
        optimizer: Your own, used instead of the plan's in every phase that is trained by steps: a fresh copy of it,
            with its own learning rate for the stages that learn fastest and proportionally lower ones for the others.
        cache: Whether frozen features are kept on disk and read from there; see `strategies/cache.py`.
        baseline: Whether a head alone is fitted too, on frozen features, to count the gain of the recipe from.
        on_phase_end: Called as `on_phase_end(phase, model, weights_at_start)` before the kept weights are restored;
            `weights_at_start` maps the path of every weight to a copy of its value.

    Returns:
        A `TrainingResult`.

    Raises:
        DatasetError: If the data's classes are not the plan's.
        OutputError: If the folder holds files and `overwrite` is false, if another process is writing to it, if the run
            that is to be resumed had other images or another plan, or if the disk is full.
        PlanError: If the plan contradicts itself.
    """
    check_plan(plan)
    folder = None if run is None else check_run(run, overwrite=overwrite, resume=resume)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if folder is not None:
            if not resume:
                (folder / CHECKPOINT).unlink(missing_ok=True)
            write_json(folder / "plan.json", plan.to_dict())
        result, checkpoint = _train(plan, data, folder, callbacks, optimizer, cache, baseline, on_phase_end)
        if folder is not None:
            result.save(folder)
            checkpoint.remove()
    return result


def _train(
    plan: Plan,
    data: Any,
    folder: Path | None,
    callbacks: Sequence[keras.callbacks.Callback],
    optimizer: keras.optimizers.Optimizer | None,
    cache: bool,
    baseline: bool,
    on_phase_end: PhaseHook | None,
) -> tuple[TrainingResult, Checkpoint]:
    started = time.perf_counter()
    dataset = load_dataset(data)
    check_classes(plan, dataset.class_names)
    if dataset.split is None or None in dataset.split:
        dataset = split_dataset(dataset, seed=plan.seed)
    parts = {name: dataset.subset(np.flatnonzero(np.array(dataset.split) == name)) for name in ("train", "val", "test")}
    for name in ("train", "test"):
        if not len(parts[name]):
            raise DatasetError(f"Expected images in the {name} split. Received none in {dataset.source!r}. Add some.")
    keras.utils.set_random_seed(plan.seed)
    precision = resolve_precision(plan.precision)
    model = build_model(plan, precision=precision)
    selection = Selection(plan.metric, len(parts["val"]))
    pixels = {name: Pixels(part.items, plan.image_size) for name, part in parts.items()}
    this = _Run(
        plan=plan,
        pixels=pixels,
        labels={name: part.labels for name, part in parts.items()},
        selection=selection,
        callbacks=callbacks,
        optimizer=optimizer,
        cache=default_cache() if cache else None,
        precision=precision,
        checkpoint=Checkpoint(folder, _identity(plan, pixels, parts) if folder is not None else {}),
    )
    first, trainable, epochs = 0, dict[str, int](), 0
    if (state := this.checkpoint.read()) is not None:
        assign(variables(model), state.arrays["variables"])
        selection.restore(state.values["selection"], list(state.arrays["kept"]))
        first, trainable = state.values["phase"], dict(state.values["trainable"])
        epochs = state.values["epochs_before"]
    for number, phase in enumerate(plan.phases):
        if number < first:
            continue
        start_phase(model, plan, phase)
        before = snapshot(model)
        resumed = state if state is not None and state.is_within(number) else None
        if resumed is not None:
            before = dict(zip(before, resumed.arrays["before"], strict=True))
        selection.start(phase, model, anew=resumed is None)
        trainable[phase.name] = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        epochs = _run_phase(this, model, number, epochs, before, trainable, resumed)
        _check_frozen(model, phase, before)
        if on_phase_end:
            on_phase_end(phase, model, before)
        if selection.weights:
            model.set_weights(selection.weights)  # the next phase starts from what was kept
        done = _Place(
            phase=number + 1,
            epoch=epochs,
            epochs_before=epochs,
            stopped=False,
            accumulate=1,
            before={},
            trainable=trainable,
        )
        _keep(this, model, done, [])
    if not selection.weights:
        raise PlanError(
            f"Training diverged: no evaluation gave a finite loss. Received: learning rates "
            f"{[dict(phase.learning_rate) for phase in plan.phases]}. Lower them in the plan."
        )
    model = _finished(model, plan, precision)
    (probabilities,) = forward(model, this.pixels["test"], description="Testing")
    predicted = probabilities.argmax(axis=1)
    test = evaluate_predictions(
        probabilities,
        this.labels["test"],
        this.labels["train"],
        plan.class_names,
        temperature=_temperature(model, this),
        names=parts["test"].names,
        seed=plan.seed,
    )
    seconds = time.perf_counter() - started
    head = None
    if baseline:
        head = measure_baseline(
            plan,
            this.pixels,
            this.labels,
            test=test,
            predicted=predicted,
            seconds=seconds,
            cache=this.cache,
            precision=precision,
        )
    result = TrainingResult(
        plan=plan,
        model=model,
        history=_history(selection.rows),
        test=test,
        predicted=predicted,
        best_phase=selection.place[0],
        best_step=selection.place[1],
        head=head,
        num_trainable_by_phase=trainable,
        seconds=seconds,
        versions={
            "python": platform.python_version(),
            "backend": keras.backend.backend(),
            "precision": precision,
        }
        | {name: version(name) for name in ("keras", "numpy", keras.backend.backend())},
    )
    return result, this.checkpoint


def _identity(plan: Plan, pixels: Mapping[str, Pixels], parts: Mapping[str, ImageDataset]) -> dict[str, Any]:
    """Returns what a run depends on: its plan, its images and the software that computes."""
    values = plan.to_dict()
    values.pop("advice", None)
    return {
        "plan": values,
        "images": {
            name: [pixels[name].identity()["images"].hex(), part.labels.tolist()] for name, part in parts.items()
        },
        "versions": [keras.version(), keras.backend.backend()],
    }


def _keep(this: _Run, model: keras.Model, place: _Place, optimizer: Sequence[Any]) -> None:
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


def _finished(model: keras.Model, plan: Plan, precision: str) -> keras.Model:
    """Returns the trained model in float32 and not compiled: it loads without anything of ours and runs anywhere."""
    if precision != "float32":
        trained = model.get_weights()
        model = build_model(plan)
        model.set_weights(trained)
    return keras.Model(model.input, model.output, name=plan.recipe)


def _temperature(model: keras.Model, this: _Run) -> float | None:
    """Returns the temperature of the validation images, which training has not fitted; `None` without any."""
    if not len(this.labels["val"]):
        return None
    (probabilities,) = forward(model, this.pixels["val"], description="Calibrating")
    return fit_temperature(probabilities, this.labels["val"])


def _history(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows)


def _run_phase(
    this: _Run,
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
    place = start = _Place(
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
    this: _Run, model: keras.Model, features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]
) -> None:
    plan = this.plan
    kernel, bias = fit_classifier(
        features["train"], labels["train"], len(plan.class_names), seed=plan.seed, class_weights=class_weights(plan)
    )
    model.get_layer(plan.new_layers[-1].name).set_weights([kernel, bias])
    this.selection.record(_metrics_of_head(features, labels, kernel, bias))


def _compile(this: _Run, model: keras.Model, tail: keras.Model, phase: Phase, accumulate: int) -> None:
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
    this: _Run,
    model: keras.Model,
    tail: keras.Model,
    place: _Place,
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


def _frozen_features(
    this: _Run, phase: Phase, head: keras.Model
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Runs the frozen part once over the images, and over augmented copies of the training images."""
    plan, labels = this.plan, dict(this.labels)
    place: dict[str, Any] = {
        "backbone": plan.backbone,
        "outputs": frozen_outputs(head, plan),
        "precision": this.precision,
    }
    inputs = {
        name: frozen_pass(head, this.pixels[name], this.cache, description=f"Features ({name})", **place)[0]
        for name in ("train", "val")
        if len(labels[name])
    }
    inputs.setdefault("val", inputs["train"][:0])
    if phase.views and plan.augmentation:
        copies = [
            frozen_pass(
                head,
                Views(this.pixels["train"], plan.augmentation, seed=(plan.seed, view)),
                this.cache,
                description=f"Features (view {view} of {phase.views})",
                **place,
            )[0]
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


def _check_frozen(model: keras.Model, phase: Phase, before: Mapping[str, np.ndarray]) -> None:
    moving = moving_paths(model)
    for path, value in snapshot(model).items():
        if path not in moving and not np.array_equal(value, before[path]):
            raise RuntimeError(
                f"A frozen weight has moved: {path} in phase {phase.name!r}. This is a defect of this software "
                f"or of Keras {keras.__version__}, not of the data; the result cannot be trusted."
            )
