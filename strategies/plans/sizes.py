"""Counts what each stage of a plan holds and computes, from the shapes of its layers, once per network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from functools import lru_cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from strategies.data.channels import RGB
from strategies.features.background import BackgroundJob
from strategies.features.cache import FeatureCache, make_key
from strategies.features.engines import choose_engine
from strategies.networks.backbones import CLASSIFIER, Backbone, get_backbone
from strategies.networks.network import PretrainedNetwork
from strategies.networks.pretrained import build_backbone, stage_layers
from strategies.plans.plan import Plan

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class StageSize:
    """What a stage holds and computes. The last two are for one image.

    Attributes:
        weights: Number of weights.
        channels: Number of channels of its output.
        layers: Number of layers.
        multiply_adds: Multiplications, each with its addition, of convolutions and fully connected layers. Other layers
            count as none.
        activations: Number of values in the outputs of all layers.
    """

    weights: int
    channels: int
    layers: int
    multiply_adds: int
    activations: int


def count_stages(plan: Plan, cache: FeatureCache | None = None) -> dict[str, StageSize]:
    """Counts what every stage of a plan holds and computes, including the stages that it removes.

    Args:
        plan: Any plan.
        cache: Where the counts of a backbone are stored, so that it does not have to be built again just to be counted.
            With `None`, or for a user's own model, this process builds it.

    Returns:
        `{stage: its size}`, with the classifier.

    Example:
        >>> import strategies
        >>> from strategies.plans.sizes import count_stages
        >>> plan = strategies.make_plan("head_only", "MobileNet-0.25", class_names=["cat", "dog"], num_train=80)
        >>> sizes = count_stages(plan)
        >>> sizes["classifier"].weights, sum(size.multiply_adds for size in sizes.values()) // 10**6
        (514, 40)
    """
    dense = any(stage.dense for stage in plan.stages)
    sizes = _stage_sizes(plan.network, dense, cache)
    channels, classes = sizes[plan.last_stage].channels, len(plan.class_names)
    top = StageSize(
        weights=(channels + 1) * classes,
        channels=classes,
        layers=1,
        multiply_adds=channels * classes,
        activations=classes,
    )
    return sizes | {CLASSIFIER: top}


def count_parameters(plan: Plan, cache: FeatureCache | None = None) -> dict[str, int]:
    """Counts the weights of every stage of a plan; see `count_stages`.

    Returns:
        `{stage: number of weights}`, with the classifier.
    """
    return {stage: size.weights for stage, size in count_stages(plan, cache).items()}


def count_job(network: PretrainedNetwork, *, dense: bool, cache: FeatureCache | None) -> BackgroundJob | None:
    """Returns the background job that counts what a backbone's stages hold and compute; `None` if nothing is cached.

    Args:
        network: The backbone and its input size. Its pretrained weights do not matter.
        dense: Whether to count the fully connected stage too.
        cache: Where the counts are stored.
    """
    row, size = network.row, network.image_size
    if row.is_own or cache is None or not cache.max_bytes:
        return None
    bands = {} if network.num_channels == RGB else {"channels": network.num_channels}
    key = make_key(stage_sizes=2, backbone=repr(row), image_size=size, dense=dense, keras=version("keras"), **bands)
    in_process = choose_engine() != "openvino"
    return BackgroundJob(
        key=key, cache=cache, make=partial(_count, row, size, dense, network.num_channels), in_process=in_process
    )


def _stage_sizes(network: PretrainedNetwork, dense: bool, cache: FeatureCache | None) -> dict[str, StageSize]:
    job = count_job(network, dense=dense, cache=cache)
    arrays = None
    if job is not None:
        with suppress(RuntimeError):  # then count in this process
            arrays, _ = job.arrays()
    (counts,) = arrays or _count_here(
        network.backbone, network.row.model, network.image_size, dense, network.num_channels
    )
    stages = [stage.name for stage in network.stages(dense=dense)]
    names = [item.name for item in fields(StageSize)]
    return {
        stage: StageSize(**dict(zip(names, row, strict=True)))
        for stage, row in zip(stages, counts.tolist(), strict=True)
    }


@lru_cache(maxsize=8)
def _count_here(
    backbone: str, model: keras.Model | None, image_size: int, dense: bool, num_channels: int
) -> list[np.ndarray]:
    """Counts in this process, once for all plans. `model` tells apart users' own models that had the same name."""
    return _count(get_backbone(backbone), image_size, dense, num_channels)


def _count(row: Backbone, image_size: int, dense: bool, num_channels: int) -> list[np.ndarray]:
    """Returns one array, with a row for each stage and a column for each field of `StageSize`."""
    channels = range(1, num_channels + 1)
    built = build_backbone(row, image_size=image_size, weights="random", dense=dense, channels=channels)
    stages = stage_layers(built, row).values()
    sizes = [_size([built.get_layer(name) for name in names]) for names in stages]
    return [np.array([astuple(size) for size in sizes], dtype="int64")]


def _size(layers: Sequence[keras.Layer]) -> StageSize:
    from strategies.networks.backend import keras

    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    with_kernels = (*convolutions, keras.layers.Dense, keras.layers.EinsumDense)
    multiply_adds = activations = 0
    for layer in layers:
        shapes = [output.shape[1:] for output in keras.tree.flatten(layer.output)]
        activations += sum(map(math.prod, shapes))
        # Each value of a kernel is used once at each place of the output, or of the output of the layer that it is in.
        parts = [part for part in layer._flatten_layers() if isinstance(part, with_kernels)]
        kernels = (math.prod(weight.shape) for part in parts for weight in part.weights if len(weight.shape) > 1)
        multiply_adds += math.prod(shapes[0][:-1]) * sum(kernels)
    return StageSize(
        weights=sum(layer.count_params() for layer in layers),
        channels=layers[-1].output.shape[-1],
        layers=len(layers),
        multiply_adds=multiply_adds,
        activations=activations,
    )
