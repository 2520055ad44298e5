"""Models within a model: copied as they are, or taken apart into one flat graph whose layers are found by name."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from strategies.errors import UserError, in_a_sentence

if TYPE_CHECKING:
    import keras


def name_leaves(model: keras.Model, reserved: Collection[str] = ()) -> dict[str, Any]:
    """Gives every layer that is no model itself, at any depth, a name that no other one has.

    Args:
        model: A functional or Sequential model; models within it are looked into.
        reserved: Names that no layer may have.

    Returns:
        `{name: layer}`: the layer's own name where it is free, outer layers first; else preceded by the name of the
        model that it stands in. Operations (`x + y`) are listed like layers, inputs are not.

    Raises:
        UserError: If a model within the model is subclassed: Keras does not know its layers.

    Example:
        >>> import keras
        >>> from strategies.networks.flattening import name_leaves
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="inner")
        >>> outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2, name="dense")])
        >>> list(name_leaves(outer))
        ['dense', 'inner_dense']
    """
    import keras

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
    """Copies a model with its weights, and the models within it; what it was compiled with is left behind.

    Args:
        model: A functional or Sequential model.
        reserved: `None` keeps the names; else layers are named as `name_leaves` does.

    Raises:
        UserError: If a layer cannot be copied.
    """
    import keras

    names = {} if reserved is None else {id(part): name for name, part in name_leaves(model, reserved).items()}
    copies: dict[int, tuple[Any, Any]] = {}  # by identity: a layer that is used twice is copied once

    def copy(part: Any) -> Any:
        if id(part) not in copies:
            copies[id(part)] = (part, copy_whole(part) if isinstance(part, keras.Model) else _copy(part, names))
        return copies[id(part)][1]

    def copy_whole(whole: keras.Model) -> keras.Model:
        if not isinstance(whole, keras.Sequential):
            return keras.models.clone_model(_graph(whole), clone_function=copy)
        # Sequential as it was: in a file of weights, models are found by their class.
        start = keras.Input(batch_shape=whole.inputs[0].shape, dtype=whole.inputs[0].dtype)
        return keras.Sequential([start, *map(copy, whole.layers)], name=whole.name)

    copied = copy_whole(model)
    for part, new in copies.values():
        if isinstance(part, keras.layers.Layer) and not isinstance(part, keras.Model):
            _take_weights(new, part)
    return copied


def flatten(network: keras.Model, *, weights: bool = True) -> keras.Model:
    """Puts the layers of the models within a model in their place.

    Whatever the model says of `training` at a call is dropped: whether BatchNormalization is held is the plan's to
    say, and `fit` and `predict` of Keras 3.15 overrule it anyway.

    Args:
        network: A functional or Sequential model with one input and one output, of which nothing else is needed: its
            layers are connected anew on the way.
        weights: Whether the weights are taken over; else they are drawn anew, except the mean and variance of
            Normalization, which say how pixels are scaled.

    Returns:
        A model of new layers, none of which is a model, with the names that they had.
    """
    import keras

    def call(part: Any, *args: Any, training: Any = None, **kwargs: Any) -> Any:
        # `call` of a model, unlike the model itself, enters its layers into the graph one by one.
        return part.call(*args, **kwargs) if isinstance(part, keras.Model) else part(*args, **kwargs)

    # One tensor in, one out, whatever dictionary or list the model has them in.
    network = keras.Model(network.inputs[0], network.outputs[0])
    while any(isinstance(part, keras.Model) for part in network.layers):
        network = keras.models.clone_model(network, clone_function=lambda part: part, call_function=call)
    # Copies: the layers themselves are still connected to the inputs of the models that they came from.
    copies: list[tuple[Any, Any]] = []

    def copy(part: Any) -> Any:
        copies.append((part, _copy(part)))
        return copies[-1][1]

    flat = keras.models.clone_model(network, clone_function=copy, call_function=call)
    for part, new in copies:
        if isinstance(part, keras.layers.Normalization) or (weights and isinstance(part, keras.layers.Layer)):
            _take_weights(new, part)
    return flat


def _graph(model: keras.Model) -> keras.Model:
    """The plain functional model of the same layers: no class of its own, not compiled."""
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not isinstance(model, keras.Function):
        raise UserError(
            f"Expected models within the model to be functional or Sequential. Received: {model.name!r}, a "
            f"{type(model).__name__}, whose layers Keras cannot list. Build it with keras.Model(inputs, outputs)."
        )
    return keras.Model(model.input, model.output, name=model.name)


def _copy(part: Any, names: dict[int, str] | None = None) -> Any:
    try:
        new = part.__class__.from_config(part.get_config())
    except Exception as error:  # whatever a layer's own code raises
        raise UserError(
            f"Expected layers that can be copied by get_config and from_config. Received: {part.name!r}, a "
            f"{type(part).__name__} ({in_a_sentence(error)}). Replace it by layers and keras.ops that Keras can copy."
        ) from error
    new.name = (names or {}).get(id(part), part.name)  # not every layer's configuration holds its name
    return new


def _take_weights(new: Any, part: Any) -> None:
    new.set_weights(part.get_weights())
    if hasattr(new, "finalize_state"):  # Normalization works with what it computed from its weights before
        new.finalize_state()
