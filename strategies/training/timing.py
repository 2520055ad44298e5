"""Estimates the time and memory that a plan needs on this machine, from a short run of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dataset import SPLITS, ImageDataset, few_unreadable
from strategies.data.decoding import decode_readable
from strategies.data.pixels import Pixels
from strategies.display.progress import silenced
from strategies.errors import DatasetError
from strategies.features.forward import forward
from strategies.networks.backend import keras
from strategies.networks.network import PretrainedNetwork
from strategies.plans.cost import PlanCost as PlanCost
from strategies.plans.cost import decoded_bytes
from strategies.plans.plan import Plan
from strategies.training.trainer import train

TIMED_IMAGES = 64  # in addition to one image of each class
TIMED_STEPS = 6  # in each phase


def measure_cost(plan: Plan, dataset: ImageDataset) -> PlanCost:
    """Runs a few steps of each phase of a plan on a few images, and estimates the cost of the whole plan.

    If the plan has a refit, that is run too, since it traces the model once more. The time of a head that is solved
    exactly is measured on those few images only. With many images it takes longer.

    Args:
        plan: Any plan.
        dataset: The images of the plan, with their split. Unreadable files may be among them.

    Raises:
        DatasetError: If no training image can be decoded.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> from strategies.training.timing import measure_cost
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype="uint8")
        >>> data = strategies.split_dataset(strategies.load_dataset((images, ["cat", "dog"] * 20)), seed=0)
        >>> plan = strategies.make_plan(
        ...     "fine_tune_all", "MobileNet-0.25", class_names=data.class_names, num_train=28, image_size=32,
        ...     weights="random")
        >>> cost = measure_cost(plan, data)
        >>> cost.seconds(0.5) < cost.seconds()
        True
    """
    sample = _sample(dataset, plan.network)
    phases = [replace(phase, steps=TIMED_STEPS) if phase.has_steps else phase for phase in plan.phases]
    timed = replace(plan, phases=tuple(phases))
    stopwatch = _Stopwatch()
    _forget_peak()
    with silenced():  # accuracies on a few training images would be misleading
        result = train(timed, sample, callbacks=[stopwatch], cache=False, baseline=False)
    laps = [float(np.mean(phase)) for phase in stopwatch.laps]  # of the phases, then of those of a refit
    split = np.array(dataset.split)
    images = {name: int((split == name).sum()) for name in SPLITS}
    peak = _peak()
    return PlanCost(
        plan=plan,
        images=images,
        memory=None if peak is None else peak + decoded_bytes(images, plan.image_size, plan.network.num_channels),
        start=max(0.0, result.seconds - TIMED_STEPS * sum(laps)),
        per_step=tuple(laps[: sum(phase.has_steps for phase in phases)]),
        per_image=_per_image(result.model, sample, plan.network),
    )


def _forget_peak() -> None:
    """Resets the recorded peak memory of this process, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: see proc(5)


def _peak() -> int | None:
    """Returns the peak memory of this process in bytes; `None` where the system does not report it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def _sample(dataset: ImageDataset, network: PretrainedNetwork) -> ImageDataset:
    """Returns a few readable training images, at least one per class. Every split gets the same ones."""
    train, unreadable = np.flatnonzero(np.array(dataset.split) == "train"), {-1: ""}
    while unreadable:
        train = np.setdiff1d(train, list(unreadable))
        if not len(train):
            reasons = {dataset.names[index]: reason for index, reason in unreadable.items()}
            raise DatasetError(
                f"Expected training images that can be decoded. Received: {dataset.source!r}, where none can: "
                f"{few_unreadable(reasons)}. Fix or remove them."
            )
        one_per_class = np.unique(dataset.labels[train], return_index=True)[1]
        spread = np.linspace(0, len(train) - 1, TIMED_IMAGES).astype(int)  # repeats some if there are fewer images
        chosen = train[np.concatenate([one_per_class, spread])]
        items = [dataset.items[index] for index in chosen.tolist()]
        found = decode_readable(items, network.image_size, network.num_channels)[1]
        unreadable = {int(chosen[place]): reason for place, reason in found.items()}
    split = [name for name in SPLITS for _ in chosen]
    return replace(dataset.subset(np.tile(chosen, len(SPLITS))), split=tuple(split), group=None)


def _per_image(model: keras.Model, sample: ImageDataset, network: PretrainedNetwork) -> float:
    def pixels(number: int) -> Pixels:
        return Pixels(sample.items[:number], network.image_size, num_channels=network.num_channels)

    with silenced():
        forward(model, pixels(1))  # traces the model, which is not timed
        started = time.perf_counter()
        forward(model, pixels(TIMED_IMAGES))
        return (time.perf_counter() - started) / TIMED_IMAGES


class _Stopwatch(keras.callbacks.Callback):
    """Measures the seconds between the ends of consecutive steps within an epoch, for each phase."""

    def __init__(self) -> None:
        super().__init__()
        self.laps: list[list[float]] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self.laps.append([])

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._last: float | None = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        float((logs or {}).get("loss", 0))  # waits for the result of a GPU
        now = time.perf_counter()
        if self._last is not None:
            self.laps[-1].append(now - self._last)
        self._last = now
