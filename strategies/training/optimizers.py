"""Optimizers: learning-rate schedule, and a learning rate for each stage. Uses only the public API of Keras."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from strategies.networks.backend import keras

SERIALIZABLE = "transfer_advisor"
# The values of a phase's `solver`, except for `logistic`.
OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adamw": keras.optimizers.AdamW,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
}


@keras.saving.register_keras_serializable(package=SERIALIZABLE)
class ScaledRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning-rate schedule times a factor, which advances once in `every` steps.

    With gradient accumulation, Keras counts each batch as a step.

    Args:
        schedule: The original schedule.
        factor: Factor on its learning rate.
        every: Number of batches whose gradients make one step.
    """

    def __init__(self, schedule: Any, factor: float, every: int = 1) -> None:
        super().__init__()
        self.schedule, self.factor, self.every = schedule, factor, every

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate at a step."""
        return self.schedule(step // self.every if self.every > 1 else step) * self.factor

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration; Keras calls this when it saves a model."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "factor": self.factor, "every": self.every}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScaledRate:
        """Creates the schedule from its configuration; Keras calls this when it loads a model."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["factor"], config["every"])


@keras.saving.register_keras_serializable(package=SERIALIZABLE)
class StageRates(keras.optimizers.Optimizer):
    """An optimizer that trains each stage at its own learning rate (discriminative learning rates).

    A Keras optimizer has a single learning rate, and scaling the gradients has almost no effect on Adam. So this class
    combines several optimizers, one per learning rate. A model compiled with it can be saved and loaded as usual.

    Args:
        optimizers: New Keras optimizers, the one with the highest learning rate first.
        groups: Index of the optimizer for each trainable weight, in the order of the model's `trainable_weights`.
        name: Name of the combined optimizer.

    Reference:
        Howard & Ruder 2018, Universal Language Model Fine-tuning, section 3.2 (discriminative fine-tuning).

    Example:
        >>> import keras
        >>> from strategies.training.optimizers import StageRates
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(1)])
        >>> rates = [keras.optimizers.AdamW(1e-3), keras.optimizers.AdamW(1e-5)]
        >>> model.compile(StageRates(rates, groups=[1, 1, 0, 0]), "mse")  # kernel and bias of each layer
    """

    def __init__(
        self, optimizers: Sequence[keras.optimizers.Optimizer], groups: Sequence[int], name: str = "stage_rates"
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self.optimizers, self.groups = list(optimizers), list(groups)

    def build(self, variables: Sequence[Any]) -> None:
        """Builds each optimizer for its own weights; called by Keras once."""
        super().build(list(variables))
        for optimizer, weights in zip(self.optimizers, self._split(variables), strict=True):
            optimizer.build(weights)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates every weight with its own optimizer; called by Keras in every step."""
        if trainable_variables is None:
            raise ValueError("Expected gradients and variables. Received: gradients alone. Pass both.")
        if not self.built:
            self.build(trainable_variables)
        parts = zip(self.optimizers, self._split(grads), self._split(trainable_variables), strict=True)
        for optimizer, gradients, weights in parts:
            optimizer.apply(gradients, weights)
        self.iterations.assign_add(1)

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Like `apply`, but with values instead of variables; called by Keras with the JAX backend."""
        first = len(super().variables)
        iterations, *others = optimizer_variables[:first]
        state, values = [iterations + 1, *others], list(trainable_variables)
        positions = self._split(range(len(values)))
        parts = zip(self.optimizers, self._split(grads), self._split(trainable_variables), positions, strict=True)
        for optimizer, gradients, weights, indices in parts:
            last = first + len(optimizer.variables)
            weights, own_state = optimizer.stateless_apply(list(optimizer_variables[first:last]), gradients, weights)
            state, first = state + list(own_state), last
            for index, weight in zip(indices, weights, strict=True):
                values[index] = weight
        return values, state

    def _split(self, values: Sequence[Any]) -> list[list[Any]]:
        if len(values) != len(self.groups):
            raise ValueError(
                f"Expected one group for each of {len(values)} trainable weights. Received: {len(self.groups)}. "
                f"Pass one index per weight."
            )
        parts: list[list[Any]] = [[] for _ in self.optimizers]
        for value, group in zip(values, self.groups, strict=True):
            parts[group].append(value)
        return parts

    @property
    def variables(self) -> list[Any]:
        """The state of all optimizers, which is saved with a model."""
        own = list(super().variables)
        return own + [variable for optimizer in self.optimizers for variable in optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The highest learning rate, which callbacks show."""
        return self.optimizers[0].learning_rate

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration; Keras calls this when it saves a model."""
        parts = [keras.saving.serialize_keras_object(optimizer) for optimizer in self.optimizers]
        return {"optimizers": parts, "groups": list(self.groups), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> StageRates:
        """Creates the optimizer from its configuration; Keras calls this when it loads a model."""
        parts = [keras.saving.deserialize_keras_object(part) for part in config["optimizers"]]
        return cls(parts, config["groups"], name=config["name"])


def warm_up_and_cosine(step: int, steps: int, warmup: float) -> float:
    """Returns the share of the peak learning rate at a step: it rises linearly, then falls to zero along a cosine.

    Args:
        step: The step, from 0.
        steps: Steps of the whole schedule.
        warmup: Share of the steps in which the learning rate rises.

    Example:
        >>> from strategies.training.optimizers import warm_up_and_cosine
        >>> [round(warm_up_and_cosine(step, 10, 0.2), 2) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    rising = min(steps - 1, round(warmup * steps))
    if step < rising:
        return step / rising
    return (1 + math.cos(math.pi * min(1.0, (step - rising) / (steps - rising)))) / 2


class Schedule:
    """Sets the learning rates of an optimizer before each step.

    They are plain variables. A Keras schedule would be traced once for each weight, which takes seconds.

    Args:
        optimizer: A new optimizer, whose learning rates are the peaks.
        steps: Steps of the phase. The learning rates have fallen to zero at their end.
        warmup: Share of the steps in which the learning rates rise.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, *, steps: int, warmup: float) -> None:
        parts = optimizer.optimizers if isinstance(optimizer, StageRates) else [optimizer]
        self._peaks = [(part, float(part.learning_rate)) for part in parts]
        self._steps, self._warmup = steps, warmup

    def set(self, step: int) -> None:
        """Sets the learning rates of a step, counted from 0."""
        share = warm_up_and_cosine(step, self._steps, self._warmup)
        for optimizer, peak in self._peaks:
            optimizer.learning_rate = peak * share


def make_optimizer(
    solver: str,
    rates: Mapping[str, float],
    variables: Sequence[Any],
    *,
    weight_decay: float,
    own: keras.optimizers.Optimizer | None = None,
    accumulate: int = 1,
) -> keras.optimizers.Optimizer:
    """Returns a new, built optimizer for one phase, with the peaks of its learning rates.

    Args:
        solver: A key of `OPTIMIZERS`.
        rates: Peak learning rate of each weight, by its path.
        variables: The trainable weights of the model.
        weight_decay: Decoupled weight decay, per unit of learning rate.
        own: An optimizer of the user. Copies of it are used: with its own learning rate for the stages with the highest
            rate in `rates`, and with proportionally lower rates for the others. Then `solver` and `weight_decay` have
            no effect.
        accumulate: Number of batches whose mean gradient makes one step.
    """
    peak = max(rates.values())
    distinct = sorted({rate / peak for rate in rates.values()}, reverse=True)
    accumulation = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}

    def make(factor: float) -> keras.optimizers.Optimizer:
        if own is None:
            return OPTIMIZERS[solver](learning_rate=peak * factor, weight_decay=weight_decay, **accumulation)
        config = own.get_config() | accumulation
        rate = config["learning_rate"]
        if isinstance(rate, dict):
            rate = keras.saving.deserialize_keras_object(rate)
        config["learning_rate"] = rate * factor if isinstance(rate, float) else ScaledRate(rate, factor, accumulate)
        return type(own).from_config(config)

    optimizers = [make(factor) for factor in distinct]
    for part in optimizers:
        _skip_all_reduce(part)
    optimizer = optimizers[0]
    if len(optimizers) > 1:
        optimizer = StageRates(optimizers, [distinct.index(rates[variable.path] / peak) for variable in variables])
    optimizer.build(variables)  # otherwise TensorFlow traces the first step twice
    return optimizer


def _skip_all_reduce(optimizer: keras.optimizers.Optimizer) -> None:
    """Skips the sum of the gradients over devices where there is one device.

    For each training, Keras 3.15 has TensorFlow register a gradient of that sum, which is never removed. It holds the
    traced step, tens of megabytes, until the process ends.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            optimizer._all_reduce_sum_gradients = lambda gradients: gradients
