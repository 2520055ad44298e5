"""Which pretrained network to transfer: several are compared on the user's images, by accuracy, speed and size."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from advisor.measure.input_size import fitting_size
from advisor.measure.probes import MAX_IMAGES, DepthCurve, probe
from advisor.measure.profile import profile_dataset
from advisor.measure.sampling import sample
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.pixels import PixelCache, Pixels
from strategies.display.progress import note
from strategies.errors import DatasetError, UserError
from strategies.features.cache import default_cache
from strategies.features.extraction import stage_extractor
from strategies.features.extractor import FeatureExtractor
from strategies.networks.backbones import BACKBONES
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import BUNDLED, BUNDLED_BACKBONE, choose_network, is_cached
from strategies.training.metrics import wilson_interval

TIMED_IMAGES, TIMED_RUNS = 32, 3  # the fastest run counts: others were disturbed


@dataclass(frozen=True, kw_only=True)
class MeasuredBackbone:
    """How a pretrained network does on the user's images, with all its layers frozen and a new head.

    Attributes:
        network: The network with its input size.
        accuracy: Cross-validated accuracy of a new head, a fraction. Each image is held out once.
        low: Lower end of its 95% confidence interval.
        high: Upper end.
        milliseconds: Time of one image on this machine, without reading and decoding it, in a pass over many.
        megabytes: Size of the weights without the head, as float32 numbers, in millions of bytes.
        efficient: Whether no other network is at least as accurate and faster, or as fast and more accurate.
        allowed: Whether it is within the limits that were given.
    """

    network: PretrainedNetwork
    accuracy: float
    low: float
    high: float
    milliseconds: float
    megabytes: float
    efficient: bool
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class BackboneComparison:
    """Pretrained networks that were compared on the user's images.

    Attributes:
        rows: The networks, the most accurate first; of equal ones, the fastest first.
        recommended: The first one within the limits; `None` if there is none.
        num_images: Number of images that were held out.
        chance: Share of the most frequent class.
    """

    rows: tuple[MeasuredBackbone, ...]
    recommended: MeasuredBackbone | None
    num_images: int
    chance: float

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def compare_backbones(
    images: Any,
    backbones: Sequence[str] | None = None,
    *,
    image_sizes: Sequence[int] | None = None,
    max_ms: float | None = None,
    max_mb: float | None = None,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    cache: bool = True,
    **columns: Any,
) -> BackboneComparison:
    """Compares pretrained networks on your images: accuracy of a new head, time per image, and size.

    Use it to choose `backbone` and `image_size` of `advisor.recommend`. The images go through each network once, and
    the features are cached, so that `recommend` need not compute them again.

    Args:
        images: Labeled images: anything `advisor.recommend` takes. Test images, where a split is given, take no part.
        backbones: Names that `advisor backbones` lists. Default: all whose weights are on this machine.
        image_sizes: Sides of the square input in pixels; every network is tried at each. Default: one size for each
            network, the one that `advisor.recommend` takes.
        max_ms: Largest time per image that is allowed, in milliseconds.
        max_mb: Largest size of the weights that is allowed, in megabytes.
        max_images: Largest number of images; above it, a random sample with every class in it is used.
        seed: Seed of the sample and of the folds.
        cache: Whether frozen features are cached on disk.
        **columns: For tables and folders, as in `recommend`.

    Returns:
        A `BackboneComparison`.

    Raises:
        DatasetError: If the images or labels cannot be used, or no image can be held out.
        UnknownNameError: If there is no such backbone.
        WeightsError: If the weights of a named backbone are not available.

    Reference:
        Kornblith et al. 2019, Do Better ImageNet Models Transfer Better? (arXiv:1805.08974)

    Example:
        >>> import advisor, numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
        >>> found = advisor.compare_backbones(
        ...     (images, ["cat", "dog"] * 6), ["MobileNetV2-0.35"], image_sizes=[32, 64])
        >>> sorted(row.network.image_size for row in found.rows), found.num_images
        ([32, 64], 12)
    """
    for name, limit in (("max_ms", max_ms), ("max_mb", max_mb)):
        if limit is not None and not limit > 0:
            raise UserError(f"Expected a limit above 0. Received: {name}={limit}. Give a larger one, or leave it out.")
    dataset = load_dataset(images, **columns)
    if dataset.split is not None:
        dataset = dataset.subset(np.flatnonzero(np.array(dataset.split) != "test"))
    dataset = dataset.subset(sample(dataset.labels, max_images, seed))
    networks = _networks(dataset, backbones, image_sizes)
    pixel_cache = PixelCache(sorted({network.image_size for network in networks}), len(dataset))
    _, dataset = profile_dataset(dataset, seed=seed, cache=cache, pixel_cache=pixel_cache)
    dataset = dataset.without_copies()
    found = {}
    for network in networks:
        note(f"Measuring {network}")
        extractor = stage_extractor(network, cache=default_cache() if cache else None)
        curve = probe(dataset, extractor, seed=seed, pixel_cache=pixel_cache, every_stage=False).curve
        if curve is None:
            raise DatasetError(
                f"Expected two classes with two images each, so that images can be held out. Received: "
                f"{dataset.source!r}. Add images."
            )
        found[network] = curve, _milliseconds(extractor, dataset, pixel_cache)
    return _compare(found, max_ms, max_mb)


def _networks(
    dataset: ImageDataset, backbones: Sequence[str] | None, image_sizes: Sequence[int] | None
) -> list[PretrainedNetwork]:
    """Returns the networks to compare, each at its input sizes. Nothing is downloaded unless it was named."""
    if backbones is None:
        here = [choose_network(name).network for name, row in BACKBONES.items() if is_cached(row)]
        if not any(network.backbone == BUNDLED_BACKBONE for network in here):
            here.append(choose_network(weights=BUNDLED).network)
    else:
        here = [choose_network(name).network for name in dict.fromkeys(backbones)]
    return [
        network.of(dataset.items).at(size)
        for network in here
        for size in dict.fromkeys(image_sizes or [fitting_size(network, dataset.items)])
    ]


def _milliseconds(extractor: FeatureExtractor, dataset: ImageDataset, pixel_cache: PixelCache) -> float:
    network = extractor.network
    pixels = Pixels(dataset.items[:TIMED_IMAGES], network.image_size, pixel_cache, network.num_channels)[:]
    laps = []
    for _ in range(1 + TIMED_RUNS):  # the first run compiles the network
        started = time.perf_counter()
        extractor.run(pixels, description="")
        laps.append(time.perf_counter() - started)
    return 1000 * min(laps[1:]) / len(pixels)


def _compare(
    found: Mapping[PretrainedNetwork, tuple[DepthCurve, float]], max_ms: float | None, max_mb: float | None
) -> BackboneComparison:
    rows = []
    for network, (curve, milliseconds) in found.items():
        low, high = wilson_interval(round(curve.accuracy[-1] * curve.num_images), curve.num_images)
        megabytes = network.row.megabytes
        rows.append(
            MeasuredBackbone(
                network=network,
                accuracy=curve.accuracy[-1],
                low=low,
                high=high,
                milliseconds=milliseconds,
                megabytes=megabytes,
                efficient=not any(
                    other.accuracy[-1] >= curve.accuracy[-1]
                    and time <= milliseconds
                    and (other.accuracy[-1], time) != (curve.accuracy[-1], milliseconds)
                    for other, time in found.values()
                ),
                allowed=(max_ms is None or milliseconds <= max_ms) and (max_mb is None or megabytes <= max_mb),
            )
        )
    rows.sort(key=lambda row: (-row.accuracy, row.milliseconds))
    curve, _ = next(iter(found.values()))
    return BackboneComparison(
        rows=tuple(rows),
        recommended=next((row for row in rows if row.allowed), None),
        num_images=curve.num_images,
        chance=curve.chance,
    )
