"""The expected cost of carrying out a plan, in time and memory, and its estimate from the sizes of the stages."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as once

import numpy as np

from strategies.data.channels import RGB
from strategies.data.pixels import MAX_BYTES
from strategies.features.cache import FeatureCache
from strategies.plans.phase import Phase, steps_per_evaluation
from strategies.plans.plan import Plan
from strategies.plans.planning import with_budget
from strategies.plans.sizes import StageSize, count_stages

# The constants of `estimate_cost`, fitted to measured costs of three networks with one and with two threads;
# benchmarks/cost.py says how well.
# Arithmetic, in multiply-adds of a matrix product of one thread on the same machine, which `this_machine` measures:
PER_MULTIPLY_ADD = 1.2  # of a convolution, which all threads share
PER_VALUE = 13.0  # that a layer writes and the next one reads, which takes as long with two threads as with one
PER_NORMALIZED_VALUE = 75.0  # in addition, where BatchNorm is trained, per value of all layers
# Python, TensorFlow and Pillow, in seconds:
PER_LAYER_STEP = 6e-5  # per layer and pass in a step
PER_LAYER_TRACE = 0.0235  # to build a layer, or to trace it for a phase
PER_NORMALIZED_LAYER_TRACE = 0.032  # in addition, where BatchNorm is trained
PER_DECODED_IMAGE = 0.0017  # of 128 x 128 pixels, by one core; for a photo of 12 megapixels, it is 0.01 more
PER_HEAD_VALUE = 8e-8  # of the exact head, per image, channel and class
# Memory in bytes.
BASE_BYTES = 866 * 2**20  # Python, TensorFlow and what this package imports
LAYER_BYTES = 0.75 * 2**20  # of a layer in a traced model
KEPT_VALUES = 0.55  # share of values that a step keeps for the gradient; twice as many where BatchNorm is trained
COPIES, TRAINED_COPIES = 3, 3  # of the weights: the model and two earlier states; the gradient and two moments of AdamW
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class RecipeCost:
    """The expected cost of a recipe on this machine.

    Attributes:
        seconds: Time of the whole training if no phase ends early.
        seconds_per_epoch: Time between two evaluations on the validation images in the last phase. `None` where the
            head is solved exactly.
        memory: Expected peak memory of the process, in bytes. `None` where the system does not report it.
        measured: Whether a few steps were run to find out. Otherwise the cost is computed from the sizes of the layers,
            which is less accurate.
    """

    seconds: float
    seconds_per_epoch: float | None
    memory: int | None
    measured: bool = True


@dataclass(frozen=True, kw_only=True)
class PlanCost:
    """The cost of carrying out a plan on this machine, by its parts. Times are in seconds.

    Attributes:
        plan: The plan.
        images: Number of images in each split.
        start: Time that does not depend on the number of steps or images, such as building and tracing the model.
        per_step: Time of one step, for each phase that is trained by steps, in order.
        per_image: Time to decode one image and run it through the network once.
        memory: Expected peak memory of the process in bytes, including decoded images. `None` where the system does not
            report it. The memory of a GPU is not included.
        measured: Whether a few steps were run to find out.
    """

    plan: Plan
    images: Mapping[str, int]
    start: float
    per_step: tuple[float, ...]
    per_image: float
    memory: int | None = None
    measured: bool = True

    @property
    def seconds_per_epoch(self) -> float | None:
        """Time of an epoch in the last phase that is trained by steps, with one evaluation on the validation images.

        An epoch is about one pass over the training images. `None` where the head is solved exactly.
        """
        trained = self.plan.trained_by_steps
        if not trained:
            return None
        interval = steps_per_evaluation(trained[-1].steps, self.images["train"], self.plan.batch_size)
        return interval * self.per_step[-1] + self.images["val"] * self.per_image

    @property
    def whole(self) -> RecipeCost:
        """The cost of the whole plan."""
        return RecipeCost(
            seconds=self.seconds(),
            seconds_per_epoch=self.seconds_per_epoch,
            memory=self.memory,
            measured=self.measured,
        )

    def seconds(self, factor: float = 1.0) -> float:
        """Returns the time that the plan takes if no phase ends early.

        Args:
            factor: Factor on the number of steps, as in `strategies.with_budget`.
        """
        plan = with_budget(self.plan, factor)
        trained = plan.trained_by_steps
        total = self.start + self.per_image * self._num_passes
        for phase, per_step in zip(trained, self.per_step, strict=True):
            interval = steps_per_evaluation(phase.steps, self.images["train"], plan.batch_size)
            evaluations = math.ceil(phase.steps / interval)
            total += phase.steps * per_step * (1 + plan.refit) + evaluations * self.images["val"] * self.per_image
        return total

    @property
    def _num_passes(self) -> int:
        """Number of images that are run through the network once.

        For frozen features, for a refit, and for testing; where the backbone is trained, also for the temperature and
        the threshold of `predict --unsure`.
        """
        train, val = self.images["train"], self.images["val"]
        refitted = (train + val) * self.plan.refit
        views = sum(phase.views for phase in self.plan.phases) * (train + refitted)
        judged = 0 if all(phase.on_features for phase in self.plan.phases) else 2 * val + train + refitted
        return sum(self.images.values()) + refitted + views + judged


def decoded_bytes(images: Mapping[str, int], image_size: int, num_channels: int = RGB) -> int:
    """Returns the memory of the decoded images that a training keeps, in bytes, given their number in each split."""
    return sum(min(MAX_BYTES, count * num_channels * image_size**2) for count in images.values())


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How fast a processor is.

    Attributes:
        speed: Multiply-adds per second of a matrix product in one thread.
        threads: Number of threads that NumPy uses.
    """

    speed: float
    threads: int


