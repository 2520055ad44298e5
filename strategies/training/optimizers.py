"""Optimizers: warm-up and cosine, and lower learning rates for lower stages, by Keras' public API alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

SERIALIZABLE = "transfer_advisor"
# What a phase may name as its `solver`, beside `logistic`.
OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adamw": lambda rate, decay: keras.optimizers.AdamW(rate, weight_decay=decay),
    "sgd": lambda rate, decay: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay),
}


@keras.saving.register_keras_serializable(package=SERIALIZABLE)
class ScaledRate(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule times a factor, which moves on once in `every` steps: Keras counts accumulated batches."""

    def __init__(self, schedule: Any, factor: float, every: int = 1) -> None:
        super().__init__()
        self.schedule, self.factor, self.every = schedule, factor, every

    def __call__(self, step: Any) -> Any:
        """Returns the rate at a step."""
        return self.schedule(step // self.every if self.every > 1 else step) * self.factor

    def get_config(self) -> dict[str, Any]:
        """Returns what the schedule is made of; Keras calls it when it saves a model."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "factor": self.factor, "every": self.every}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScaledRate:
        """Makes the schedule anew; Keras calls it when it loads a model."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["factor"], config["every"])


@keras.saving.register_keras_serializable(package=SERIALIZABLE)
class StageRates(keras.optimizers.Optimizer):
    """Several optimizers in one, each for its own weights: discriminative learning rates.

    Keras has one learning rate per optimizer, and scaling gradients does not change what Adam does. Here every rate
    has an optimizer of its own. A model that was compiled with it saves and reloads like any other.

    Args:
        optimizers: Keras optimizers that were not used before, the one with the highest rate first.
        groups: Index of the optimizer of each trainable weight, in the order of the model's `trainable_weights`.
        name: Name of the whole.

    Reference:
        Howard & Ruder 2018, Universal Language Model Fine-tuning, section 3.2 (discriminative fine-tuning).

    Example:
        >>> import keras
        >>> from strategies.training.optimizers import StageRates
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(1)])
        >>> rates = [keras.optimizers.AdamW(1e-3), keras.optimizers.AdamW(1e-5)]
        >>> model.compile(StageRates(rates, groups=[1, 1, 0, 0]), "mse")  # kernel and bias of both layers
    """

    def __init__(
        self, optimizers: Sequence[keras.optimizers.Optimizer], groups: Sequence[int], name: str = "stage_rates"
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self.optimizers, self.groups = list(optimizers), list(groups)

    def build(self, variables: Sequence[Any]) -> None:
        """Builds each optimizer on its own weights; Keras calls it once."""
        super().build(list(variables))
        for optimizer, mine in zip(self.optimizers, self._split(variables), strict=True):
            optimizer.build(mine)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates every weight by its own optimizer; Keras calls it at every step."""
        if trainable_variables is None:
            raise ValueError("Expected the variables beside their gradients. Received: gradients alone. Give both.")
        if not self.built:
            self.build(trainable_variables)
        parts = zip(self.optimizers, self._split(grads), self._split(trainable_variables), strict=True)
        for optimizer, gradients, mine in parts:
            optimizer.apply(gradients, mine)
        self.iterations.assign_add(1)

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Like `apply`, on values instead of variables; Keras calls it under JAX."""
        first = len(super().variables)
        iterations, *others = optimizer_variables[:first]
        state, values = [iterations + 1, *others], list(trainable_variables)
        positions = self._split(range(len(values)))
        parts = zip(self.optimizers, self._split(grads), self._split(trainable_variables), positions, strict=True)
        for optimizer, gradients, mine, places in parts:
            last = first + len(optimizer.variables)
            mine, own_state = optimizer.stateless_apply(list(optimizer_variables[first:last]), gradients, mine)
            state, first = state + list(own_state), last
            for place, value in zip(places, mine, strict=True):
                values[place] = value
        return values, state

    def _split(self, values: Sequence[Any]) -> list[list[Any]]:
        if len(values) != len(self.groups):
            raise ValueError(
                f"Expected one group for each of {len(values)} trainable weights. Received: {len(self.groups)}. "
                f"Give one index per weight."
            )
        parts: list[list[Any]] = [[] for _ in self.optimizers]
        for value, group in zip(values, self.groups, strict=True):
            parts[group].append(value)
        return parts

    @property
    def variables(self) -> list[Any]:
        """The state of all optimizers, which a saved model holds."""
        own = list(super().variables)
        return own + [variable for optimizer in self.optimizers for variable in optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The highest of the rates, which callbacks show."""
        return self.optimizers[0].learning_rate

    def get_config(self) -> dict[str, Any]:
        """Returns what the optimizer is made of; Keras calls it when it saves a model."""
        parts = [keras.saving.serialize_keras_object(optimizer) for optimizer in self.optimizers]
        return {"optimizers": parts, "groups": list(self.groups), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> StageRates:
        """Makes the optimizer anew; Keras calls it when it loads a model."""
        parts = [keras.saving.deserialize_keras_object(part) for part in config["optimizers"]]
        return cls(parts, config["groups"], name=config["name"])


def warm_up_and_cosine(peak: float, steps: int, warmup: float) -> Any:
    """Returns a schedule that rises to `peak` within the share `warmup` of the steps and falls to 0 by a cosine."""
    rising = min(steps - 1, round(warmup * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0 if rising else peak, steps - rising, warmup_target=peak if rising else None, warmup_steps=rising
    )


def make_optimizer(
    solver: str,
    rates: Mapping[str, float],
    variables: Sequence[Any],
    *,
    steps: int,
    warmup: float,
    weight_decay: float,
    own: keras.optimizers.Optimizer | None = None,
    accumulate: int = 1,
) -> keras.optimizers.Optimizer:
    """Returns a fresh, built optimizer for one phase.

    Args:
        solver: A key of `OPTIMIZERS`.
        rates: Peak learning rate of each weight, by its path.
        variables: The trainable weights of the model.
        steps: Steps of the phase; the rate has fallen to zero at their end.
        warmup: Share of the steps in which the rate rises.
        weight_decay: Decoupled weight decay, per unit of learning rate.
        own: The user's optimizer: copies of it are used instead, its own rate for the stages that learn fastest and
            proportionally lower ones for the others; `solver`, `warmup` and `weight_decay` are then not looked at.
        accumulate: Batches whose mean gradient makes one step.
    """
    peak = max(rates.values())
    distinct = sorted({rate / peak for rate in rates.values()}, reverse=True)

    def make(factor: float) -> keras.optimizers.Optimizer:
        if own is None and accumulate == 1:
            return OPTIMIZERS[solver](warm_up_and_cosine(peak * factor, steps, warmup), weight_decay)
        like = own or OPTIMIZERS[solver](warm_up_and_cosine(peak, steps, warmup), weight_decay)
        config = like.get_config()
        rate = config["learning_rate"]
        if isinstance(rate, dict):
            rate = keras.saving.deserialize_keras_object(rate)
        config["learning_rate"] = rate * factor if isinstance(rate, float) else ScaledRate(rate, factor, accumulate)
        if accumulate > 1:
            config["gradient_accumulation_steps"] = accumulate
        return type(like).from_config(config)

    if len(distinct) == 1:
        optimizer = make(1.0)
    else:
        groups = [distinct.index(rates[variable.path] / peak) for variable in variables]
        optimizer = StageRates([make(factor) for factor in distinct], groups)
    optimizer.build(variables)  # here, or TensorFlow traces the first step twice
    return optimizer
