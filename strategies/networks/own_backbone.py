"""Adds a user's own `keras.Model` to the backbones: checks it, copies it and gives it a row."""

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
    CLASSIFIER,
    PREPROCESSING,
    RESERVED_LAYERS,
    Backbone,
    Stage,
    get_backbone,
)
from strategies.networks.backend import usual_settings
from strategies.networks.flattening import copy_model, name_leaves
from strategies.networks.pretrained import build_own, stage_layers

if TYPE_CHECKING:
    import keras


@usual_settings()
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
    """Adds your own model to the backbones. In this process, every function that takes a backbone then knows its name.

    The model is copied with its current weights. Training never changes your model, and later changes to your model do
    not change the backbone. Nested models are flattened, so a stage may end inside one of them.

    Args:
        name: Its name in plans and reports. A backbone that you added under that name before is replaced.
        model: A functional or Sequential model without its classifier, from RGB images (channels last) to a feature map
            or to one vector per image; or the path of a `.keras` file. A file is loaded immediately, in Keras' safe
            mode; if your model cannot be loaded in safe mode, load it yourself. Subclassed models are refused, since
            their layers are not known.
        stages: `{stage: name of its last layer}` in order from the image to the end of the model, at least two. The
            last stage ends the model; all others end in a feature map. If a layer of a nested model has the same name
            as another layer, its name is `{name of its model}_{name}`.
        preprocessing: How pixels of 0-255 are scaled before they enter the model: `"none"` if the model takes them
            unscaled; `"-1..1"`, `"torch"` or `"caffe"` as in Keras' `preprocess_input`. A key of `PREPROCESSING`.
        default_cut: The last stage that `keep_early_layers` keeps. Default: the end of the first third of the stages.
        image_size: Side of the square images in pixels. Default: the model's own input size.
        source: Where the model comes from, for reports.

    Returns:
        The row. Its `min_image_size` is 1 if the layers allow other input sizes than the model's own; otherwise it is
        the model's own input size.

    Raises:
        UserError: If the model cannot be used as a backbone with these stages. The message says why.
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
    from strategies.networks.backend import keras

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
        parameters=copied.count_params(),
        model=copied,
    )
    network = build_own(row, copied, own_size or size, "own")
    _check_answers(row, model, network)
    _check_stages(row, network)
    if own_size not in (None, size):
        build_own(row, copied, size, "random")  # raises if the layers do not allow this size
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    row = replace(row, has_batch_norm=bool(norms), min_image_size=_smallest_size(row, copied, own_size))
    BACKBONES[name] = row
    return row


def _refuse(expected: str, received: str, advice: str) -> NoReturn:
    raise UserError(f"Expected {expected}. Received: {received}. {advice}.")


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.strip() or "/" in name:
        _refuse("a name for the backbone, without '/'", repr(name), "Give a name that reports can use")
    try:
        known = get_backbone(name)
    except UnknownNameError:
        return
    if known.model is None:
        _refuse("a new name for the backbone", f"{name!r}, a network of Keras", "Choose another name")


def _load(path: Path) -> keras.Model:
    from strategies.networks.backend import keras

    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras and h5py raise different errors, depending on version and fault
        raise UserError(
            f"Expected a .keras file that Keras loads in safe mode. Received: {str(path)!r} ({in_a_sentence(error)}). "
            f"Check the path, or load the model yourself and pass it."
        ) from error


def _check_graph(model: Any) -> int | None:
    """Checks that a model can be a backbone. Returns the side of its input, or `None` if that is not fixed."""
    from strategies.networks.backend import keras

    functional = isinstance(model, keras.Function) or (isinstance(model, keras.Sequential) and model.built)
    if not isinstance(model, keras.Model) or not functional:
        what = f"a {type(model).__name__}"
        advice = "Build it with keras.Model(inputs, outputs), or give a Sequential model its keras.Input"
        _refuse("a functional keras.Model, whose layers are known", what, advice)
    if (len(model.inputs), len(model.outputs)) != (1, 1):
        counts = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        _refuse("a model with one input and one output", counts, "Build keras.Model(image, features) from its layers")
    shape, ends_in = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    sides = {side for side in shape[1:3] if side is not None}
    if len(shape) != 4 or shape[3] != 3 or len(sides) > 1:
        _refuse("an input of square RGB images, (None, side, side, 3)", str(shape), "Build the model on such an input")
    if len(ends_in) not in (2, 4):
        _refuse(
            "a model that ends in a feature map or in a vector",
            f"shape {ends_in}",
            "End it earlier, or pool its output",
        )
    return next(iter(sides), None)


def _resolve_stages(
    name: str, model: keras.Model, stages: Mapping[str, str] | Sequence[tuple[str, str]]
) -> tuple[Stage, ...]:
    """Returns the stages; layer names are those of the flat model."""
    from strategies.networks.backend import keras

    pairs = [tuple(pair) for pair in (stages.items() if isinstance(stages, Mapping) else stages)]
    if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs):
        _refuse("two or more stages as {name: last layer}", f"stages={stages!r}", "Name the layer that ends each stage")
    names = [stage for stage, _ in pairs]
    if len(set(names)) < len(names) or {"top", CLASSIFIER} & set(names):
        _refuse(
            f"different names of stages, none of them top or {CLASSIFIER}",
            ", ".join(map(str, names)),
            "Rename the others",
        )
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
    """Checks that the copy gives the output of the model: a layer may have state outside weights and configuration."""
    from strategies.networks.backend import keras

    size = network.input_shape[1]
    pixels = np.random.default_rng(0).uniform(0, 255, (model.inputs[0].shape[0] or 1, size, size, 3)).astype("float32")
    scaling = PREPROCESSING[row.preprocessing]
    scaled = pixels if scaling.scale is None else pixels * np.array(scaling.scale) + np.array(scaling.offset)
    given = scaled[..., list(scaling.order)].astype("float32")
    # The model may take its input in a list or a dictionary.
    inputs = given if isinstance(model, keras.Sequential) else keras.tree.map_structure(lambda _: given, model.input)
    answers = keras.tree.flatten([model(inputs, training=False), network(pixels, training=False)])
    expected, found = (keras.ops.convert_to_numpy(answer).astype("float64") for answer in answers)
    difference = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12)
    if not difference < 0.01:  # rounding in half precision is smaller
        _refuse(
            "a model whose copy from configuration and weights gives the same output",
            f"a model whose copy differs by {difference:.0%}",
            "Look for a layer with other state, or a layer that is called with training=True",
        )


def _check_stages(row: Backbone, network: keras.Model) -> None:
    """Checks that the stages exist in the graph and that each of their layers can be frozen and trained."""
    from strategies.networks.backend import keras

    _check_layers(network)
    owned = stage_layers(network, row)
    previous = ""
    for stage in row.stages:
        if stage.last_layer not in owned[stage.name]:
            _refuse(
                "stages with at least one layer each, not counting scaling",
                f"stage {stage.name!r} ending at {stage.last_layer!r}, which is scaling or belongs to an earlier stage",
                "End it at a later layer",
            )
        output = network.get_layer(stage.last_layer).output
        if previous and previous not in {layer.name for layer in keras.Model(network.input, output).layers}:
            _refuse(
                "stages in order from the image to the end, each on the path to the next",
                f"stage {stage.name!r} ending at {stage.last_layer!r}, which does not follow {previous!r}",
                "Put the stages in order, or end them at layers that all data passes through",
            )
        if stage is not row.stages[-1] and len(output.shape) != 4:
            _refuse(
                "stages that end in a feature map, except the last",
                f"stage {stage.name!r} ending at {stage.last_layer!r} with shape {tuple(output.shape)}",
                "Join it with the last stage",
            )
        previous = stage.last_layer
    if output is not network.output:
        _refuse(
            "a last stage that ends the model",
            f"stage {row.stages[-1].name!r} ending at {previous!r}, while the model ends at "
            f"{network.layers[-1].name!r}",
            "Name that layer, or give a model that ends at the last stage",
        )
    calls = _count_calls(network)
    for layer in network.layers:
        if calls[layer.name] > 1 and (layer.weights or layer.name in {stage.last_layer for stage in row.stages}):
            _refuse(
                "layers that are used only once, so that each belongs to one stage",
                f"{layer.name!r}, which is used {calls[layer.name]} times",
                "Build the model with a separate layer for each use",
            )


def _check_layers(network: keras.Model) -> None:
    from strategies.networks.backend import keras

    last = network.operations[-1]
    if isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax:
        _refuse(
            "a model without its classifier",
            f"a model that ends in the softmax of {last.name!r}",
            "Leave out the classifier: keras.Model(model.input, model.get_layer(NAME).output)",
        )
    for layer in network.layers:
        within = {weight.name for weight in layer.weights} & {"moving_mean", "moving_variance"}
        if within and not isinstance(layer, keras.layers.BatchNormalization):
            _refuse(
                "BatchNormalization as separate layers of the model, so that a plan can freeze them",
                f"{layer.name!r}, a {type(layer).__name__} that contains it",
                "Build the model from the layers inside it",
            )


def _count_calls(network: keras.Model) -> Counter[str]:
    """Returns how often each layer is used. Connects the layers of `network` once more."""
    from strategies.networks.backend import keras

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
