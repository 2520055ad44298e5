"""A user's own `keras.Model` as a backbone: checked, copied, and added to the rows under a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from strategies.errors import UnknownNameError, UserError, in_a_sentence, unknown_name
from strategies.networks.backbones import (
    BACKBONES,
    NEW_STAGES,
    PREPROCESSING,
    RESERVED_LAYERS,
    Backbone,
    Stage,
    get_backbone,
)
from strategies.networks.flattening import copy_model, name_leaves
from strategies.networks.pretrained import build_own, stage_layers

if TYPE_CHECKING:
    import keras


def add_backbone(
    name: str,
    model: keras.Model | str | Path,
    *,
    stages: Mapping[str, str] | Sequence[tuple[str, str]],
    preprocessing: str = "none",
    default_cut: str | None = None,
    image_size: int | None = None,
    source: str = "",
) -> Backbone:
    """Adds a model of your own to the backbones, for this process: from then on it is meant by its name.

    The model is copied with the weights that it has now: training never changes it, and what you do to it later does
    not change the backbone. Models within it are taken apart, so that a stage may end within one of them.

    Args:
        name: What plans and reports call it; a name that was added before is replaced.
        model: A functional or Sequential model without its classifier: from RGB images, channels last, to a feature map
            or to one vector per image. Or the path of a `.keras` file, which is loaded at once and in Keras' safe mode:
            load a model that needs more yourself. A subclassed model has no graph that could be cut.
        stages: `{stage: name of its last layer}`, two or more, from the image to the end of the model. All but the last
            end in a feature map; the last ends the model. Where two layers of models within the model have one name,
            the inner one's is `{name of its model}_{name}`.
        preprocessing: What becomes of pixels 0-255 before they enter the model, a row of `PREPROCESSING`: `"none"` for
            a model that takes them as they are and scales them itself, `"-1..1"`, `"torch"`, `"caffe"` as in Keras'
            `preprocess_input`.
        default_cut: The stage up to which `keep_early_layers` keeps the layers; default: the first third.
        image_size: Side of the square images in pixels; default: the model's own input size.
        source: Where the model comes from.

    Returns:
        The row, with `min_image_size` 1 where the layers allow other sizes than the model's own, else that size.

    Raises:
        UserError: If the model cannot be used as a backbone with these stages; the sentence says why.
        UnknownNameError: If there is no such preprocessing, layer or stage.

    Example:
        >>> import keras, strategies
        >>> inputs = keras.Input((32, 32, 3))
        >>> x = keras.layers.Rescaling(1 / 255)(inputs)
        >>> x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="edges")(x)
        >>> x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="parts")(x)
        >>> row = strategies.add_backbone("tiny", keras.Model(inputs, x), stages={"early": "edges", "late": "parts"})
        >>> row.image_size, row.default_cut
        (32, 'early')
        >>> strategies.make_plan("head_only", "tiny", class_names=["cat", "dog"], num_train=80).weights
        'own'
    """
    import keras

    _check_name(name)
    if isinstance(model, str | Path):
        model = _load(Path(model))
    own_size = _check_graph(model)
    size = image_size or own_size
    if size is None:
        _refuse("image_size for a model whose input has no fixed size", "none", "Give image_size")
    if preprocessing not in PREPROCESSING or set(PREPROCESSING[preprocessing].factor) != {1.0}:
        known = [key for key, row in PREPROCESSING.items() if set(row.factor) == {1.0}]
        raise unknown_name("preprocessing", preprocessing, known, hint="'none' leaves all scaling to the model.")
    copied = copy_model(model)
    rows = _resolve_stages(name, copied, stages)
    cut = default_cut or rows[max(1, round(len(rows) / 3)) - 1].name
    if cut not in [row.name for row in rows[:-1]]:
        raise unknown_name(f"stage of {name} to cut after", cut, [row.name for row in rows[:-1]])
    row = Backbone(
        name=name,
        image_size=size,
        min_image_size=1,
        preprocessing=preprocessing,
        stages=rows,
        default_cut=cut,
        source=source,
        model=copied,
    )
    network = build_own(row, copied, own_size or size, "own")
    _check_answers(row, model, network)
    _check_stages(row, network)
    if own_size not in (None, size):
        build_own(row, copied, size, "random")  # refuses a size that the layers do not allow
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    row = replace(row, has_batch_norm=bool(norms), min_image_size=_smallest_size(row, copied, own_size))
    BACKBONES[name] = row
    return row


def _refuse(expected: str, received: str, advice: str) -> NoReturn:
    raise UserError(f"Expected {expected}. Received: {received}. {advice}.")


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.strip() or "/" in name:
        _refuse("a name for the backbone, without '/'", repr(name), "Name it as reports shall call it")
    try:
        known = get_backbone(name)
    except UnknownNameError:
        return
    if known.model is None:
        _refuse("a name of its own for the backbone", f"{name!r}, a network of Keras", "Choose another name")


def _load(path: Path) -> keras.Model:
    import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # what Keras and h5py raise differs by version and by what is wrong
        raise UserError(
            f"Expected a .keras file that Keras loads in safe mode. Received: {str(path)!r} ({in_a_sentence(error)}). "
            f"Check the path, or load the model yourself and give the model."
        ) from error


def _check_graph(model: Any) -> int | None:
    """Refuses what is no backbone; returns the side of the input, or `None` if it is not fixed."""
    import keras

    functional = isinstance(model, keras.Function) or (isinstance(model, keras.Sequential) and model.built)
    if not isinstance(model, keras.Model) or not functional:
        what = f"a {type(model).__name__}"
        advice = "Build it with keras.Model(inputs, outputs), or give a Sequential model its keras.Input"
        _refuse("a functional keras.Model, whose layers are known", what, advice)
    if (len(model.inputs), len(model.outputs)) != (1, 1):
        counts = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        _refuse("a model with one input and one output", counts, "Give keras.Model(image, features) of its layers")
    shape, ends_in = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    sides = {side for side in shape[1:3] if side is not None}
    if len(shape) != 4 or shape[3] != 3 or len(sides) > 1:
        _refuse("an input of square RGB images, (None, side, side, 3)", str(shape), "Build the model on such an input")
    if len(ends_in) not in (2, 4):
        _refuse("a model that ends in a feature map or in a vector", f"shape {ends_in}", "Cut it, or pool its output")
    return next(iter(sides), None)


def _resolve_stages(
    name: str, model: keras.Model, stages: Mapping[str, str] | Sequence[tuple[str, str]]
) -> tuple[Stage, ...]:
    """Finds the layers that end the stages, by the names that they will have in the flat model."""
    import keras

    pairs = [tuple(pair) for pair in (stages.items() if isinstance(stages, Mapping) else stages)]
    if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs):
        _refuse("two or more stages as {name: last layer}", f"stages={stages!r}", "Name where each stage ends")
    names = [stage for stage, _ in pairs]
    if len(set(names)) < len(names) or {"top", *NEW_STAGES} & set(names):
        taken = ", ".join(("top", *NEW_STAGES))
        _refuse(f"different names of stages, none of them {taken}", ", ".join(map(str, names)), "Rename the others")
    leaves = {
        flat: part for flat, part in name_leaves(model, RESERVED_LAYERS).items() if isinstance(part, keras.layers.Layer)
    }
    ends = []
    for _, layer in pairs:
        called = [flat for flat, part in leaves.items() if part.name == layer]
        if layer not in leaves and len(called) != 1:
            raise unknown_name(f"layer of {name}", str(layer), leaves)
        ends.append(layer if layer in leaves else called[0])
    return tuple(Stage(name=stage, last_layer=end) for stage, end in zip(names, ends, strict=True))


def _check_answers(row: Backbone, model: keras.Model, network: keras.Model) -> None:
    """Refuses a model whose copy answers differently: layers may hold what is neither weight nor configuration."""
    import keras

    size = network.input_shape[1]
    pixels = np.random.default_rng(0).uniform(0, 255, (model.inputs[0].shape[0] or 1, size, size, 3)).astype("float32")
    scaling = PREPROCESSING[row.preprocessing]
    scaled = pixels if scaling.scale is None else pixels * np.array(scaling.scale) + np.array(scaling.offset)
    given = scaled[..., list(scaling.order)].astype("float32")
    # The input may stand in a list or a dictionary.
    inputs = given if isinstance(model, keras.Sequential) else keras.tree.map_structure(lambda _: given, model.input)
    answers = keras.tree.flatten([model(inputs, training=False), network(pixels, training=False)])
    expected, found = (keras.ops.convert_to_numpy(answer).astype("float64") for answer in answers)
    difference = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12)
    if not difference < 0.01:  # rounding of half precision is below
        _refuse(
            "a model whose copy, layer by layer from configuration and weights, gives the same output",
            f"one whose copy differs by {difference:.0%}",
            "Look for a layer whose state is in neither, or that is called with training=True",
        )


def _check_stages(row: Backbone, network: keras.Model) -> None:
    """Refuses stages that the graph does not have, and layers that no stage could freeze or train."""
    import keras

    _check_layers(network)
    owned = stage_layers(network, row)
    previous = ""
    for stage in row.stages:
        if stage.last_layer not in owned[stage.name]:
            _refuse(
                "stages that hold layers of their own, scaling apart",
                f"stage {stage.name!r} ending at {stage.last_layer!r}, which is scaling or belongs to an earlier stage",
                "Let it end later",
            )
        output = network.get_layer(stage.last_layer).output
        if previous and previous not in {layer.name for layer in keras.Model(network.input, output).layers}:
            _refuse(
                "stages in order from the image to the end, each on the path to the next",
                f"stage {stage.name!r} ending at {stage.last_layer!r}, which does not follow {previous!r}",
                "Put them in order, or name layers that everything passes through",
            )
        if stage is not row.stages[-1] and len(output.shape) != 4:
            _refuse(
                "stages that end in a feature map, all but the last",
                f"stage {stage.name!r} ending at {stage.last_layer!r} with shape {tuple(output.shape)}",
                "Let the last stage begin there",
            )
        previous = stage.last_layer
    if output is not network.output:
        _refuse(
            "a last stage that ends the model",
            f"stage {row.stages[-1].name!r} ending at {previous!r}, while the model ends at "
            f"{network.layers[-1].name!r}",
            "Name that layer, or give a model that ends earlier",
        )
    calls = _count_calls(network)
    for layer in network.layers:
        if calls[layer.name] > 1 and (layer.weights or layer.name in {stage.last_layer for stage in row.stages}):
            _refuse(
                "layers that are used once, so that each belongs to one stage",
                f"{layer.name!r}, which is used {calls[layer.name]} times",
                "Build the model with a layer for each use",
            )


def _check_layers(network: keras.Model) -> None:
    import keras

    last = network.operations[-1]
    if isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax:
        _refuse(
            "a model without its classifier",
            f"one that ends in the softmax of {last.name!r}",
            "Leave it out: keras.Model(model.input, model.get_layer(NAME).output)",
        )
    for layer in network.layers:
        within = {weight.name for weight in layer.weights} & {"moving_mean", "moving_variance"}
        if within and not isinstance(layer, keras.layers.BatchNormalization):
            _refuse(
                "BatchNormalization as layers of the model, where a plan can hold it",
                f"{layer.name!r}, a {type(layer).__name__} that holds it within",
                "Build the model of the layers themselves",
            )


def _count_calls(network: keras.Model) -> Counter[str]:
    """Returns how often each layer is used; connects the layers of `network` once more."""
    import keras

    calls: Counter[str] = Counter()

    def count(part: Any, *args: Any, **kwargs: Any) -> Any:
        calls[part.name] += 1
        return part(*args, **kwargs)

    keras.models.clone_model(network, clone_function=lambda part: part, call_function=count)
    return calls


def _smallest_size(row: Backbone, model: keras.Model, own_size: int | None) -> int:
    if own_size is None:
        return 1
    try:
        build_own(row, model, 2 * own_size, "random")
    except UserError:
        return own_size
    return 1
