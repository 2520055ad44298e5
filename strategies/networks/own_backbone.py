"""Adds a user's own `keras.Model` to the backbones: checks it, copies it and gives it a row."""

from __future__ import annotations

import math
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
    HUB,
    KERAS_FILE,
    POOLING,
    PREPROCESSING,
    RESERVED_LAYERS,
    Backbone,
    Preprocessing,
    Stage,
    get_backbone,
)
from strategies.networks.backend import usual_settings
from strategies.networks.flattening import copy_model, name_leaves
from strategies.networks.normalization import batch_norms
from strategies.networks.pretrained import build_own, stage_layers
from strategies.networks.unfolding import EQUAL, copy_whole, find_stages, image_path, largest_difference, unfold

if TYPE_CHECKING:
    import keras

MOST_ROUNDING = 0.01  # of the output of a copy; rounding in half precision is smaller
STATISTICS = {"moving_mean", "moving_variance"}  # weights that training changes without a gradient


@usual_settings()
def add_backbone(
    name: str,
    model: keras.Model | str | Path,
    *,
    stages: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
    preprocessing: str | Preprocessing = "none",
    default_cut: str | None = None,
    image_size: int | None = None,
    pooling: str | None = None,
    prefix_tokens: int | None = None,
    source: str = "",
) -> Backbone:
    """Adds your own model to the backbones. In this process, every function that takes a backbone then knows its name.

    The model is copied with its current weights. Training never changes your model, and later changes to your model do
    not change the backbone. Nested models are flattened, so a stage may end inside one of them.

    Args:
        name: Its name in plans and reports. A backbone that you added under that name before is replaced. A name that
            is the path of a `.keras` file is loaded from there in later processes.
        model: A functional or Sequential model without its classifier, such as a `keras_hub.models.Backbone`, from RGB
            images (channels last) to a feature map, to tokens or to one vector per image; or the path of a `.keras`
            file. A file is loaded immediately, in Keras' safe mode; if your model cannot be loaded in safe mode, load
            it yourself. Subclassed models are refused, since their layers are not known.
        stages: `{stage: name of its last layer}` in order from the image to the end of the model, at least two. The
            last stage ends the model; all others end in a feature map or in tokens. If a layer of a nested model has
            the same name as another layer, its name is `{name of its model}_{name}`. Default: four to six stages are
            found where the resolution changes, or between the blocks of a transformer. Layers that are made of other
            layers are taken apart for that, and the copy gives the same output to 1e-5, or the model is refused.
        preprocessing: How pixels of 0-255 are scaled before they enter the model: `"none"` if the model takes them
            unscaled; `"-1..1"`, `"torch"` or `"caffe"` as in Keras' `preprocess_input`. A key of `PREPROCESSING`, or a
            `Preprocessing` with a scale and an offset per channel.
        default_cut: The last stage that `keep_early_layers` keeps. Default: the end of the first third of the stages.
        image_size: Side of the square images in pixels. Default: the model's own input size.
        pooling: How the tokens of a transformer become one vector per image: `"mean"`, the mean of the tokens of image
            patches, or `"class_token"`, the first token. A key of `POOLING`. Default: the class token if there are
            prefix tokens.
        prefix_tokens: How many tokens come before those of the image patches: a class token and registers. Default:
            counted, for a model that has a `patch_size` as those of KerasHub; otherwise none.
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

    _check_name(name)
    if isinstance(model, str | Path):
        model = _load(Path(model))
    given, named = model, stages is not None
    if not named:
        model = image_path(model)
    own_size = _check_graph(model)
    size = image_size or own_size
    if size is None:
        _refuse("image_size for a model whose input has no fixed size", "none", "Give image_size")
    known = [key for key, row in PREPROCESSING.items() if set(row.factor) == {1.0}]
    if isinstance(preprocessing, str) and preprocessing not in known:
        raise unknown_name("preprocessing", preprocessing, known, hint="'none' leaves all scaling to the model.")
    if not named and own_size not in (None, size):
        _refuse(f"the input size of the model, {own_size} px", f"image_size={size}", "Leave image_size out")
    prefix = _count_prefix(model, size) if prefix_tokens is None else prefix_tokens
    pooled = pooling or ("class_token" if prefix else "mean")
    if pooled not in POOLING:
        raise unknown_name("pooling", pooled, POOLING)
    _check_tokens(model, pooled, prefix)
    if stages is not None:
        copied = copy_model(model)
    else:
        copied, inner = unfold(image_path(copy_whole(given)), size)
        stages = find_stages(copy_model(copied), inner)
        if len(stages) < 3:
            _refuse(
                "a network that can be cut between its layers",
                f"a {type(given).__name__} with a layer that holds nearly all others and cannot be taken apart",
                "Build the model from the layers within it, and name the stages",
            )
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
        pooling=pooled,
        prefix_tokens=prefix,
        default_cut=cut,
        source=source,
        parameters=copied.count_params(),
        found_stages=not named,
        model=copied,
    )
    network = build_own(row, copied, own_size or size, "own")
    if not (found := _difference(row, model, network)) < (MOST_ROUNDING if named else EQUAL):
        _refuse(
            "a model whose copy from configuration and weights gives the same output",
            f"a model whose copy differs by {found:.2g} of its largest output",
            "Look for a layer with other state, or a layer that is called with training=True",
        )
    _check_stages(row, network)
    if own_size not in (None, size):
        build_own(row, copied, size, "random")  # raises if the layers do not allow this size
    one_size = not named and not _fits_other_sizes(row, model, own_size)
    smallest = size if one_size else _smallest_size(row, copied, own_size)
    row = replace(
        row,
        has_batch_norm=bool(batch_norms(network)),
        has_tokens=any(len(getattr(layer.output, "shape", ())) == 3 for layer in network.layers),
        min_image_size=smallest,
        one_size=one_size,
    )
    BACKBONES[name] = row
    return row


def _refuse(expected: str, received: str, advice: str) -> NoReturn:
    raise UserError(f"Expected {expected}. Received: {received}. {advice}.")


def _check_name(name: str) -> None:
    if isinstance(name, str) and (name.startswith(HUB) or name.endswith(KERAS_FILE)):
        return
    if not isinstance(name, str) or not name.strip() or "/" in name:
        _refuse("a name for the backbone, without '/'", repr(name), "Give a name that reports can use")
    try:
        known = get_backbone(name)
    except UnknownNameError:
        return
    if not known.is_own:
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
    if len(ends_in) not in (2, 3, 4):
        _refuse(
            "a model that ends in a feature map, in tokens or in a vector",
            f"shape {ends_in}",
            "End it earlier, or pool its output",
        )
    return next(iter(sides), None)


def _count_prefix(model: keras.Model, size: int) -> int:
    """Returns how many tokens come before those of the image patches, where the model tells the size of these."""
    shape, patch = model.outputs[0].shape, getattr(model, "patch_size", None)
    if len(shape) != 3 or shape[1] is None or patch is None:
        return 0
    return max(0, shape[1] - (size // (patch if isinstance(patch, int) else patch[0])) ** 2)


def _check_tokens(model: keras.Model, pooling: str, prefix_tokens: int) -> None:
    """Checks that a model has the tokens that its pooling is for."""
    shape = tuple(model.outputs[0].shape)
    if len(shape) != 3 and (pooling, prefix_tokens) != ("mean", 0):
        _refuse(
            "a pooling of tokens only for a model that ends in tokens",
            f"pooling={pooling!r} and prefix_tokens={prefix_tokens} for shape {shape}",
            "Leave them out",
        )
    if len(shape) == 3 and not 0 <= prefix_tokens < (shape[1] or math.inf):
        _refuse("prefix_tokens below the number of tokens", f"{prefix_tokens} for shape {shape}", "Count them again")


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


def _difference(row: Backbone, model: keras.Model, network: keras.Model) -> float:
    """Returns how much the output of the copy differs: a layer may have state outside weights and configuration."""
    from strategies.networks.backend import keras

    size = network.input_shape[1]
    pixels = np.random.default_rng(0).uniform(0, 255, (model.inputs[0].shape[0] or 1, size, size, 3)).astype("float32")
    scaling = row.scaling
    scaled = pixels if scaling.scale is None else pixels * np.array(scaling.scale) + np.array(scaling.offset)
    given = scaled[..., list(scaling.order)].astype("float32")
    # The model may take its input in a list or a dictionary.
    inputs = given if isinstance(model, keras.Sequential) else keras.tree.map_structure(lambda _: given, model.input)
    return largest_difference(model(inputs, training=False), network(pixels, training=False))


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
        if stage is not row.stages[-1] and len(output.shape) not in (3, 4):
            _refuse(
                "stages that end in a feature map or in tokens, except the last",
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
        known = {id(weight) for norm in batch_norms(layer) for weight in norm.weights}
        if any(weight.name in STATISTICS and id(weight) not in known for weight in layer.weights):
            _refuse(
                "moving statistics only in keras.layers.BatchNormalization, so that a plan can freeze them",
                f"{layer.name!r}, a {type(layer).__name__} that has its own",
                "Build it with that layer",
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


def _fits_other_sizes(row: Backbone, model: keras.Model, own_size: int | None) -> bool:
    """Returns whether a model that was taken apart at one size gives the output of the original at another."""
    if own_size is not None:
        return False  # the original takes no other size, so that nothing can be compared
    try:
        return _difference(row, model, build_own(row, row.model, 2 * row.image_size, "own")) < EQUAL
    except Exception:  # the layers of either may refuse the size, with any error
        return False


def _smallest_size(row: Backbone, model: keras.Model, own_size: int | None) -> int:
    if own_size is None:
        return 1
    try:
        build_own(row, model, 2 * own_size, "random")
    except UserError:
        return own_size
    return 1
