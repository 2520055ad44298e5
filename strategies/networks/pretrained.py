"""Builds the Keras model of a backbone: without nested models, with its scaling and its pretrained weights."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from strategies.data.channels import RGB, Mixing, mean_mixing, num_channels
from strategies.errors import UserError, WeightsError, in_a_sentence, unknown_name
from strategies.networks.backbones import (
    INPUT,
    MIXING,
    OUTPUT,
    PREPROCESSING_LAYER,
    RESERVED_LAYERS,
    Backbone,
    Preprocessing,
    model_of,
    resolve_weights,
    stages_at,
)
from strategies.networks.backend import usual_settings
from strategies.networks.efficientnet_lite import efficientnet_lite, set_state
from strategies.networks.flattening import copy_model, flatten
from strategies.networks.network import PretrainedNetwork
from strategies.networks.torch_file import read_state
from strategies.networks.weights import (
    BUNDLED,
    bundled_file,
    can_download,
    damaged_message,
    fault_of,
    no_weights_message,
    sizes_to_load,
    weights_files,
    weights_path,
)

if TYPE_CHECKING:
    import keras


@usual_settings()
def build_backbone(
    backbone: Backbone,
    *,
    image_size: int | None = None,
    weights: str = "auto",
    dense: bool = False,
    last_stage: str | None = None,
    weights_size: int | None = None,
    channels: Sequence[int] = (),
    mixing: Mixing = (),
) -> keras.Model:
    """Builds the pretrained network of a row as a functional model that scales its input itself.

    Args:
        backbone: A row of `BACKBONES`.
        image_size: Side of the square input in pixels. Default: the backbone's own input size.
        weights: `"imagenet"`: from Keras' cache, or downloaded by Keras. `"own"`: those of a user's own model.
            `"auto"`: `"own"` for a user's own model, otherwise `"imagenet"`. `"bundled"`: the small network in this
            package. `"random"`: not pretrained. Or the path of a weights file (`.h5` or `.weights.h5`) of the plain
            Keras network or of the user's model, or of the `model.keras` of a run with this backbone.
        dense: Whether to keep the fully connected stage (only VGG at its own input size).
        last_stage: The stage at which the model ends. Default: the last stage.
        weights_size: Input size whose ImageNet file is loaded, for backbones with several files. Default: the file for
            `image_size`; if that is not available, the file for the backbone's own input size.
        channels: As in `PretrainedNetwork`.
        mixing: Likewise.

    Returns:
        A model from RGB pixels 0-255, float32 of shape `(image_size, image_size, 3)`, or from as many channels as are
        named, to the output of `last_stage`.

    Raises:
        UserError: If the image size is too small, or there is no dense stage at that size.
        UnknownNameError: If `last_stage` does not exist.
        WeightsError: If the weights are not available or do not fit.

    Example:
        >>> from strategies.networks.backbones import get_backbone
        >>> from strategies.networks.pretrained import build_backbone
        >>> row = get_backbone("MobileNetV2-0.35")
        >>> build_backbone(row, image_size=96, weights="random", last_stage="stage2").output_shape
        (None, 12, 12, 16)
    """
    from strategies.networks.backend import keras

    size = backbone.image_size if image_size is None else image_size
    if size < backbone.min_image_size:
        raise UserError(
            f"{backbone.name} needs images of at least {backbone.min_image_size} px. Received: image_size={size}. "
            f"Give a larger image size."
        )
    stages = {stage.name: stage for stage in stages_at(backbone, size, dense=dense)}
    if dense and not any(stage.dense for stage in stages.values()):
        raise UserError(
            f"Expected a backbone with fully connected layers at its own input size (VGG at 224 px). Received: "
            f"dense=True for {backbone.name} at {size} px. Leave dense out, or change the image size."
        )
    end = list(stages)[-1] if last_stage is None else last_stage
    if end not in stages:
        raise unknown_name(f"stage of {backbone.name}", end, stages)

    run_model = Path(weights) if weights.endswith(".keras") else None
    if run_model is not None:
        weights = "random"  # replaced below
    if backbone.is_own:
        network = build_own(backbone, model_of(backbone), size, resolve_weights(backbone, weights))
    else:
        network = _construct(backbone, size, dense)
        if weights in ("auto", "imagenet"):
            _load_imagenet(network, backbone, size, weights_size, dense)
        elif weights == BUNDLED:
            _load_file(network, backbone, bundled_file(backbone))
        elif weights != "random":
            _load_file(network, backbone, Path(weights), dense)
        if weights != "random":
            _adapt_first_kernel(network, backbone.scaling)
        if any(isinstance(layer, keras.Model) for layer in network.layers):  # ConvNeXt has four
            network = flatten(network)
    if stages[end].last_layer == OUTPUT:
        output = keras.layers.Identity(name=OUTPUT)(network.outputs[0])
    else:
        output = network.get_layer(stages[end].last_layer).output
    model = keras.Model(network.inputs[0], output, name=backbone.name.replace("/", "_"))
    if num_channels(channels) != RGB:
        model = _with_mixing(model, mixing or mean_mixing(channels))
    if run_model is not None:
        _load_run(model, backbone, run_model)
    return model


def build_network(
    network: PretrainedNetwork,
    *,
    dense: bool = False,
    last_stage: str | None = None,
    weights_size: int | None = None,
) -> keras.Model:
    """Builds a pretrained network. Like `build_backbone`, with backbone, weights and input size in one value."""
    return build_backbone(
        network.row,
        image_size=network.image_size,
        weights=network.weights,
        dense=dense,
        last_stage=last_stage,
        weights_size=weights_size,
        channels=network.channels,
        mixing=network.mixing,
    )


def _with_mixing(model: keras.Model, mixing: Mixing) -> keras.Model:
    """Returns a network of any number of channels: a layer at its start mixes them into red, green and blue.

    A gray image, the same in all channels, gives what it gives as RGB if each row of `mixing` adds up to 1. In front of
    the scaling, this holds for every network, its preprocessing and its padding. It is the same as a first convolution
    with a slice for each channel, for any network that begins with one. The layer belongs to the first stage.
    """
    from strategies.networks.backend import keras

    size = model.input_shape[1]
    inputs = keras.Input((size, size, len(mixing[0])), name=INPUT)
    layer = keras.layers.Conv2D(RGB, 1, use_bias=False, dtype="float32", name=MIXING)
    mixed = flatten(keras.Model(inputs, model.call(layer(inputs)), name=model.name))
    mixed.get_layer(MIXING).set_weights([np.array(mixing, dtype="float32").T[None, None]])
    return mixed


def stage_layers(model: keras.Model, backbone: Backbone) -> dict[str, tuple[str, ...]]:
    """Returns the names of a model's layers by stage of its backbone, in topological order.

    The input, the preprocessing and layers on top of the backbone belong to no stage.

    Args:
        model: From `build_backbone`, whole or in part, with or without other layers on top.
        backbone: The row that it was built from.

    Returns:
        `{stage: names}` for the stages in the model. The last name is the layer that ends the stage.

    Raises:
        UserError: If the model has no stage of that backbone.

    Example:
        >>> from strategies.networks.backbones import get_backbone
        >>> from strategies.networks.pretrained import build_backbone, stage_layers
        >>> row = get_backbone("MobileNetV2-0.35")
        >>> stage_layers(build_backbone(row, image_size=32, weights="random"), row)["stem"]
        ('Conv1', 'bn_Conv1', 'Conv1_relu')
    """
    from strategies.networks.backend import keras

    # By type, since Keras numbers the names of layers that the network itself adds.
    input_layers = (keras.layers.InputLayer, keras.layers.Rescaling, keras.layers.Normalization)
    names = [layer.name for layer in model.layers]
    seen = {layer.name for layer in model.layers if isinstance(layer, input_layers)}
    found = {}
    for stage in backbone.stages:
        if stage.last_layer not in names:
            break
        ancestors = keras.Model(model.input, model.get_layer(stage.last_layer).output).layers
        own = {layer.name for layer in ancestors} - seen
        found[stage.name] = tuple(name for name in names if name in own)
        seen |= own
    if not found:
        raise UserError(
            f"Expected a model built on {backbone.name}. Received: {model.name!r}, which has no layer "
            f"{backbone.stages[0].last_layer!r}. Give the backbone that the model was built on."
        )
    return found


def build_own(backbone: Backbone, model: keras.Model, size: int, weights: str) -> keras.Model:
    """Builds a copy of a user's own model at an input size: without nested models, and with its scaling.

    Args:
        backbone: The row of the model.
        model: The user's model. It is not changed.
        size: Side of the square input in pixels.
        weights: `"own"`, `"random"`, or the path of a weights file of the model.

    Raises:
        UserError: If the layers do not allow that input size.
        WeightsError: If the file does not fit.
    """
    from strategies.networks.backend import keras

    if backbone.one_size and size != backbone.image_size:
        raise UserError(
            f"Expected the input size of {backbone.name}, {backbone.image_size} px: its layers were built for it. "
            f"Received: image_size={size}. Leave image_size out."
        )
    if weights not in ("own", "random"):
        model = copy_model(model)
        _load_file(model, backbone, Path(weights))
    inputs = keras.Input((size, size, 3), name=INPUT)
    row = backbone.scaling
    scaled = _scale(inputs, row)
    if row.order != (0, 1, 2):
        # Not in a kernel as for Keras' networks: the first convolution is not known, and there may be several.
        scaled = keras.ops.take(scaled, list(row.order), axis=-1)
    try:
        # Flattened first, since a nested model would require the input size that it was built for.
        outputs = flatten(copy_model(model, RESERVED_LAYERS)).call(scaled)
        return flatten(keras.Model(inputs, outputs), weights=weights != "random")
    except UserError:
        raise
    except Exception as error:  # any layer may refuse a shape, with any error
        raise UserError(
            f"Expected an image size that the layers of {backbone.name} allow, such as its own, {backbone.image_size} "
            f"px. Received: image_size={size} ({in_a_sentence(error)}). Leave image_size out."
        ) from error


def _scale(inputs: keras.KerasTensor, row: Preprocessing) -> keras.KerasTensor:
    from strategies.networks.backend import keras

    if row.scale is None:
        return inputs
    return keras.layers.Rescaling(list(row.scale), offset=list(row.offset), name=PREPROCESSING_LAYER)(inputs)


def _construct(backbone: Backbone, size: int, dense: bool, weights: str | None = None) -> keras.Model:
    """Returns the plain Keras network on top of the input and the scaling."""
    from strategies.networks.backend import keras

    inputs = keras.Input((size, size, 3), name=INPUT)
    scaled = _scale(inputs, backbone.scaling)
    constructor = efficientnet_lite if backbone.package else getattr(keras.applications, backbone.constructor)
    return constructor(
        include_top=dense,
        weights=weights,
        input_shape=(size, size, 3),
        input_tensor=scaled,
        **backbone.arguments,
    )


def _load_imagenet(network: keras.Model, backbone: Backbone, size: int, weights_size: int | None, dense: bool) -> None:
    """Loads ImageNet weights: a cached file before a download, and the file for `size` before the native one."""
    from strategies.networks.backend import keras

    imagenet = PretrainedNetwork(backbone=backbone.name, weights="imagenet", image_size=size)
    if backbone.package:
        if (path := weights_path(imagenet)) is None:
            raise WeightsError(no_weights_message(backbone, "its package is not installed"))
        set_state(network, read_state(path))
        return
    files = weights_files(backbone, sizes_to_load(backbone, size, weights_size), dense=dense)
    # The file is loaded here, since Keras ignores a cache that it cannot write to.
    if (path := weights_path(imagenet, weights_size, dense=dense)) is not None:
        _load_file(network, backbone, path, dense)
        return
    reason = "its server does not answer"
    for file_size in files.values() if can_download() else ():
        try:
            # Keras prints download progress on stdout, where a command may print its result.
            with contextlib.redirect_stdout(sys.stderr):
                pretrained = _construct(backbone, file_size, dense, weights="imagenet")
        except Exception as error:  # Keras raises plain Exceptions here
            reason = in_a_sentence(error)
        else:
            network.set_weights(pretrained.get_weights())
            for layer in network.layers:
                if isinstance(layer, keras.layers.Normalization):
                    layer.finalize_state()  # it computes values from its weights in advance
            return
    raise WeightsError(no_weights_message(backbone, reason, list(files)[-1]))


def _load_file(network: keras.Model, backbone: Backbone, path: Path, dense: bool = False) -> None:
    if not path.is_file() or path.suffix != ".h5":
        raise _no_file(backbone, path)
    if fault := fault_of(path):
        raise WeightsError(damaged_message(path, fault))
    try:
        network.load_weights(path)
    except Exception as error:  # h5py and Keras raise different errors, depending on version and fault
        arguments = "".join(f", {key}={value!r}" for key, value in backbone.arguments.items())
        plain = (
            f"{'' if backbone.package else 'keras.applications.'}{backbone.constructor}(include_top={dense}{arguments})"
        )
        raise WeightsError(
            f"Expected weights of {backbone.name if backbone.is_own else plain}. Received: "
            f"{str(path)!r}, which does not fit ({in_a_sentence(error)}). Give the file of this network."
        ) from error


def _load_run(network: keras.Model, backbone: Backbone, path: Path) -> None:
    """Loads the weights of a run's trained model: its layers have the same names and scale their input already."""
    from strategies.networks.backend import keras

    if not path.is_file():
        raise _no_file(backbone, path)
    try:
        trained = keras.models.load_model(path, compile=False)
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(trained.get_layer(layer.name).get_weights())
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # it computes values from its weights in advance
    except Exception as error:  # a broken file, code that Keras refuses to run, other layers or shapes
        raise WeightsError(
            f"Expected the model.keras of a run with {backbone.name}. Received: {str(path)!r}, which does not fit "
            f"({in_a_sentence(error)[:300]}). Name the backbone of the run, or another file."
        ) from error


def _no_file(backbone: Backbone, path: Path) -> WeightsError:
    known = "'own'" if backbone.is_own else "'imagenet', 'bundled'"
    why = "is none of these" if path.is_file() else "does not exist"
    return WeightsError(
        f"Expected weights {known}, 'random' or the path of an .h5, .weights.h5 or .keras file. Received: "
        f"{str(path)!r}, which {why}. Check the path."
    )


def _adapt_first_kernel(network: keras.Model, row: Preprocessing) -> None:
    from strategies.networks.backend import keras

    if (row.order, row.factor) == ((0, 1, 2), (1.0, 1.0, 1.0)):
        return
    first = next(layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *others = first.get_weights()
    kernel = kernel[:, :, list(row.order)]
    for channel, factor in enumerate(row.factor):
        kernel[:, :, channel] *= factor
    first.set_weights([kernel, *others])
