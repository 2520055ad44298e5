"""Carries a plan out in Keras, phase by phase, and keeps the best weights over all phases."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from strategies.batches import Batches, Pixels
from strategies.classifier import fit_classifier
from strategies.errors import DatasetError, PlanError
from strategies.evaluation import Evaluation, evaluate_predictions
from strategies.features import forward, use_xla
from strategies.files import check_output, write_json
from strategies.images import load_dataset
from strategies.model import POOL, build_model, layers_by_stage, moving_paths, snapshot, start_phase
from strategies.plan import Phase, Plan, check_classes, check_plan
from strategies.splits import split_dataset

if TYPE_CHECKING:
    import pandas as pd

METRICS_VERSION = 1
EVALUATIONS = 20  # of the validation set, per phase at most
PATIENCE = 8  # evaluations without a better one before a phase ends
PhaseHook = Callable[[Phase, keras.Model, Mapping[str, np.ndarray]], None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainingResult:
    """A trained model and how it came about.

    Attributes:
        plan: The plan that was carried out.
        model: The Keras model with the best weights over all phases; RGB pixels 0-255 in, probabilities out.
        history: One row per evaluation: phase, step, loss and accuracy on training and validation images.
        test: Metrics on the test split, which nothing but this evaluation has read.
        best_phase: Name of the phase whose weights were kept, and `best_step`, the step within it.
        num_trainable_by_phase: How many numbers each phase trained.
        seconds: Wall-clock time from decoding to evaluation.
    """

    plan: Plan
    model: keras.Model
    history: pd.DataFrame
    test: Evaluation
    best_phase: str
    best_step: int
    num_trainable_by_phase: Mapping[str, int]
    seconds: float
    versions: Mapping[str, str]

    def __repr__(self) -> str:
        return f"TrainingResult({self.plan.recipe!r}, test accuracy {self.test.accuracy:.3f}, {self.seconds:.0f} s)"

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `metrics.json`."""
        test = self.test.to_dict()
        baseline = {key: test.pop(key) for key in ("majority_class", "majority_accuracy")}
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
        self.model.save(folder / "model.keras")
        self.history.to_csv(folder / "history.csv", index=False)
        write_json(folder / "plan.json", self.plan.to_dict())
        write_json(folder / "class_names.json", {"version": 1, "class_names": list(self.plan.class_names)})
        write_json(folder / "metrics.json", self.to_dict())


class _KeepBest(keras.callbacks.Callback):
    """Remembers the best weights over all phases; ends a phase that has stopped improving; records the history."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.best: tuple[float, float] | None = None
        self.weights: list[np.ndarray] = []
        self.place = ("", 0)
        self._started = time.perf_counter()

    def start(self, phase: Phase, whole: keras.Model) -> None:
        self._phase, self._whole, self._step, self._waited = phase, whole, 0, 0
        self._phase_best: tuple[float, float] | None = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._step += 1
        if self._step == self._phase.steps:  # the last epoch may be shorter
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.record(dict(logs or {}))
        if self._waited >= PATIENCE:
            self.model.stop_training = True

    def record(self, logs: Mapping[str, float]) -> None:
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        values = {name: float(logs[name]) if name in logs else None for name in names}
        seconds = time.perf_counter() - self._started
        self.rows.append({"phase": self._phase.name, "step": self._step, **values, "seconds": round(seconds, 3)})
        validated = "val_loss" in logs
        score = (float(logs["val_accuracy"]), -float(logs["val_loss"])) if validated else (0.0, 0.0)
        if not math.isfinite(float(logs["loss"]) + score[1]):
            return
        # Without validation images nothing can be compared: training accuracy would always favour the first perfect
        # fit. The plan's last word counts then, but for optional phases, which only validation can justify.
        better = validated or not self._phase.optional
        if validated:
            better_here = self._phase_best is None or score > self._phase_best
            self._phase_best = score if better_here else self._phase_best
            self._waited = 0 if better_here else self._waited + 1
            better = self.best is None or score > self.best
        if better:
            self.best, self.weights = score, self._whole.get_weights()
            self.place = (self._phase.name, self._step)


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


class StageRates(keras.optimizers.AdamW):
    """AdamW whose learning rate is multiplied for some weights, by their path: lower rates for lower stages."""

    def __init__(self, *, multipliers: Mapping[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.multipliers = dict(multipliers or {})

    def build(self, variables: list[Any]) -> None:
        """Looks up the multiplier of each weight; Keras calls it once."""
        super().build(variables)
        self._rates = [self.multipliers.get(variable.path, 1.0) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one weight at its own rate; Keras calls it, with TensorFlow by the weight's bare variable."""
        super().update_step(gradient, variable, learning_rate * self._rates[self._get_variable_index(variable)])


