"""Carries out a plan in Keras, phase by phase, and undoes a phase that did harm."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dataset import SPLITS, ImageDataset
from strategies.data.decoding import note_range
from strategies.data.digests import weights_digest
from strategies.data.loading import load_dataset
from strategies.data.pixels import Pixels
from strategies.data.resizing import as_planned
from strategies.data.splits import split_dataset
from strategies.display.progress import note, silenced
from strategies.errors import DatasetError, PlanError
from strategies.features.cache import default_cache
from strategies.features.forward import forward
from strategies.files import make_folder
from strategies.networks.backend import check_trains, keras, usual_settings
from strategies.plans.phase import Phase
from strategies.plans.plan import Plan, check_class_names, check_plan
from strategies.training.baseline import measure_baseline
from strategies.training.calibration import fit_temperature
from strategies.training.checkpoint import Checkpoint, State, assign, locked, variables
from strategies.training.distribution import ONE_DEVICE, Devices, find_devices
from strategies.training.metrics import evaluate_predictions
from strategies.training.model import StagedModel, resolve_precision
from strategies.training.novelty import FEWEST_IMAGES, find_threshold, fit_novelty
from strategies.training.phases import Decided, Progress, TrainingRun, run_phase, save_state
from strategies.training.recorder import Recorder
from strategies.training.result import TrainingResult
from strategies.training.run_files import REFIT, begin, can_continue, check_run, finish
from strategies.training.run_images import write_images

PhaseHook = Callable[[Phase, keras.Model, Mapping[str, np.ndarray]], None]


def train(
    plan: Plan,
    data: Any,
    run: str | Path | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    optimizer: keras.optimizers.Optimizer | None = None,
    data_parallel: bool = False,
    cache: bool = True,
    baseline: bool = True,
    on_phase_end: PhaseHook | None = None,
    on_end: Callable[[TrainingResult], None] | None = None,
) -> TrainingResult:
    """Carries out a plan: builds the model, trains it phase by phase, and evaluates it on the test images.

    Each phase freezes stages, compiles the model with a new optimizer, and trains it. A phase is undone if the
    validation images show that it did harm; see `strategies.training.recorder.Recorder`. After each phase, all frozen
    weights are checked to be unchanged. If the plan has a refit, the phases that were kept are then carried out once
    more, from the start and on training and validation images together; the history calls them `refit_...`. The random
    generators of Python, NumPy and Keras are seeded with the seed of the plan.

    Args:
        plan: From `strategies.make_plan`, `strategies.read_plan` or a recommendation.
        data: Anything that `strategies.load_dataset` takes. Images without a split are split with the plan's seed.
        run: Folder to which model, plan, history and metrics are written. `None` writes nothing.
        overwrite: Whether the run folder may hold files already.
        resume: Whether to continue an interrupted run in the same folder, after its last completed epoch. If there is
            none, training starts from the beginning. The result is the same as without the interruption. The state of
            your own callbacks is not restored.
        callbacks: Keras callbacks for the phases that are trained by steps, such as `TensorBoard`. Epochs are counted
            over all phases. Where only new layers are trained, callbacks see a model of these layers alone.
        optimizer: Your own optimizer, used in every phase that is trained by steps. Each phase gets a new copy of it:
            with its own learning rate for the stages with the highest rate in the plan, and with proportionally lower
            rates for the others. Default: the optimizer of the plan.
        data_parallel: Whether all devices train together, each on an equal part of every batch: those of this process,
            or of all processes that the environment variables of `keras.distribution.initialize` name. It needs the
            JAX backend. The result is that of one device, except for rounding. Only the first process writes to the
            run folder and calls `on_end`. Callbacks and `on_phase_end` are called in every process, and have to do the
            same in each.
        cache: Whether features of the frozen part are kept on disk and read from there.
        baseline: Whether to fit a new head alone too, to measure the gain of the recipe over it.
        on_phase_end: Called as `on_phase_end(phase, model, weights_at_start)` at the end of each phase, before it
            is undone if it did harm. `weights_at_start` maps the path of every weight to a copy of its value.
        on_end: Called with the result when it is in the run folder, before the run counts as finished. A run that is
            interrupted during this call can be resumed too.

    Returns:
        A `TrainingResult`.

    Raises:
        DatasetError: If the training or test split has no image.
        OutputError: If the folder holds files and `overwrite` is false, if another process is writing to it, if the
            interrupted run had other images or another plan, or if the disk is full.
        PlanError: If the plan contradicts itself, if its classes are not those of the data, or if training diverged.
        UserError: If `data_parallel` is true and the backend is not JAX, if the processes cannot be joined or have
            different plans, if one of them ends, or if the devices cannot share a batch equally.
    """
    check_plan(plan)
    devices = find_devices() if data_parallel else ONE_DEVICE  # before Keras computes anything
    if plan.trained_by_steps:
        check_trains()
        devices.check_batches(plan.batch_size)
    with usual_settings(), silenced(not devices.is_first), devices.together(), ExitStack() as stack:
        if data_parallel:
            note(str(devices))
        folder = Path(run) if run is not None and devices.is_first else None
        devices.write(lambda: _claim(folder, stack, overwrite=overwrite, resume=resume))
        started = time.perf_counter()
        parts = _split(plan, data)
        training = _prepare(plan, parts, folder, callbacks, optimizer, cache, devices)
        fresh = folder is None or not (resume and can_continue(folder))
        state = devices.state(lambda: None if fresh else training.checkpoint.read())
        devices.write(lambda: None if folder is None else _begin(folder, training, parts, fresh=fresh))
        untrained = training.staged.snapshot() if plan.refit else {}
        course, known = Course(), None
        if state is None or state.values["decided"] is None:
            course = _run_phases(training, course, state, on_phase_end)
            decided, known = _decide(training)
            state = None
        else:  # interrupted during the refit
            decided = Decided(**state.values["decided"])
        if plan.refit and len(parts["val"]):
            training, known = _on_all_images(training, parts, decided, untrained), None
            course = _run_phases(training, course, state, on_phase_end)
        result = _judge(training, plan, decided, known, parts["test"].names, course.trainable, started, baseline)
        devices.write(lambda: _save(result, folder, on_end))
    return result


def _claim(folder: Path | None, stack: ExitStack, *, overwrite: bool, resume: bool) -> None:
    """Checks a run folder, creates it, and locks it until the stack is left."""
    if folder is not None:
        make_folder(check_run(folder, overwrite=overwrite, resume=resume))
        stack.enter_context(locked(folder))


def _begin(folder: Path, training: TrainingRun, parts: Mapping[str, ImageDataset], *, fresh: bool) -> None:
    begin(folder, training.plan, fresh=fresh)
    write_images(folder, parts, training.pixels)


def _save(result: TrainingResult, folder: Path | None, on_end: Callable[[TrainingResult], None] | None) -> None:
    if folder is not None:
        result.save(folder)
    if on_end is not None:
        on_end(result)
    if folder is not None:
        finish(folder)


def _split(plan: Plan, data: Any) -> dict[str, ImageDataset]:
    """Returns the images of each split. A dataset without a split is split with the plan's seed."""
    dataset = load_dataset(data, channels=plan.channels)
    check_class_names(plan.class_names, dataset.class_names)
    if not plan.advice:  # advice has found the range already
        note_range(dataset.items, plan.image_bits)
    items = as_planned(dataset.items, plan.image_bits, plan.resize, plan.channels, plan.mixing)
    dataset = replace(dataset, items=items)
    if dataset.split is None or None in dataset.split:
        dataset = split_dataset(dataset, seed=plan.seed)
    split = np.array(dataset.split)
    parts = {name: dataset.subset(np.flatnonzero(split == name)) for name in SPLITS}
    for name in ("train", "test"):
        if not len(parts[name]):
            raise DatasetError(f"Expected images in the {name} split. Received: none in {dataset.source!r}. Add some.")
    return parts