TYPICAL = Machine(speed=5e10, threads=2)


def estimate_cost(
    plan: Plan, images: Mapping[str, int], cache: FeatureCache | None = None, *, machine: Machine | None = None
) -> RecipeCost:
    """Estimates the time and memory of carrying out a plan from the sizes of its stages. It runs nothing of the plan.

    Networks whose activations take longer than ReLU, such as EfficientNetB0, need up to half as much time again.

    The seconds are those of the processor: a GPU takes less, and so may a processor with many cores, since the estimate
    is fitted to two. Images are taken to be small files: large photos take longer to decode.
    `strategies.training.timing.measure_cost` knows all of this, but takes longer.

    Args:
        plan: Any plan.
        images: Number of images in each split: `train`, `val` and `test`.
        cache: Where the sizes of the stages are stored, as in `count_stages`.
        machine: The processor. Default: that of this machine, timed once. With `TYPICAL`, the estimate is the same on
            every machine.

    Example:
        >>> import strategies
        >>> from strategies.plans.cost import estimate_cost
        >>> images = {"train": 70, "val": 15, "test": 15}
        >>> head, whole = (
        ...     estimate_cost(strategies.make_plan(
        ...         recipe, "MobileNet-0.25", class_names=["cat", "dog"], num_train=70, image_size=96), images)
        ...     for recipe in ("head_only", "fine_tune_all"))
        >>> head.seconds < whole.seconds, whole.measured
        (True, False)
    """
    return estimate_parts(plan, images, cache, machine=machine).whole


def estimate_parts(
    plan: Plan, images: Mapping[str, int], cache: FeatureCache | None = None, *, machine: Machine | None = None
) -> PlanCost:
    """Estimates the cost of a plan by its parts; see `estimate_cost`."""
    machine = machine or this_machine()
    sizes = count_stages(plan, cache)
    frozen = [_Share(sizes[stage], passes=1) for stage in plan.built_stages]
    trained = [_shares(plan, phase, sizes) for phase in plan.trained_by_steps]
    head = images["train"] * sizes[plan.last_stage].channels * len(plan.class_names)
    return PlanCost(
        plan=plan,
        images=images,
        start=sum(map(_trace_seconds, [frozen, *trained])) + PER_HEAD_VALUE * head * (1 + plan.refit),
        per_step=tuple(_step_seconds(shares, plan.batch_size, machine) for shares in trained),
        per_image=PER_DECODED_IMAGE / machine.threads + _image_seconds(frozen, machine),
        memory=round(_memory(frozen, trained, plan.batch_size))
        + decoded_bytes(images, plan.image_size, plan.network.num_channels),
        measured=False,
    )