def train(
    plan: Plan,
    data: Any,
    run: str | Path | None = None,
    *,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_phase_end: PhaseHook | None = None,
) -> TrainingResult:
    """Carries a plan out: builds the model, trains it phase by phase, evaluates it on the test split.

    Each phase sets what is frozen, compiles anew with a fresh optimizer and trains; the best weights on the validation
    split over all phases are kept. Weights that the freeze map calls frozen are checked to be unchanged.

    Args:
        plan: From `strategies.make_plan`, `strategies.read_plan` or a recommendation.
        data: Anything `advisor.recommend` takes; without a split of its own it is split by the plan's seed.
        run: Folder to write model, plan, history and metrics to; `None` writes nothing.
        overwrite: Whether that folder may hold files already.
        callbacks: Keras callbacks for the phases that are trained by steps.
        on_phase_end: Called as `on_phase_end(phase, model, weights_at_start)` before best weights are restored;
            `weights_at_start` maps the path of every weight to a copy of its value.

    Returns:
        A `TrainingResult`.

    Raises:
        DatasetError: If the data's classes are not the plan's.
        OutputError: If the folder holds files and `overwrite` is false.
        PlanError: If the plan contradicts itself.
    """
    started = time.perf_counter()
    check_plan(plan)
    folder = None if run is None else check_output(run, overwrite=overwrite)
    dataset = load_dataset(data)
    check_classes(plan, dataset.class_names)
    if dataset.split is None or None in dataset.split:
        dataset = split_dataset(dataset, seed=plan.seed)
    parts = {name: dataset.subset(np.flatnonzero(np.array(dataset.split) == name)) for name in ("train", "val", "test")}
    for name in ("train", "test"):
        if not len(parts[name]):
            raise DatasetError(f"Expected images in the {name} split. Received none in {dataset.source!r}. Add some.")
    keras.utils.set_random_seed(plan.seed)
    model = build_model(plan)
    pixels = {name: Pixels(part.items, plan.image_size) for name, part in parts.items()}
    labels = {name: part.labels for name, part in parts.items()}
    keep = _KeepBest()
    trainable = {}
    for number, phase in enumerate(plan.phases):
        start_phase(model, plan, phase)
        trainable[phase.name] = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        before = snapshot(model)
        _run_phase(model, plan, number, pixels, labels, keep, callbacks)
        _check_frozen(model, phase, before)
        if on_phase_end:
            on_phase_end(phase, model, before)
        if keep.weights:
            model.set_weights(keep.weights)  # the next phase starts from the best so far
    if not keep.weights:
        raise PlanError(
            f"Training diverged: no evaluation gave a finite loss. Received: learning rates "
            f"{[dict(phase.learning_rate) for phase in plan.phases]}. Lower them in the plan."
        )
    # Not compiled, so that the saved model loads without anything of ours and carries no optimizer along.
    model = keras.Model(model.input, model.output, name=plan.recipe)
    (probabilities,) = forward(model, pixels["test"], description="Testing")
    result = TrainingResult(
        plan=plan,
        model=model,
        history=_history(keep.rows),
        test=evaluate_predictions(probabilities, labels["test"], labels["train"], plan.class_names),
        best_phase=keep.place[0],
        best_step=keep.place[1],
        num_trainable_by_phase=trainable,
        seconds=time.perf_counter() - started,
        versions={"python": platform.python_version(), "backend": keras.backend.backend()}
        | {name: version(name) for name in ("keras", "numpy", keras.backend.backend())},
    )
    if folder is not None:
        result.save(folder)
    return result


def _history(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows)


