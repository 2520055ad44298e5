"""How long a plan will take on this machine and how much memory, from a short run of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from strategies.data.dataset import SPLITS, ImageDataset
from strategies.data.pixels import MAX_BYTES, Pixels
from strategies.display.progress import silenced
from strategies.features.forward import forward
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import Plan
from strategies.plans.planning import with_budget
from strategies.training.phases import steps_per_evaluation
from strategies.training.trainer import train

TIMED_IMAGES = 64  # beside one of each class
TIMED_STEPS = 6  # of each phase


@dataclass(frozen=True, kw_only=True)
class PlanCost:
    """What carrying a plan out costs on this machine, as measured from a few steps of it.

    Attributes:
        plan: The plan.
        images: Number of images in each split.
        start: Building, tracing and whatever else does not depend on steps or images.
        per_step: One step of each phase that is trained by steps, in their order.
        per_image: One image decoded, and once through the network.
        memory: The most that this process is expected to hold, in bytes, decoded images included; `None` where the
            system does not tell. A GPU's own memory is not counted.
    """

    plan: Plan
    images: Mapping[str, int]
    start: float
    per_step: tuple[float, ...]
    per_image: float
    memory: int | None = None

    @property
    def seconds_per_epoch(self) -> float | None:
        """How long an epoch of the last phase takes, from one look at the validation images to the next.

        That is a pass over the training images or a little more; `None` where the head is solved exactly.
        """
        trained = [phase for phase in self.plan.phases if phase.solver != "logistic"]
        if not trained:
            return None
        interval = steps_per_evaluation(trained[-1].steps, self.images["train"], self.plan.batch_size)
        return interval * self.per_step[-1] + self.images["val"] * self.per_image

    @property
    def whole(self) -> RecipeCost:
        """The cost of the plan with all of its steps."""
        return RecipeCost(seconds=self.seconds(), seconds_per_epoch=self.seconds_per_epoch, memory=self.memory)

    def seconds(self, factor: float = 1.0) -> float:
        """Returns how long the plan takes with its steps multiplied by `factor`, if no phase ends early.

        Args:
            factor: As for `strategies.with_budget`.
        """
        plan = with_budget(self.plan, factor)
        trained = [phase for phase in plan.phases if phase.solver != "logistic"]
        total = self.start + self.per_image * sum(self.images.values())
        for phase, per_step in zip(trained, self.per_step, strict=True):
            interval = steps_per_evaluation(phase.steps, self.images["train"], plan.batch_size)
            evaluations = math.ceil(phase.steps / interval)
            total += phase.steps * per_step + evaluations * self.images["val"] * self.per_image
        return total


def measure_cost(plan: Plan, dataset: ImageDataset) -> PlanCost:
    """Carries out a few steps of each phase of a plan on a few images, and tells how long all of it will take.

    What a head that is solved exactly takes is measured on those few images alone; it takes longer on many.

    Args:
        plan: Any plan.
        dataset: The images that it is for, with their split.

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
    sample = _sample(dataset)
    timed = [replace(phase, steps=TIMED_STEPS) if phase.solver != "logistic" else phase for phase in plan.phases]
    stopwatch = _Stopwatch()
    _forget_peak()
    with silenced():  # accuracies on a few images that were trained on would mislead
        result = train(replace(plan, phases=tuple(timed)), sample, callbacks=[stopwatch], cache=False, baseline=False)
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
    """Lets the peak of memory be counted from here on, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: see proc(5)


def _peak() -> int | None:
    """Returns the most memory that this process held, in bytes; `None` where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def _sample(dataset: ImageDataset) -> ImageDataset:
    """Returns a few training images of every class, the same ones in each split."""
    train = np.flatnonzero(np.array(dataset.split) == "train")
    one_per_class = np.unique(dataset.labels[train], return_index=True)[1]
    spread = np.linspace(0, len(train) - 1, TIMED_IMAGES).astype(int)  # repeats where there are fewer
    chosen = train[np.concatenate([one_per_class, spread])]
    split = [name for name in SPLITS for _ in chosen]
    return replace(dataset.subset(np.tile(chosen, len(SPLITS))), split=tuple(split), group=None)


def _per_image(model: keras.Model, sample: ImageDataset, image_size: int) -> float:
    forward(model, Pixels(sample.items[:1], image_size))  # traces
    started = time.perf_counter()
    forward(model, Pixels(sample.items[:TIMED_IMAGES], image_size))
    return (time.perf_counter() - started) / TIMED_IMAGES


class _Stopwatch(keras.callbacks.Callback):
    """Seconds from the end of one step to that of the next, phase by phase, within epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.laps: list[list[float]] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self.laps.append([])

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._last: float | None = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        float((logs or {}).get("loss", 0))  # a GPU may still be at it: waits for the result
        now = time.perf_counter()
        if self._last is not None:
            self.laps[-1].append(now - self._last)
        self._last = now