@dataclass(frozen=True)
class _Share:
    """What a stage does in each step of a phase.

    Attributes:
        size: What it holds and computes.
        passes: 1 if it is only passed forward, 2 if the gradient is passed back through it too, 3 if it is trained. 0
            if its output is the same in every step, and so was computed before.
        normalizes: Whether its BatchNorm is trained.
    """

    size: StageSize
    passes: int
    normalizes: bool = False


def _shares(plan: Plan, phase: Phase, sizes: Mapping[str, StageSize]) -> list[_Share]:
    first = min(plan.built_stages.index(stage) for stage in phase.trains)

    def share(place: int, stage: str) -> _Share:
        frozen = 0 if phase.on_features else 1 if place < first else 2
        policy = phase.batch_norm.get(stage, {"mode": "inference"})
        return _Share(sizes[stage], 3 if stage in phase.trains else frozen, policy["mode"] == "train")

    return [share(*stage) for stage in enumerate(plan.built_stages)]


def _image_seconds(shares: Sequence[_Share], machine: Machine) -> float:
    """Returns the time of the arithmetic for one image."""
    products = sum(share.passes * share.size.multiply_adds for share in shares)
    values = sum(
        (PER_VALUE * share.passes + PER_NORMALIZED_VALUE * share.normalizes) * share.size.activations
        for share in shares
    )
    return (PER_MULTIPLY_ADD * products / machine.threads + values) / machine.speed


def _step_seconds(shares: Sequence[_Share], batch_size: int, machine: Machine) -> float:
    layers = sum(share.passes * share.size.layers for share in shares)
    return PER_LAYER_STEP * layers + batch_size * _image_seconds(shares, machine)


def _trace_seconds(shares: Sequence[_Share]) -> float:
    """Returns the time to build the model, or to trace it for a phase."""
    return sum(
        (PER_LAYER_TRACE + PER_NORMALIZED_LAYER_TRACE * share.normalizes) * share.size.layers
        for share in shares
        if share.passes
    )


def _memory(frozen: Sequence[_Share], phases: Sequence[Sequence[_Share]], batch_size: int) -> float:
    """Returns the memory of a training in bytes, without the images."""
    layers = sum(share.size.layers for share in frozen)
    model = COPIES * sum(share.size.weights for share in frozen)
    step = max((_step_numbers(shares, batch_size) for shares in phases), default=0.0)
    return BASE_BYTES + LAYER_BYTES * layers + FLOAT_BYTES * (model + step)


def _step_numbers(shares: Sequence[_Share], batch_size: int) -> float:
    """Returns how many numbers a step keeps in memory, in addition to the model."""
    kept = sum(((share.passes > 1) + share.normalizes) * share.size.activations for share in shares)
    weights = sum(share.size.weights for share in shares if share.passes == 3)
    return KEPT_VALUES * batch_size * kept + TRAINED_COPIES * weights


@once
def this_machine() -> Machine:
    """Returns how fast this machine is. It is timed once, in 20 milliseconds.

    The fastest of many small products in one thread counts, so that other processes do not change it.
    """
    from threadpoolctl import ThreadpoolController

    blas = ThreadpoolController().select(user_api="blas")
    threads = max((library["num_threads"] for library in blas.info()), default=1)
    matrix, fastest = np.ones((256, 256), dtype="float32"), math.inf
    with blas.limit(limits=1):
        end = time.perf_counter() + 0.02
        while (started := time.perf_counter()) < end:
            matrix @ matrix
            fastest = min(fastest, time.perf_counter() - started)
    return Machine(speed=len(matrix) ** 3 / fastest, threads=threads)
