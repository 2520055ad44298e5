"""Estimates the time and memory that a plan needs on this machine, from a short run of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dataset import SPLITS, ImageDataset, few_unreadable
from strategies.data.decoding import decode_readable
from strategies.data.pixels import MAX_BYTES, Pixels
from strategies.display.progress import silenced
from strategies.errors import DatasetError
from strategies.features.forward import forward
from strategies.networks.backend import keras
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import Plan
from strategies.plans.planning import with_budget
from strategies.training.phases import steps_per_evaluation
from strategies.training.trainer import train

TIMED_IMAGES = 64  # in addition to one image of each class
TIMED_STEPS = 6  # in each phase


@dataclass(frozen=True, kw_only=True)
class PlanCost:
    """The cost of carrying out a plan on this machine, estimated from a few steps of it. Times are in seconds.

    Attributes:
        plan: The plan.
        images: Number of images in each split.
        start: Time that does not depend on the number of steps or images, such as building and tracing the model.
        per_step: Time of one step, for each phase that is trained by steps, in order.
        per_image: Time to decode one image and run it through the network once.
        memory: Expected peak memory of the process in bytes, including decoded images. `None` where the system does not
            report it. The memory of a GPU is not included.
    """

    plan: Plan
    images: Mapping[str, int]
    start: float
    per_step: tuple[float, ...]
    per_image: float
    memory: int | None = None

    @property
    def seconds_per_epoch(self) -> float | None:
        """Time of an epoch in the last phase that is trained by steps, with one evaluation on the validation images.

        An epoch is about one pass over the training images. `None` where the head is solved exactly.
        """
        trained = [phase for phase in self.plan.phases if phase.solver != "logistic"]
        if not trained:
            return None
        interval = steps_per_evaluation(trained[-1].steps, self.images["train"], self.plan.batch_size)
        return interval * self.per_step[-1] + self.images["val"] * self.per_image

    @property
    def whole(self) -> RecipeCost:
        """The cost of the whole plan."""
        return RecipeCost(seconds=self.seconds(), seconds_per_epoch=self.seconds_per_epoch, memory=self.memory)

    def seconds(self, factor: float = 1.0) -> float:
        """Returns the time that the plan takes if no phase ends early.

        Args:
            factor: Factor on the number of steps, as in `strategies.with_budget`.
        """
        plan = with_budget(self.plan, factor)
        trained = [phase for phase in plan.phases if phase.solver != "logistic"]
        total = self.start + self.per_image * sum(self.images.values())
        for phase, per_step in zip(trained, self.per_step, strict=True):
            interval = steps_per_evaluation(phase.steps, self.images["train"], plan.batch_size)
            evaluations = math.ceil(phase.steps / interval)
            total += phase.steps * per_step * (1 + plan.refit) + evaluations * self.images["val"] * self.per_image
        return total


def measure_cost(plan: Plan, dataset: ImageDataset) -> PlanCost:
    """Runs a few steps of each phase of a plan on a few images, and estimates the cost of the whole plan.

    The time of a head that is solved exactly is measured on those few images only. With many images it takes longer.

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
    sample = _sample(dataset, plan.image_size)
    phases = [replace(phase, steps=TIMED_STEPS) if phase.solver != "logistic" else phase for phase in plan.phases]
    timed = replace(plan, phases=tuple(phases), refit=False)
    stopwatch = _Stopwatch()
    _forget_peak()
    with silenced():  # accuracies on a few training images would be misleading
        result = train(timed, sample, callbacks=[stopwatch], cache=False, baseline=False)
    per_step = tuple(float(np.mean(laps)) for laps in stopwatch.laps)
    split = np.array(dataset.split)
    images = {name: int((split == name).sum()) for name in SPLITS}
    peak = _peak()
    decoded = sum(min(MAX_BYTES, count * 3 * plan.image_size**2) for count in images.values())
    return PlanCost(
        plan=plan,
        images=images,
        memory=None if peak is None else peak + decoded,
        start=max(0.0, result.seconds - TIMED_STEPS * sum(per_step)),
        per_step=per_step,
        per_image=_per_image(result.model, sample, plan.image_size),
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


def _sample(dataset: ImageDataset, image_size: int) -> ImageDataset:
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
        found = decode_readable([dataset.items[index] for index in chosen.tolist()], image_size)[1]
        unreadable = {int(chosen[place]): reason for place, reason in found.items()}
    split = [name for name in SPLITS for _ in chosen]
    return replace(dataset.subset(np.tile(chosen, len(SPLITS))), split=tuple(split), group=None)


def _per_image(model: keras.Model, sample: ImageDataset, image_size: int) -> float:
    with silenced():
        forward(model, Pixels(sample.items[:1], image_size))  # traces the model, which is not timed
        started = time.perf_counter()
        forward(model, Pixels(sample.items[:TIMED_IMAGES], image_size))
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
