"""Counts the weights of each stage of a plan, once per network."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from importlib.metadata import version

import numpy as np

from strategies.features.background import BackgroundJob
from strategies.features.cache import FeatureCache, make_key
from strategies.features.engines import choose_engine
from strategies.networks.backbones import CLASSIFIER, Backbone, stages_at
from strategies.networks.network import PretrainedNetwork
from strategies.networks.pretrained import build_backbone, stage_layers
from strategies.plans.plan import Plan


def count_parameters(plan: Plan, cache: FeatureCache | None = None) -> dict[str, int]:
    """Counts the weights of every stage of a plan, including the stages that it removes.

    Args:
        plan: Any plan.
        cache: Where the counts of a backbone are stored, so that it does not have to be built again just to be counted.
            `None` builds it each time.

    Returns:
        `{stage: number of weights}`, with the classifier.
    """
    counts, channels = _stage_sizes(plan.network, any(stage.dense for stage in plan.stages), cache)
    return counts | {CLASSIFIER: (channels[plan.last_stage] + 1) * len(plan.class_names)}


def count_job(network: PretrainedNetwork, *, dense: bool, cache: FeatureCache | None) -> BackgroundJob | None:
    """Returns the background job that counts the weights of a backbone's stages; `None` where nothing is cached.

    Args:
        network: The backbone and its input size. Its pretrained weights do not matter.
        dense: Whether to count the fully connected stage too.
        cache: Where the counts are stored.
    """
    row, size = network.row, network.image_size
    if row.model is not None or cache is None or not cache.max_bytes:
        return None
    key = make_key(stage_sizes=1, backbone=repr(row), image_size=size, dense=dense, keras=version("keras"))
    in_process = choose_engine() != "openvino"
    return BackgroundJob(key=key, cache=cache, make=partial(_count, row, size, dense), in_process=in_process)


def _stage_sizes(
    network: PretrainedNetwork, dense: bool, cache: FeatureCache | None
) -> tuple[dict[str, int], dict[str, int]]:
    """Returns, for every stage, its number of weights and the number of channels of its output."""
    stages = [stage.name for stage in network.stages(dense=dense)]
    job = count_job(network, dense=dense, cache=cache)
    arrays = None
    if job is not None:
        with suppress(RuntimeError):  # then count in this process
            arrays, _ = job.arrays()
    arrays = arrays or _count(network.row, network.image_size, dense)
    sizes, widths = (dict(zip(stages, array.tolist(), strict=True)) for array in arrays)
    return sizes, widths


def _count(row: Backbone, image_size: int, dense: bool) -> list[np.ndarray]:
    built = build_backbone(row, image_size=image_size, weights="random", dense=dense)
    owners = stage_layers(built, row)
    stages = [stage.name for stage in stages_at(row, image_size, dense=dense)]
    counts = [sum(built.get_layer(name).count_params() for name in owners[stage]) for stage in stages]
    channels = [built.get_layer(owners[stage][-1]).output.shape[-1] for stage in stages]
    return [np.array(counts, dtype="int64"), np.array(channels, dtype="int64")]
