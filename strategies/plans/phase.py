"""The parts of a plan: new layers, and phases of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class NewLayer:
    """A layer put on top of what is kept: `separable_conv` (with BatchNorm and ReLU) or `classifier`."""

    name: str
    kind: str
    units: int
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of training: which stages learn, how fast, and what their BatchNorm layers do.

    Attributes:
        trains: Names of the stages whose weights are updated; every other stage is frozen.
        learning_rate: Peak learning rate of each stage in `trains`.
        batch_norm: Policy of the stages in `trains` that have BatchNorm: `{"mode": "inference"}` (its four tensors are
            held) or `{"mode": "train", "momentum": m}`. Not named means inference; frozen stages are always so.
        solver: `adamw`, `sgd` (Nesterov momentum 0.9), or `logistic`: the classifier alone, solved exactly on cached
            features.
        steps: Optimizer steps (batches); ignored by `logistic`.
        warmup: Share of the steps in which the learning rate rises; after that it falls to zero by a cosine.
        weight_decay: Decoupled weight decay, per unit of learning rate.
        augmented: Whether images are augmented anew in every step.
        views: Augmented copies of each training image that a phase on cached features sees beside the image itself.
        optional: Kept only if the validation set says that it helped.
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
    optional: bool = False
