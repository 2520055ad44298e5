"""One training phase of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from strategies.networks.backbones import CLASSIFIER

MAX_EVALUATIONS = 10  # on the validation images, per phase


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One training phase: which stages it trains, at which learning rates, and what their BatchNorm layers do.

    Attributes:
        name: Name of the phase.
        trains: Names of the stages whose weights are updated. Every other stage is frozen.
        learning_rate: Peak learning rate of each stage in `trains`.
        batch_norm: BatchNorm policy of stages in `trains`: `{"mode": "inference"}` (its four tensors do not change) or
            `{"mode": "train", "momentum": m}`. Stages that are not named, and all frozen stages, use inference.
        solver: `adamw`; `sgd` (Nesterov momentum 0.9); or `logistic`, which trains the classifier alone by solving
            logistic regression exactly on cached features.
        steps: Number of optimizer steps (batches). Ignored by `logistic`.
        warmup: Share of the steps in which the learning rate rises. Afterward it falls to zero along a cosine.
        weight_decay: Decoupled weight decay, per unit of learning rate.
        augmented: Whether the training images are augmented, differently each time they are used.
        views: Number of augmented copies of each training image that are added to the originals. Only for phases on
            cached features.
        blend: Share of the change by this phase that is kept. At its end, the weights are moved back to this point on
            the straight line from its start (0) to its end (1).
        largest_step: Limit of the learning rate of each kernel: this share of the root mean square of its values at the
            start of the phase. So no step changes it by much more than that share. `None` for no limit.
        optional: Whether the result of the phase is kept only if it improves the validation metric.
    """

    name: str
    trains: tuple[str, ...]
    learning_rate: Mapping[str, float]
    batch_norm: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    solver: str = "adamw"
    steps: int = 0
    warmup: float = 0.1
    weight_decay: float = 0.01
    augmented: bool = False
    views: int = 0
    blend: float = 1.0
    largest_step: float | None = None
    optional: bool = False

    @property
    def has_steps(self) -> bool:
        """Whether it is trained by steps of an optimizer. Otherwise it solves the classifier exactly."""
        return self.solver != "logistic"

    @property
    def on_features(self) -> bool:
        """Whether the whole backbone is frozen and images are not augmented, so that it runs only once per image."""
        return not self.augmented and set(self.trains) <= {CLASSIFIER}


def steps_per_evaluation(steps: int, num_train: int, batch_size: int) -> int:
    """Returns the number of steps between two evaluations on the validation images.

    It covers at least one pass over the training images, and leaves at most ten evaluations per phase.

    Args:
        steps: Steps of the whole phase.
        num_train: Number of training images.
        batch_size: Images per step.
    """
    return min(steps, math.ceil(max(steps / MAX_EVALUATIONS, num_train / batch_size)))
