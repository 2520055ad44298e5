"""Plan -> Keras model, and the only place that sets `trainable`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from strategies.aside import Aside
from strategies.backbones import Backbone, get_backbone, stages_at
from strategies.cache import FeatureCache, make_key
from strategies.engines import choose_engine
from strategies.features import frozen_pass, has_gpu, stage_network
from strategies.plan import NewLayer, Phase, Plan
from strategies.pretrained import build_backbone, stage_layers

if TYPE_CHECKING:
    import keras

    from strategies.batches import Views
    from strategies.pixels import Pixels

POOL = "pool"


def resolve_precision(precision: str) -> str:
    """Returns the Keras policy that a plan's `precision` means here: `auto` is mixed where a GPU gains from it."""
    if precision != "auto":
        return precision
    return "mixed_float16" if has_gpu() else "float32"


def build_model(plan: Plan, *, precision: str = "float32") -> keras.Model:
    """Builds the model of a plan: what it keeps of the backbone with pretrained weights, and its new layers on top.

    The model takes RGB pixels 0-255 of shape `(image_size, image_size, 3)`, holds its own scaling and returns one
    probability per class. It is flat (no model within the model), so layers are found by name.

    Args:
        plan: What to build.
        precision: Keras policy of its layers: `float32`, `mixed_float16` or `mixed_bfloat16`; weights are float32.

    Raises:
        WeightsError: If the pretrained weights cannot be had.

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("head_only", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80,
        ...                             image_size=32, weights="random")
        >>> strategies.build_model(plan).output_shape
        (None, 2)
    """
    import keras

    keras.utils.set_random_seed(plan.seed)
    last = plan.last_stage
    dense = next(stage.dense for stage in plan.stages if stage.name == last)
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(precision)  # what keras.applications builds by
    try:
        backbone = build_backbone(
            get_backbone(plan.backbone), image_size=plan.image_size, weights=plan.weights, dense=dense, last_stage=last
        )
        return keras.Model(backbone.input, _put_on_top(backbone.output, plan), name=plan.recipe)
    finally:
        keras.mixed_precision.set_global_policy(policy)


def _put_on_top(outputs: keras.KerasTensor, plan: Plan) -> keras.KerasTensor:
    for layer in plan.new_layers:
        outputs = _add_layer(outputs, layer)
    return outputs


def _add_layer(inputs: keras.KerasTensor, layer: NewLayer) -> keras.KerasTensor:
    from keras import layers

    if layer.kind == "separable_conv":
        outputs = layers.SeparableConv2D(layer.units, 3, padding="same", use_bias=False, name=f"{layer.name}_conv")(
            inputs
        )
        outputs = layers.BatchNormalization(name=f"{layer.name}_bn")(outputs)
        return layers.ReLU(name=f"{layer.name}_relu")(outputs)
    outputs = layers.GlobalAveragePooling2D(name=POOL)(inputs) if len(inputs.shape) == 4 else inputs
    if layer.dropout:
        outputs = layers.Dropout(layer.dropout, name=f"{layer.name}_dropout")(outputs)
    return layers.Dense(layer.units, activation="softmax", dtype="float32", name=layer.name)(outputs)


def layers_by_stage(model: keras.Model, plan: Plan) -> dict[str, tuple[str, ...]]:
    """Returns the names of the model's layers by stage, new ones included; input, scaling and pooling are in none."""
    owners = stage_layers(model, get_backbone(plan.backbone))
    found = {name: layers for name, layers in owners.items() if name in plan.built_stages}
    names = [layer.name for layer in model.layers]
    for new in plan.new_layers:
        parts = {new.name, *(f"{new.name}_{part}" for part in ("conv", "bn", "relu", "dropout"))}
        found[new.name] = tuple(name for name in names if name in parts)
    return found


def count_parameters(plan: Plan, cache: FeatureCache | None = None) -> dict[str, int]:
    """Counts the weights of every stage of the plan, removed ones included.

    Args:
        plan: Any plan.
        cache: Where the counts of a backbone are kept, so that it need not be built to be counted.
    """
    row = get_backbone(plan.backbone)
    counts, channels = _stage_sizes(row, plan.image_size, any(stage.dense for stage in plan.stages), cache)
    width = channels[plan.last_stage]
    for layer in plan.new_layers:
        if layer.kind == "separable_conv":  # 3 x 3 of each channel, then all channels; four numbers for BatchNorm
            counts[layer.name] = 9 * width + width * layer.units + 4 * layer.units
        else:
            counts[layer.name] = (width + 1) * layer.units
        width = layer.units
    return counts


def _stage_sizes(
    row: Backbone, image_size: int, dense: bool, cache: FeatureCache | None
) -> tuple[dict[str, int], dict[str, int]]:
    """Returns the number of weights of every stage, and of the channels that come out of it."""
    stages = [stage.name for stage in stages_at(row, image_size, dense=dense)]
    counted = stage_counts(row, image_size, dense=dense, cache=cache)
    arrays = None
    if counted is not None:
        with suppress(RuntimeError):  # then Keras counts here
            arrays, _ = counted.arrays()
    sizes, widths = (dict(zip(stages, a.tolist(), strict=True)) for a in arrays or _count(row, image_size, dense))
    return sizes, widths


