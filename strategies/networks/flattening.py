"""Copies nested models, or flattens them into one graph in which every layer is found by its name."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from strategies.errors import UserError, in_a_sentence

if TYPE_CHECKING:
    import keras


def name_leaves(model: keras.Model, reserved: Collection[str] = ()) -> dict[str, Any]:
    """Finds a unique name for every layer of a model and of the models nested in it.

    Args:
        model: A functional or Sequential model.
        reserved: Names that no layer may have.

    Returns:
        `{name: layer}`, without nested models and inputs. A layer keeps its own name if that is free; otherwise the
        name of its model is put before it. Outer layers come first. Operations (`x + y`) are listed like layers.

    Raises:
        UserError: If a nested model is subclassed, since Keras does not know its layers.

    Example:
        >>> import keras
        >>> from strategies.networks.flattening import name_leaves
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="inner")
        >>> outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2, name="dense")])
        >>> list(name_leaves(outer))
        ['dense', 'inner_dense']
    """
    from strategies.networks.backend import keras

    named: dict[str, Any] = {}
    owners, seen = [model], set()
    for owner in owners:
        for part in _graph(owner).operations:
            if id(part) in seen or isinstance(part, keras.layers.InputLayer):
                continue
            seen.add(id(part))
            if isinstance(part, keras.Model):
                owners.append(part)
                continue
            name = part.name
            while name in named or name in reserved:
                name = f"{owner.name}_{name}"
            named[name] = part
    return named


def copy_model(model: keras.Model, reserved: Collection[str] | None = None) -> keras.Model:
    """Copies a model, the models nested in it and their weights. The copy is not compiled.

    Args:
        model: A functional or Sequential model.
        reserved: `None` keeps the names of layers; otherwise layers are named as by `name_leaves`.

    Raises:
        UserError: If a layer cannot be copied.
    """
    from strategies.networks.backend import keras

    names = {} if reserved is None else {id(part): name for name, part in name_leaves(model, reserved).items()}
    copies: dict[int, tuple[Any, Any]] = {}  # by identity, so that a layer that is used twice is copied once

    def copy(part: Any) -> Any:
        if id(part) not in copies:
            copies[id(part)] = (part, copy_whole(part) if isinstance(part, keras.Model) else copy_layer(part, names))
        return copies[id(part)][1]

    def copy_whole(whole: keras.Model) -> keras.Model:
        if not isinstance(whole, keras.Sequential):
            return keras.models.clone_model(_graph(whole), clone_function=copy)
        # A Sequential model stays Sequential: a weights file finds models by their class.
        start = keras.Input(batch_shape=whole.inputs[0].shape, dtype=whole.inputs[0].dtype)
        return keras.Sequential([start, *map(copy, whole.layers)], name=whole.name)

    copied = copy_whole(model)
    for part, new in copies.values():
        if isinstance(part, keras.layers.Layer) and not isinstance(part, keras.Model):
            _take_weights(new, part)
    return copied


def flatten(network: keras.Model, *, weights: bool = True) -> keras.Model:
    """Replaces nested models by their layers.

    A `training` argument in a call of a layer is dropped. The plan decides whether BatchNormalization is frozen, and
    `fit` and `predict` of Keras 3.15 override that argument anyway.

    Args:
        network: A functional or Sequential model with one input and one output. Do not use it afterwards: its layers
            get new connections.
        weights: Whether to copy the weights. Otherwise they are initialized again, except the mean and variance of
            Normalization, which scale the pixels.

    Returns:
        A model of new layers with the same names and without nested models.
    """
    from strategies.networks.backend import keras

    def call(part: Any, *args: Any, training: Any = None, **kwargs: Any) -> Any:
        # `part.call` adds the layers of a nested model to the graph; `part` itself would add the model as one layer. It
        # also adds conversions of tensors to tensors, which do nothing.
        if type(part).__name__ == "ConvertToTensor" and args[0].dtype == part.dtype:
            return args[0]
        return part.call(*args, **kwargs) if isinstance(part, keras.Model) else part(*args, **kwargs)

    # One input tensor and one output tensor, even if the model has them in a list or a dictionary.
    network = keras.Model(network.inputs[0], network.outputs[0])
    while any(isinstance(part, keras.Model) for part in network.layers):
        network = keras.models.clone_model(network, clone_function=lambda part: part, call_function=call)
    # The layers are copied, since the originals are still connected to the inputs of their former models.
    copies: list[tuple[Any, Any]] = []

    def copy(part: Any) -> Any:
        copies.append((part, copy_layer(part)))
        return copies[-1][1]

    flat = keras.models.clone_model(network, clone_function=copy, call_function=call)
    for part, new in copies:
        if isinstance(part, keras.layers.Normalization) or (weights and isinstance(part, keras.layers.Layer)):
            _take_weights(new, part)
    return flat


def _graph(model: keras.Model) -> keras.Model:
    """Returns a plain functional model of the same layers, not compiled."""
    from strategies.networks.backend import keras

    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not isinstance(model, keras.Function):
        raise UserError(
            f"Expected nested models to be functional or Sequential. Received: {model.name!r}, a "
            f"{type(model).__name__}, whose layers Keras cannot list. Build it with keras.Model(inputs, outputs)."
        )
    return keras.Model(model.input, model.output, name=model.name)


def copy_layer(part: Any, names: dict[int, str] | None = None) -> Any:
    """Copies a layer or an operation, without its weights, also where Keras cannot read its configuration.

    Args:
        part: A layer or an operation.
        names: By `id`, the names of layers whose copies are called otherwise.

    Raises:
        UserError: If it cannot be copied.
    """
    name = (names or {}).get(id(part), part.name)
    try:
        if "get_config" in vars(part):  # by `_copy_by_arguments`
            raise TypeError("a configuration that Keras cannot read")
        new = part.__class__.from_config(part.get_config())
    except Exception as error:  # a custom layer may raise anything
        if (fixed := _copy_by_arguments(part, name)) is not None:
            return fixed
        raise UserError(
            f"Expected layers that can be copied by get_config and from_config. Received: {part.name!r}, a "
            f"{type(part).__name__} ({in_a_sentence(error)[:200]}). Replace it with layers and keras.ops that Keras "
            f"can copy."
        ) from error
    new.name = name  # some configurations do not include the name
    return new


def _copy_by_arguments(part: Any, name: str) -> Any:
    """Copies a layer whose configuration Keras cannot read; `None` if that fails.

    Some layers write computed values into their configuration, or leave arguments out. Their copy is created and saved
    from what their constructor takes: from the configuration, or else from attributes of the same names.
    """
    known = {"name": name, "trainable": part.trainable, "dtype": part.dtype_policy.name}
    with contextlib.suppress(Exception):  # such as that the constructor was given objects
        known = part.get_config() | known
    taken = inspect.signature(type(part).__init__).parameters
    named = {key for key, value in taken.items() if value.kind not in (value.VAR_POSITIONAL, value.VAR_KEYWORD)}
    attributes = {key: getattr(part, key) for key in named - {"self", *known} if hasattr(part, key)}
    config = attributes | {key: value for key, value in known.items() if key in named | {"name", "trainable", "dtype"}}
    try:
        new = type(part)(**config)
        json.dumps(config)
    except Exception:  # of any kind, as above
        return None
    new.get_config = partial(dict, config)
    return new


def _take_weights(new: Any, part: Any) -> None:
    new.set_weights(part.get_weights())
    if hasattr(new, "finalize_state"):  # Normalization computes values from its weights in advance
        new.finalize_state()
