"""Takes layers that are made of other layers apart, and finds the stages of a network whose stages nobody has named."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.networks.backbones import stage_names
from strategies.networks.flattening import copy_model, flatten

if TYPE_CHECKING:
    import keras

FEWEST_STAGES, MOST_STAGES = 4, 6
SMALLEST_PART = 0.2  # of the weights of a stage that is split
EQUAL = 1e-5  # largest difference between a network and its copy, as a share of its largest output


def image_path(model: Any) -> Any:
    """Returns the part of a model that takes images, with one output: of several, the last one.

    A model of images and texts that has a `vision_encoder`, such as SigLIP of KerasHub, is replaced by it. Anything
    that is no functional model of one input is returned as it is.

    Args:
        model: Any object.
    """
    from strategies.networks.backend import keras

    model = getattr(model, "vision_encoder", model)
    if not isinstance(model, keras.Function) or len(model.inputs) > 1 or len(model.outputs) == 1:
        return model
    outputs = model.output
    return keras.Model(model.inputs[0], [*(outputs.values() if isinstance(outputs, dict) else outputs)][-1])


def copy_whole(model: keras.Model) -> keras.Model:
    """Copies a model by the configuration of its own class, if it has one, as the backbones of KerasHub do.

    Their layers need not be copied one by one, which some do not allow. Other models are copied as by `copy_model`.

    Args:
        model: From `image_path`, or a model of several outputs.

    Raises:
        UserError: If a layer cannot be copied.
    """
    if _is_foreign(model):
        try:
            copied = type(model).from_config(model.get_config())
            copied.set_weights(model.get_weights())
        except Exception:  # an incomplete configuration raises errors of many types
            return copy_model(model)
        return copied
    return copy_model(model)


def unfold(network: keras.Model, image_size: int) -> tuple[keras.Model, set[str]]:
    """Replaces layers that are made of other layers by these, such as the encoder of a transformer by its blocks.

    A layer stays whole if it has weights of its own, if Keras cannot trace it, or if its parts give another output for
    random values. What such a layer does only in training, apart from its parts, is lost.

    Args:
        network: A functional or Sequential model with one input and one output. Do not use it afterwards: its layers
            get new connections.
        image_size: Side of the square input in pixels at which it is traced.

    Returns:
        A model without nested models, whose layers have the same names in every process; and the names of those within
        a former layer, except the one that ends it: stages should not end there.
    """
    from strategies.networks.backend import keras

    network = keras.Model(network.inputs[0], network.outputs[0])  # not in a list or a dictionary
    inputs = keras.Input((image_size, image_size, 3))
    inner: set[str] = set()
    return flatten(_unfolded(keras.Model(inputs, network.call(inputs)), "", inner)), inner


def _unfolded(model: keras.Model, prefix: str, inner: set[str]) -> keras.Model:
    """Returns a model of the same layers without those that can be taken apart. `inner` collects what is in these."""
    from strategies.networks.backend import keras

    taken: set[str] = set()
    for part in model.operations:
        if not isinstance(part, keras.layers.InputLayer):
            part.name = _name(part, prefix, taken)
            if prefix and not _is_composite(part):
                inner.add(part.name)

    def call(part: Any, *args: Any, training: Any = None, **kwargs: Any) -> Any:
        opened = _open(part, args, kwargs, inner) if _is_composite(part) else None
        if opened is None:
            return (_for_any_number(part) or part)(*args, **kwargs)
        outputs = opened.call([value for value in keras.tree.flatten((args, kwargs)) if _is_tensor(value)])
        is_layer = not _is_tensor(outputs) or isinstance(outputs._keras_history.operation, keras.layers.Layer)
        # Stages end at layers, and operations are none.
        return outputs if is_layer else keras.layers.Identity(name=f"{part.name}_end")(outputs)

    return keras.models.clone_model(model, clone_function=lambda part: part, call_function=call)


def _is_tensor(value: Any) -> bool:
    from strategies.networks.backend import keras

    return isinstance(value, keras.KerasTensor)


def _for_any_number(part: Any) -> Any:
    """Returns a layer that reshapes any number of images, for an operation of which Keras did not know the number."""
    from strategies.networks.backend import keras

    first, *others = getattr(part, "newshape", None) or (0,)
    return keras.layers.Reshape(others, name=part.name) if first is None and None not in others else None


def _name(part: Any, prefix: str, taken: set[str]) -> str:
    """Returns a name that does not depend on what was built before: Keras numbers names that nobody has given."""
    without_number = re.sub(r"_\d+$", "", part.name)
    is_numbered = without_number.replace("_", "") == type(part).__name__.lower()
    own = without_number if is_numbered else part.name
    base = name = own if own.startswith(prefix.rstrip("_")) else prefix + own
    number = 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    taken.add(name)
    return name


def _is_composite(part: Any) -> bool:
    from strategies.networks.backend import keras

    if isinstance(part, keras.Model) or not isinstance(part, keras.layers.Layer):
        return isinstance(part, keras.Model)
    return _is_foreign(part) and bool(part.weights and part._flatten_layers(include_self=False))


def _is_foreign(part: Any) -> bool:
    """Returns whether the class of a layer or model is none of Keras itself."""
    return type(part).__module__.partition(".")[0] != "keras"


def _open(part: Any, args: Any, kwargs: Any, inner: set[str]) -> keras.Model | None:
    """Returns a model of the layers within a layer, which takes the tensors of a call; `None` if that fails."""
    from strategies.networks.backend import keras

    inputs: list[Any] = []

    def as_input(value: Any) -> Any:
        if not _is_tensor(value):
            return value
        inputs.append(keras.Input(batch_shape=value.shape, dtype=value.dtype))
        return inputs[-1]

    found: set[str] = set()
    try:
        own_args, own_kwargs = keras.tree.map_structure(as_input, (args, kwargs))
        opened = keras.Model(inputs, part.call(*own_args, **own_kwargs))
        if {id(weight) for weight in opened.weights} != {id(weight) for weight in part.weights}:
            return None
        opened = _unfolded(opened, f"{part.name}_", found)
        rng = np.random.default_rng(0)
        values = [rng.normal(size=(value.shape[0] or 2, *value.shape[1:])).astype(value.dtype) for value in inputs]
        given = iter(values)
        real = keras.tree.map_structure(lambda value: next(given) if _is_tensor(value) else value, (args, kwargs))
        expected = part(*real[0], **real[1])
        if largest_difference(expected, opened(values, training=False)) > EQUAL:
            return None
    except Exception:  # a layer may refuse symbolic tensors with any error; it then stays whole
        return None
    ends = {output._keras_history.operation.name for output in opened.outputs}
    inner |= found - ends
    return opened


def largest_difference(expected: Any, found: Any) -> float:
    """Returns the largest difference between outputs, as a share of the largest absolute value of each."""
    from strategies.networks.backend import keras

    pairs = zip(keras.tree.flatten(expected), keras.tree.flatten(found), strict=True)
    shares = [0.0]
    for one, other in pairs:
        first, second = (keras.ops.convert_to_numpy(value).astype("float64") for value in (one, other))
        shares.append(np.abs(first - second).max() / max(np.abs(first).max(), 1e-12))
    return float(np.max(shares))  # NaN if one is


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """A layer after which a network can be cut, since all data passes through it."""

    layer: str
    places: int  # of its output: pixels of a feature map, or tokens; 0 for a vector
    weights: int  # number of weights up to it


def find_stages(network: keras.Model, inner: Collection[str] = ()) -> dict[str, str]:
    """Finds four to six stages of a network: where the resolution changes, and where a stage would be too large.

    A stage ends at the last layer before the feature map becomes smaller, or the tokens fewer, if all data passes
    through that layer. Transformers with a constant number of tokens are cut between blocks, into equal parts.

    Args:
        network: From `unfold`. Do not use it afterwards: its layers get new connections.
        inner: Names of layers at which no stage should end.

    Returns:
        `{stage: name of its last layer}`, fewer than four if the network has fewer places to cut.

    Example:
        >>> import keras
        >>> from strategies.networks.unfolding import find_stages
        >>> steps = [keras.layers.Conv2D(4, 3, strides=2, name=f"conv{index}") for index in range(4)]
        >>> find_stages(keras.Sequential([keras.Input((64, 64, 3)), *steps]))
        {'stem': 'conv0', 'stage1': 'conv1', 'stage2': 'conv2', 'stage3': 'conv3'}
    """
    cuts = _find_cuts(network, inner)
    ends = [cut for cut, after in zip(cuts, [*cuts[1:], None], strict=True) if not after or after.places != cut.places]
    ends = _with_weights(ends)
    while len(ends) < FEWEST_STAGES and (extra := _split_largest(ends, cuts)):
        ends = sorted([*ends, extra], key=cuts.index)
    while len(ends) > MOST_STAGES:
        sizes = np.diff([0, *(cut.weights for cut in ends)])
        del ends[int(np.argmin(sizes[:-1] + sizes[1:]))]
    return {name: cut.layer for name, cut in zip(stage_names(len(ends)), ends, strict=True)}


def _find_cuts(network: keras.Model, inner: Collection[str]) -> list[_Cut]:
    from strategies.networks.backend import keras

    calls: list[tuple[Any, Any]] = []
    last_use: dict[int, int] = {}
    kept: list[Any] = []  # the tensors, so that no two share an id

    def record(part: Any, *args: Any, **kwargs: Any) -> Any:
        for value in keras.tree.flatten((args, kwargs)):
            if _is_tensor(value):
                kept.append(value)
                last_use[id(value)] = len(calls)
        output = part(*args, **kwargs)
        kept.append(output)
        calls.append((part, output))
        return output

    functional = keras.Model(network.inputs[0], network.outputs[0])
    keras.models.clone_model(functional, clone_function=lambda part: part, call_function=record)
    uses = Counter(part.name for part, _ in calls)
    cuts, open_until, total = [], last_use[id(kept[0])], 0
    for index, (part, output) in enumerate(calls):
        total += part.count_params() if isinstance(part, keras.layers.Layer) else 0
        is_end = isinstance(part, keras.layers.Layer) and uses[part.name] == 1 and part.name not in inner
        if is_end and open_until <= index and _is_tensor(output) and len(output.shape) in (2, 3, 4):
            places = math.prod(output.shape[1:-1]) if len(output.shape) > 2 else 0
            cuts.append(_Cut(layer=part.name, places=places, weights=total))
        for value in keras.tree.flatten(output):
            open_until = max(open_until, last_use.get(id(value), 0))
    return cuts


def _with_weights(ends: list[_Cut]) -> list[_Cut]:
    """Leaves out ends of stages without weights. The last end stays: it ends the network."""
    starts = [0, *(cut.weights for cut in ends[:-1])]
    kept = [cut for cut, start in zip(ends, starts, strict=True) if cut.weights > start]
    return kept if kept and kept[-1] is ends[-1] else [*kept[:-1], *ends[-1:]]


def _split_largest(ends: list[_Cut], cuts: list[_Cut]) -> _Cut | None:
    """Returns the cut nearest to the middle of the stage with the most weights, of the stages that can be split."""
    best: tuple[int, _Cut] | None = None
    for first, last in zip([None, *ends[:-1]], ends, strict=True):
        start = first.weights if first else 0
        least = SMALLEST_PART * (last.weights - start)
        between = [cut for cut in cuts if cut.places and start + least <= cut.weights <= last.weights - least]
        if between and (best is None or last.weights - start > best[0]):
            middle = (start + last.weights) / 2
            best = last.weights - start, min(between, key=lambda cut: abs(cut.weights - middle))
    return best[1] if best else None