def _run_phase(
    model: keras.Model,
    plan: Plan,
    number: int,
    pixels: Mapping[str, Pixels],
    labels: Mapping[str, np.ndarray],
    keep: _KeepBest,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    phase = plan.phases[number]
    head, tail = _cut_at_frozen(model, plan, phase)
    inputs: Mapping[str, Any] = pixels
    if head is not None:
        used = ("train", "val") if len(labels["val"]) else ("train",)
        inputs = {name: forward(head, pixels[name], description=f"Features ({name})")[0] for name in used}
    weights = None
    if plan.class_weights is not None:
        weights = np.array([plan.class_weights[name] for name in plan.class_names], dtype="float32")
    if phase.solver == "logistic":
        kernel, bias = fit_classifier(
            inputs["train"], labels["train"], len(plan.class_names), seed=plan.seed, class_weights=weights
        )
        model.get_layer("classifier").set_weights([kernel, bias])
        keep.start(phase, model)
        keep.record(_metrics_of_head(inputs, labels, kernel, bias))
        return
    per_epoch = max(1, math.ceil(max(phase.steps / EVALUATIONS, len(labels["train"]) / plan.batch_size)))
    per_epoch = min(per_epoch, phase.steps)
    epochs = math.ceil(phase.steps / per_epoch)
    keep.start(phase, model)
    optimizer = _optimizer(model, plan, phase)
    tail.compile(
        optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=use_xla()
    )
    batches = Batches(
        inputs["train"],
        labels["train"],
        batch_size=plan.batch_size,
        num_steps=per_epoch,
        seed=(plan.seed, number),
        augmentation=plan.augmentation if phase.augmented and plan.augmentation else None,
        class_weights=weights,
    )
    validation = _Whole(inputs["val"], labels["val"]) if len(labels["val"]) else None
    lines = _Lines(f"Phase {number + 1} of {len(plan.phases)}, {phase.name}", phase.steps)
    tail.fit(
        batches,
        epochs=epochs,
        validation_data=validation,
        verbose=0,
        shuffle=False,
        callbacks=[keep, lines, *callbacks],
    )


class _Whole(keras.utils.PyDataset):
    """All images of a split once, in order."""

    def __init__(self, inputs: Any, labels: np.ndarray, batch_size: int = 64) -> None:
        super().__init__()
        self._inputs, self._labels, self._batch_size = inputs, labels, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        return self._inputs[part].astype("float32"), self._labels[part]


def _cut_at_frozen(model: keras.Model, plan: Plan, phase: Phase) -> tuple[keras.Model | None, keras.Model]:
    """Cuts the model where the frozen part ends, if all of the backbone is frozen and images are not augmented.

    The first part is then the same for every step: it runs once, and the second is trained on its output.
    """
    backbone = {*plan.kept_stages, *plan.rebuilt_stages}
    if phase.augmented or backbone & set(phase.trains):
        return None, model
    end = layers_by_stage(model, plan)[plan.last_stage][-1]
    if len(plan.new_layers) == 1 and POOL in {layer.name for layer in model.layers}:
        end = POOL  # with only the classifier on top, its pooled input is all that is needed
    middle = model.get_layer(end).output
    return keras.Model(model.input, middle), keras.Model(middle, model.output)


def _optimizer(model: keras.Model, plan: Plan, phase: Phase) -> keras.optimizers.Optimizer:
    peak = max(phase.learning_rate.values())
    warmup = min(phase.steps - 1, round(phase.warmup * phase.steps))
    schedule: Any = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else peak, phase.steps - warmup, warmup_target=peak if warmup else None, warmup_steps=warmup
    )
    multipliers = {
        weight.path: phase.learning_rate[stage] / peak
        for stage, names in layers_by_stage(model, plan).items()
        if stage in phase.trains
        for name in names
        for weight in model.get_layer(name).trainable_weights
    }
    optimizer = StageRates(learning_rate=schedule, weight_decay=phase.weight_decay, multipliers=multipliers)
    optimizer.build(model.trainable_weights)  # here, or TensorFlow traces the first step twice
    return optimizer


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
            metrics[f"{prefix}accuracy"] = float((logits.argmax(axis=1) == labels[name]).mean())
    return metrics


def _check_frozen(model: keras.Model, phase: Phase, before: Mapping[str, np.ndarray]) -> None:
    moving = moving_paths(model)
    for path, value in snapshot(model).items():
        if path not in moving and not np.array_equal(value, before[path]):
            raise RuntimeError(
                f"A frozen weight has moved: {path} in phase {phase.name!r}. This is a defect of this software "
                f"or of Keras {keras.__version__}, not of the data; the result cannot be trusted."
            )