def stage_counts(row: Backbone, image_size: int, *, dense: bool, cache: FeatureCache | None) -> Aside | None:
    """Returns what is kept of a backbone so that it need not be built to be counted; `None` where nothing is.

    Args:
        row: The backbone.
        image_size: Side of its input in pixels.
        dense: Whether the fully connected stage counts.
        cache: Where it is kept.
    """
    if row.model is not None or cache is None or not cache.max_bytes:
        return None
    key = make_key(stage_sizes=1, backbone=repr(row), image_size=image_size, dense=dense, keras=version("keras"))
    return Aside(key=key, cache=cache, make=partial(_count, row, image_size, dense), here=choose_engine() != "openvino")


def _count(row: Backbone, image_size: int, dense: bool) -> list[np.ndarray]:
    network = build_backbone(row, image_size=image_size, weights="random", dense=dense)
    owners = stage_layers(network, row)
    stages = [stage.name for stage in stages_at(row, image_size, dense=dense)]
    counts = [sum(network.get_layer(name).count_params() for name in owners[stage]) for stage in stages]
    channels = [network.get_layer(owners[stage][-1]).output.shape[-1] for stage in stages]
    return [np.array(counts, dtype="int64"), np.array(channels, dtype="int64")]


def start_phase(model: keras.Model, plan: Plan, phase: Phase) -> None:
    """Sets `trainable` of every layer, and the momentum of every BatchNormalization, as the phase says.

    BatchNormalization in inference mode is a frozen layer: `training=False` at the call does not hold its statistics
    during `fit` in Keras 3.15. The caller must compile afterwards, with an optimizer that was not used before.
    """
    from keras.layers import BatchNormalization

    owner = {name: stage for stage, names in layers_by_stage(model, plan).items() for name in names}
    for layer in model.layers:
        stage = owner.get(layer.name)
        layer.trainable = stage in phase.trains
        if isinstance(layer, BatchNormalization) and layer.trainable:
            policy = phase.batch_norm.get(str(stage), {"mode": "inference"})
            layer.trainable = policy["mode"] == "train"
            if layer.trainable:
                layer.momentum = policy["momentum"]


def cut_at_frozen(model: keras.Model, plan: Plan, phase: Phase) -> tuple[keras.Model | None, keras.Model]:
    """Cuts the model where the frozen part ends, if all of the backbone is frozen and images are not augmented.

    The first part is then the same for every step: it runs once, and the second is trained on its output.
    """
    backbone = {*plan.kept_stages, *plan.rebuilt_stages}
    if phase.augmented or backbone & set(phase.trains):
        return None, model
    import keras

    end = layers_by_stage(model, plan)[plan.last_stage][-1]
    if len(plan.new_layers) == 1 and POOL in {layer.name for layer in model.layers}:
        end = POOL  # with only the classifier on top, its pooled input is all that is needed
    middle = model.get_layer(end).output
    return keras.Model(model.input, middle), keras.Model(middle, model.output)


def frozen_outputs(head: keras.Model, plan: Plan) -> list[str]:
    """Returns what comes out of the frozen part of a plan's model, by names for the key of the feature cache."""
    return [plan.last_stage, "pooled" if len(head.output.shape) == 2 else "maps"]


def pass_frozen(
    head: keras.Model,
    plan: Plan,
    phase: Phase,
    inputs: Pixels | Views,
    *,
    cache: FeatureCache | None,
    precision: str,
    description: str,
) -> np.ndarray:
    """Sends images through the frozen part of a plan's model, or takes from the cache what that gave before.

    Args:
        head: The frozen part, from `cut_at_frozen`.
        plan: What the model was built of.
        phase: The phase that trains on what comes out.
        inputs: Images.
        cache: `None` keeps nothing and reads nothing.
        precision: What the model computes in.
        description: What a progress bar says.
    """
    outputs = frozen_outputs(head, plan)
    last = plan.stages[-1]
    trained = {stage for earlier in plan.phases[: plan.phases.index(phase)] for stage in earlier.trains}
    is_pretrained = not trained & {*plan.kept_stages, *plan.rebuilt_stages}
    if cache is not None and is_pretrained and precision == "float32" and outputs == [last.name, "pooled"]:
        # The network that the advice has sent images through: it may be there in a faster form, and with its answers.
        stages = [stage.name for stage in plan.stages]
        network = stage_network(plan.backbone, stages, image_size=plan.image_size, weights=plan.weights, cache=True)
        if not last.dense and network.conversion is not None:
            return network.run(inputs, description=description)[-1]
    return frozen_pass(
        head,
        inputs,
        cache,
        backbone=plan.backbone,
        outputs=outputs,
        precision=precision,
        description=description,
    )[0]


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns a copy of every weight, by path."""
    from keras.ops import convert_to_numpy

    return {weight.path: np.array(convert_to_numpy(weight.value)) for weight in model.weights}


def moving_paths(model: keras.Model) -> set[str]:
    """Returns the paths of all weights that training changes: trainable ones, and moving statistics that move."""
    from keras.layers import BatchNormalization

    normed = (layer for layer in model.layers if isinstance(layer, BatchNormalization) and layer.trainable)
    return {weight.path for weight in (*model.trainable_weights, *(w for layer in normed for w in layer.weights))}
