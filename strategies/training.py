"""Carries a plan out in Keras, phase by phase, and keeps the best weights over all phases."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from strategies.baseline import HeadBaseline, measure_baseline
from strategies.cache import default_cache
from strategies.checkpoint import FILE as CHECKPOINT
from strategies.checkpoint import Checkpoint, assign, locked, variables
from strategies.errors import DatasetError, PlanError
from strategies.evaluation import Evaluation, evaluate_predictions
from strategies.features import forward
from strategies.files import check_run, replacing, write_json
from strategies.images import ImageDataset, load_dataset
from strategies.model import (
    build_model,
    cut_at_frozen,
    pass_frozen,
    resolve_precision,
    snapshot,
    start_phase,
)
from strategies.phases import Place, Run, check_frozen, keep_state, run_phase
from strategies.pixels import Pixels
from strategies.plan import Phase, Plan, check_classes, check_plan
from strategies.reliability import fit_temperature
from strategies.selection import Selection
from strategies.splits import split_dataset

if TYPE_CHECKING:
    import pandas as pd

METRICS_VERSION = 2
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
    this = Run(
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
        epochs = run_phase(this, model, number, epochs, before, trainable, resumed)
        check_frozen(model, phase, before)
        if on_phase_end:
            on_phase_end(phase, model, before)
        if selection.weights:
            model.set_weights(selection.weights)  # the next phase starts from what was kept
        done = Place(
            phase=number + 1,
            epoch=epochs,
            epochs_before=epochs,
            stopped=False,
            accumulate=1,
            before={},
            trainable=trainable,
        )
        keep_state(this, model, done, [])
    if not selection.weights:
        raise PlanError(
            f"Training diverged: no evaluation gave a finite loss. Received: learning rates "
            f"{[dict(phase.learning_rate) for phase in plan.phases]}. Lower them in the plan."
        )
    model = _finished(model, plan, precision)
    probabilities = _probabilities(model, this, "test", "Testing")
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


def _finished(model: keras.Model, plan: Plan, precision: str) -> keras.Model:
    """Returns the trained model in float32 and not compiled: it loads without anything of ours and runs anywhere."""
    if precision != "float32":
        trained = model.get_weights()
        model = build_model(plan)
        model.set_weights(trained)
    return keras.Model(model.input, model.output, name=plan.recipe)


def _probabilities(model: keras.Model, this: Run, part: str, description: str) -> np.ndarray:
    """Returns what the trained model says of a split; what is frozen from first to last is read or run as features are.

    Args:
        model: The trained one.
        this: The run.
        part: Name of the split.
        description: What a progress bar says.
    """
    plan, last = this.plan, this.plan.phases[-1]
    head, tail = cut_at_frozen(model, plan, last) if len(plan.phases) == 1 else (None, model)
    if head is None:
        return forward(model, this.pixels[part], description=description)[0]
    features = pass_frozen(
        head, plan, last, this.pixels[part], cache=this.cache, precision="float32", description=description
    )
    return forward(tail, features, description=description)[0]


def _temperature(model: keras.Model, this: Run) -> float | None:
    """Returns the temperature of the validation images, which training has not fitted; `None` without any."""
    if not len(this.labels["val"]):
        return None
    return fit_temperature(_probabilities(model, this, "val", "Calibrating"), this.labels["val"])


def _history(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows)
