"""Feature extraction: the output of a frozen pretrained network at chosen stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.cluster import on_ray
from strategies.data.decoding import note_range
from strategies.data.encoded import SQUEEZE
from strategies.data.loading import load_images
from strategies.data.pixels import PixelCache, Pixels
from strategies.data.resizing import check_resize, with_resize
from strategies.data.value_range import FULL_RANGE, with_range
from strategies.errors import unknown_name
from strategies.features.cache import FeatureCache, default_cache
from strategies.features.extractor import FeatureExtractor
from strategies.features.forward import forward, run_pass
from strategies.networks.backbones import get_backbone, resolve_weights
from strategies.networks.network import PretrainedNetwork
from strategies.networks.pooling import crop_of, pool
from strategies.networks.pretrained import build_network
from strategies.networks.weights import native_size

if TYPE_CHECKING:
    import keras


def extract_features(
    images: Any,
    backbone: str = "MobileNetV2",
    *,
    stages: Sequence[str] | None = None,
    image_size: int | None = None,
    weights: str = "auto",
    pool: bool = True,
    cache: bool = True,
    image_bits: int = FULL_RANGE,
    resize: str = SQUEEZE,
    channels: Sequence[int] | None = None,
    ray: str | None = None,
) -> dict[str, np.ndarray]:
    """Computes features of images at chosen stages of a pretrained backbone, for a model of your own.

    Use it to train any model on pretrained features, instead of training a network with frozen layers: the frozen
    layers run only once per image.

    Args:
        images: A folder, a list of files, an array `(num_images, height, width, channels)` of values 0-255, a
            `tf.data.Dataset` or an `ImageDataset`. Labels are not needed.
        backbone: A name that `advisor backbones` lists.
        stages: Names of stages. Default: only the last convolutional stage.
        image_size: Side of the square input in pixels. Default: the best input size of the weights.
        weights: `"auto"` (ImageNet weights, or the weights of your own model), `"bundled"`, `"random"`, or the path of
            a weights file.
        pool: Whether to pool the features to one vector per image: feature maps are averaged, tokens are pooled as the
            backbone's row says. `False` returns feature maps and tokens.
        cache: Whether to store pooled features on disk and to read them from there.
        image_bits: How many bits the values of 16-bit images have: 8, 10, 12, 14 or 16.
        resize: How images become squares: `"squeeze"`, `"crop"` or `"pad"`, as in `strategies.make_plan`.
        channels: As in `strategies.load_dataset`.
        ray: The Ray cluster whose workers decode and compute: `"local"`, `"auto"` or an address; see
            `strategies.on_ray`. Default: none.

    Returns:
        `{stage: array}`; the shape is `(num_images, channels)` if pooled, otherwise `(num_images, height, width,
        channels)` or `(num_images, tokens, channels)`.

    Raises:
        UnknownNameError: If the backbone, a stage or the way to resize does not exist.
        WeightsError: If the weights are not available.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> photos = np.zeros((4, 32, 32, 3), dtype="uint8")
        >>> features = strategies.extract_features(
        ...     photos, "MobileNetV2-0.35", stages=["stem"], image_size=32, weights="random")
        >>> features["stem"].shape
        (4, 16)
    """
    row = get_backbone(backbone)
    network = PretrainedNetwork(
        backbone=row.name, weights=resolve_weights(row, weights), image_size=image_size or native_size(row, weights)
    )
    known = [stage.name for stage in network.stages(dense=False)]
    wanted = list(stages) if stages is not None else known[-1:]
    for name in wanted:
        if name not in known:
            raise unknown_name(f"stage of {row.name}", name, known)
    check_resize(resize)
    with on_ray(ray):
        items = load_images(images, channels=channels).items
        note_range(items, image_bits)
        items = with_resize(with_range(items, image_bits), resize)
        network = network.of(items)
        if pool:
            extractor = stage_extractor(network, wanted, cache=default_cache() if cache else None)
            return extract_stages(extractor, items)
        from strategies.networks.backend import keras

        built, pixels = build_network(network), Pixels(items, network.image_size, None, network.num_channels)
        model = keras.Model(built.input, _maps(built, network, wanted))
        values = run_pass(partial(forward, model), pixels, "Extracting features")
        return dict(zip(wanted, values, strict=True))


def extract_stages(
    extractor: FeatureExtractor, items: Sequence[Any], pixel_cache: PixelCache | None = None
) -> dict[str, np.ndarray]:
    """Returns the pooled features of every stage of an extractor, from one pass or from the cache.

    Args:
        extractor: From `stage_extractor`.
        items: As `ImageDataset.items` holds them.
        pixel_cache: Pixels and digests that are known already.

    Returns:
        `{stage: array}`, each array of shape `(num_images, channels)`.
    """
    network = extractor.network
    pixels = Pixels(items, network.image_size, pixel_cache, network.num_channels)
    values = extractor.run(pixels, description="Extracting features")
    return dict(zip(extractor.outputs, values, strict=False))  # the last name, "pooled", has no array


def stage_extractor(
    network: PretrainedNetwork, stages: Sequence[str] | None = None, *, cache: FeatureCache | None
) -> FeatureExtractor:
    """Returns a feature extractor for stages of a network. Features are pooled to one vector per image.

    Args:
        network: The pretrained network.
        stages: Names of stages. Default: all but fully connected ones, in order from the image.
        cache: The cache for the converted network and its features; `None` keeps nothing.
    """
    names = [stage.name for stage in network.stages(dense=False)] if stages is None else list(stages)
    return FeatureExtractor(
        network=network,
        outputs=(*names, "pooled"),
        select=partial(_pool_stages, network=network, stages=tuple(names)),
        cache=cache,
    )


def _pool_stages(
    built: keras.Model, network: PretrainedNetwork, stages: Sequence[str]
) -> tuple[list[Any], list[np.ndarray]]:
    crop = crop_of(network.row, built)
    return [pool(value, crop) for value in _maps(built, network, stages)], []


def _maps(built: keras.Model, network: PretrainedNetwork, stages: Sequence[str]) -> list[Any]:
    """Returns the outputs of some stages of a built network."""
    ends = {stage.name: stage.last_layer for stage in network.stages(dense=False)}
    last = list(ends)[-1]
    return [built.output if name == last else built.get_layer(ends[name]).output for name in stages]