def _prepare(
    plan: Plan,
    parts: Mapping[str, ImageDataset],
    folder: Path | None,
    callbacks: Sequence[keras.callbacks.Callback],
    optimizer: keras.optimizers.Optimizer | None,
    cache: bool,
    devices: Devices,
) -> TrainingRun:
    """Seeds the random generators, builds the model, and collects what all phases share."""
    keras.utils.set_random_seed(plan.seed)
    pixels = {name: _pixels(plan, part.items) for name, part in parts.items()}
    staged = StagedModel.build(plan, precision=resolve_precision(plan.precision))
    devices.check_same(
        lambda: plan.digest() + weights_digest([*(part.labels for part in parts.values()), *staged.snapshot().values()])
    )
    return TrainingRun(
        staged=staged,
        pixels=pixels,
        labels={name: part.labels for name, part in parts.items()},
        recorder=Recorder(plan.metric, parts["val"].labels),
        callbacks=callbacks,
        optimizer=optimizer,
        cache=default_cache() if cache else None,
        checkpoint=Checkpoint(folder, _identity(plan, pixels, parts) if folder is not None else {}),
        devices=devices,
    )


def _pixels(plan: Plan, items: Sequence[Any]) -> Pixels:
    return Pixels(items, plan.image_size, num_channels=plan.network.num_channels)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How far a training has come, between two phases.

    Attributes:
        phases: Number of phases of the plan that are done.
        epochs: Number of epochs in all phases so far.
        trainable: Number of trainable weights of each phase so far, by its name.
    """

    phases: int = 0
    epochs: int = 0
    trainable: Mapping[str, int] = field(default_factory=dict)


def _run_phases(run: TrainingRun, course: Course, state: State | None, on_phase_end: PhaseHook | None) -> Course:
    """Trains all phases of a plan, or the rest of them, and leaves the weights that are kept in the model.

    Args:
        run: What all phases share.
        course: What was done before the first phase of this plan.
        state: The state from which to continue, or `None`.
        on_phase_end: As in `train`.
    """
    model, recorder, done = run.model, run.recorder, replace(course, phases=0)
    if state is not None:
        assign(variables(model), state.arrays["variables"])
        recorder.restore(state.values["recorder"])
        done = Course(
            phases=state.values["phase"],
            epochs=state.values["epochs_before"],
            trainable=state.values["trainable"],
        )
    for number, phase in enumerate(run.plan.phases[done.phases :], start=done.phases):
        run.staged.start_phase(phase)
        before = run.staged.snapshot()
        resumed = state if state is not None and state.is_within(number) else None
        if resumed is not None:
            before = dict(zip(before, resumed.arrays["before"], strict=True))
        count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        trainable = {**done.trainable, phase.name: count}
        start = Progress(phase=number, epoch=done.epochs, epochs_before=done.epochs, before=before, trainable=trainable)
        epochs = run_phase(run, start, resumed)
        run.staged.check_frozen(phase, before)
        if on_phase_end:
            on_phase_end(phase, model, before)
        if not recorder.keeps(phase):
            _undo(run, phase, before)
        done = Course(phases=number + 1, epochs=epochs, trainable=trainable)
        end = Progress(phase=done.phases, epoch=epochs, epochs_before=epochs, before={}, trainable=trainable)
        save_state(run, end, [])
    return done


def _decide(run: TrainingRun) -> tuple[Decided, list[np.ndarray] | None]:
    """Returns what the validation images have decided, and features of the training images, if computed."""
    kept = tuple(run.recorder.kept_phases)
    temperature, threshold, known = None, None, None
    if len(labels := run.labels["val"]):  # images that the weights were not fitted to
        finished = StagedModel(plan=run.plan, model=run.staged.finished())
        temperature = fit_temperature(_probabilities(finished, run, "val", "Calibrating"), labels)
        if not _is_pretrained(run.plan, kept):
            if len(labels) < FEWEST_IMAGES:
                share = len(labels) / (len(labels) + 1)
                note(f"From {len(labels)} validation images, --unsure can promise to keep {share:.0%} of known images")
            known, other = (_features(finished, run, part, is_pretrained=False) for part in ("train", "val"))
            threshold = find_threshold(known, run.labels["train"], other, seed=run.plan.seed)
    return Decided(place=run.recorder.place, kept_phases=kept, temperature=temperature, threshold=threshold), known


def _is_pretrained(plan: Plan, kept_phases: Sequence[str]) -> bool:
    """Returns whether the backbone is as it was before it saw any of the images, which may also be those of a run."""
    return not plan.network.is_of_run and all(phase.on_features for phase in plan.phases if phase.name in kept_phases)


def _on_all_images(
    run: TrainingRun, parts: Mapping[str, ImageDataset], decided: Decided, untrained: Mapping[str, np.ndarray]
) -> TrainingRun:
    """Returns the refit: the phases that were kept, from the start, on training and validation images together."""
    plan = run.plan
    phases = tuple(
        replace(phase, name=f"{REFIT}{phase.name}") for phase in plan.phases if phase.name in decided.kept_phases
    )
    for weight in run.model.weights:
        weight.assign(untrained[weight.path])
    recorder = Recorder(plan.metric, np.zeros(0, dtype=int))
    recorder.rows = list(run.recorder.rows)
    items = [*parts["train"].items, *parts["val"].items]
    labels = np.concatenate([parts["train"].labels, parts["val"].labels])
    return replace(
        run,
        staged=StagedModel(plan=replace(plan, phases=phases), model=run.model, precision=run.staged.precision),
        pixels={**run.pixels, "train": _pixels(plan, items), "val": _pixels(plan, [])},
        labels={**run.labels, "train": labels, "val": labels[:0]},
        recorder=recorder,
        decided=decided,
    )


def _undo(run: TrainingRun, phase: Phase, before: Mapping[str, np.ndarray]) -> None:
    """Returns to the weights at the start of a phase.

    Raises:
        PlanError: If there is no earlier phase to return to.
    """
    if not run.recorder.place[0]:
        raise PlanError(
            f"Training diverged: phase {phase.name!r} ended with a loss that is not finite. Received: learning rates "
            f"{dict(phase.learning_rate)}. Lower them in the plan."
        )
    for weight in run.model.weights:
        weight.assign(before[weight.path])


def _judge(
    run: TrainingRun,
    plan: Plan,
    decided: Decided,
    known: list[np.ndarray] | None,
    test_names: Sequence[str],
    trainable: Mapping[str, int],
    started: float,
    baseline: bool,
) -> TrainingResult:
    """Evaluates the trained model on the test images, and compares it with a new head alone if `baseline` is true."""
    import pandas as pd

    labels, precision = run.labels, run.staged.precision
    finished = StagedModel(plan=run.plan, model=run.staged.finished())
    probabilities = _probabilities(finished, run, "test", "Testing")
    predicted = probabilities.argmax(axis=1)
    test = evaluate_predictions(
        probabilities,
        labels["test"],
        labels["train"],
        plan.class_names,
        temperature=decided.temperature,
        names=test_names,
        seed=plan.seed,
    )
    novelty, is_pretrained = None, _is_pretrained(plan, decided.kept_phases)
    if is_pretrained or decided.threshold is not None:
        novelty = fit_novelty(
            _features(finished, run, "train", is_pretrained=is_pretrained) if known is None else known,
            labels["train"],
            layers=finished.ends,
            seed=plan.seed,
            threshold=decided.threshold,
        )
    if novelty is None:
        note(
            f"Too few images for a threshold, so `predict --unsure` will refuse this run: it takes {FEWEST_IMAGES} "
            f"training images, and validation images if the backbone is trained"
        )
    seconds = time.perf_counter() - started
    head = None
    if baseline:
        head = measure_baseline(
            plan,
            run.pixels,
            labels,
            test=test,
            predicted=predicted,
            seconds=seconds,
            cache=run.cache,
            precision=precision,
        )
    backend = keras.backend.backend()
    versions = {"python": platform.python_version(), "backend": backend, "precision": precision}
    return TrainingResult(
        plan=plan,
        model=finished.model,
        history=pd.DataFrame(run.recorder.rows),
        test=test,
        predicted=predicted,
        best_phase=decided.place[0],
        best_step=decided.place[1],
        head=head,
        novelty=novelty,
        num_trainable_by_phase=trainable,
        seconds=seconds,
        versions=versions | {name: version(name) for name in ("keras", "numpy", backend)},
    )


def _identity(plan: Plan, pixels: Mapping[str, Pixels], parts: Mapping[str, ImageDataset]) -> dict[str, Any]:
    """Returns everything that a run depends on: its plan, its images and the software."""
    return {
        "plan": plan.digest(),
        "images": {
            name: [pixels[name].identity()["images"].hex(), part.labels.tolist()] for name, part in parts.items()
        },
        "versions": [keras.version(), keras.backend.backend()],
    }


def _probabilities(finished: StagedModel, run: TrainingRun, part: str, description: str) -> np.ndarray:
    """Returns the probabilities of the trained model for a split.

    Where the backbone was frozen in all of training, its features are cached.

    Args:
        finished: The trained model.
        run: What all phases share.
        part: Name of the split.
        description: Label of the progress bar.
    """
    plan = run.plan
    cut = finished.cut(plan.phases[-1]) if len(plan.phases) == 1 else None
    if cut is None:
        return run.devices.of_first(forward(finished.model, run.pixels[part], description=description)[0])
    features = cut.features(run.pixels[part], cache=run.cache, precision="float32", description=description)
    return run.devices.of_first(forward(cut.trained, features, description=description)[0])


def _features(finished: StagedModel, run: TrainingRun, part: str, *, is_pretrained: bool) -> list[np.ndarray]:
    """Returns the features of every stage for a split."""
    found = finished.stage_features(
        run.pixels[part], is_pretrained=is_pretrained, cache=run.cache, description=f"Features ({part})"
    )
    return [run.devices.of_first(values) for values in found]
