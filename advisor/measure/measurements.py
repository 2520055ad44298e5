"""Everything that is measured on a dataset before anything is decided, in one pass over its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.measure.examination import examine
from advisor.measure.probes import MAX_IMAGES, DepthCurve
from advisor.measure.profile import DatasetProfile, profile_dataset
from advisor.measure.similarity import Similarity, default_ruler, measure_dataset, moments_extractor
from strategies.data.dataset import ImageDataset
from strategies.data.decoding import peek_size
from strategies.data.pixels import PixelCache
from strategies.features.background import start_jobs
from strategies.features.cache import FeatureCache, default_cache
from strategies.features.extraction import stage_extractor
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import native_size
from strategies.plans.parameters import count_job

MAX_EXAMINED = 20_000  # images, unless all are asked for
MAX_TESTED = 300  # test images whose neighbors are looked for
MAX_PEEKED = 100  # files whose headers tell the size of the images before any is decoded
MIN_DEFAULT_SIZE = 96  # pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """What was measured on a dataset, and with which network.

    Attributes:
        dataset: The readable images, split.
        network: The pretrained network that is to be transferred, at the input size that was settled on.
        profile: What was found in the files.
        similarity: How close the images are to ImageNet.
        depth_curve: How well the classes are separable at each depth; `None` where nothing could be held out.
    """

    dataset: ImageDataset
    network: PretrainedNetwork
    profile: DatasetProfile
    similarity: Similarity
    depth_curve: DepthCurve | None


def measure(
    dataset: ImageDataset,
    network: PretrainedNetwork,
    *,
    seed: int = 0,
    max_unreadable: float = 0.05,
    every_image: bool = False,
    cache: bool = True,
) -> Measurements:
    """Measures size, quality, similarity to ImageNet, and how well the classes are separable at each depth.

    Args:
        dataset: What `strategies.load_dataset` returned.
        network: The pretrained network that is to be transferred.
        seed: Seed of everything random.
        max_unreadable: Largest share of files that may be unreadable.
        every_image: Whether all images are examined, or a random sample of 20,000 where there are more.
        cache: Whether features, image statistics and converted networks are kept on disk and read from there.
    """
    kept_in: FeatureCache | None = default_cache() if cache else None
    ruler = default_ruler()
    extractor = stage_extractor(network, cache=kept_in)
    # Converted in the background while the images are read.
    start_jobs(
        moments_extractor(ruler, cache=kept_in).conversion,
        extractor.conversion,
        count_job(network, dense=False, cache=kept_in),
    )
    pixel_cache = PixelCache([ruler.image_size, network.image_size], len(dataset))
    profile, dataset = profile_dataset(
        dataset,
        seed=seed,
        max_unreadable=max_unreadable,
        max_images=None if every_image else MAX_EXAMINED,
        cache=cache,
        pixel_cache=pixel_cache,
    )
    learning = dataset.subset(np.flatnonzero(np.array(dataset.split) != "test")).without_copies()
    similarity = measure_dataset(learning, ruler, seed=seed, cache=cache, pixel_cache=pixel_cache)
    profile, probed = examine(
        profile,
        dataset,
        extractor,
        max_images=MAX_IMAGES,
        max_tested=MAX_TESTED,
        seed=seed,
        pixel_cache=pixel_cache,
    )
    return Measurements(
        dataset=dataset, network=network, profile=profile, similarity=similarity, depth_curve=probed.curve
    )


def fitting_size(network: PretrainedNetwork, items: Sequence[Any]) -> int:
    """Returns the input size in pixels that suits images: enlarging them would add blur, not detail.

    It is the network's own size, or less where most images are smaller: half of the short sides are at most the
    multiple of 32 that is returned, and it is at least 96. The headers of up to 100 files, evenly spaced, tell.

    Args:
        network: The pretrained network.
        items: Files or arrays, as `ImageDataset.items` holds them.
    """
    row = network.row
    spread = items[:: max(1, len(items) // MAX_PEEKED)]
    short_side = float(np.median([min(size) for size in map(peek_size, spread) if size] or [0]))
    smallest = max(MIN_DEFAULT_SIZE, row.min_image_size)
    return int(min(native_size(row, network.weights), max(smallest, -(-short_side // 32) * 32)))
