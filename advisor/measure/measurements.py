"""All measurements that the advice is based on, from one pass over the images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from advisor.measure.examination import examine
from advisor.measure.learning_curve import LearningCurve, fit_learning_curve
from advisor.measure.mirroring import MAX_MIRRORED, Mirroring
from advisor.measure.probes import MAX_IMAGES, DepthCurve
from advisor.measure.profile import DatasetProfile, profile_dataset
from advisor.measure.resizing import Resizing, are_nearly_square, find_resizing
from advisor.measure.similarity import Similarity, default_ruler, measure_dataset, moments_extractor
from strategies.data.dataset import ImageDataset
from strategies.data.encoded import SQUEEZE
from strategies.data.pixels import PixelCache
from strategies.data.resizing import with_resize
from strategies.errors import DatasetError
from strategies.features.background import start_jobs
from strategies.features.cache import FeatureCache, default_cache
from strategies.features.extraction import stage_extractor
from strategies.networks.network import PretrainedNetwork
from strategies.plans.sizes import count_job

MAX_EXAMINED = 20_000  # images that are examined, unless all are requested
MAX_TESTED = 300  # test images that are compared with the others


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """What was measured on a dataset, and with which network.

    Attributes:
        dataset: The readable images with their split. They are resized as was found best, or as asked for.
        network: The pretrained network to transfer, at the input size of the measurements.
        profile: Size, balance, resolution and quality of the dataset.
        similarity: How similar the images are to those of ImageNet.
        depth_curve: How well each stage separates the classes; `None` where no image could be held out.
        learning_curve: How accurate a new head is with fewer images, and what to expect of more; likewise.
        mirroring: Whether images mean the same when they are mirrored; `None` likewise.
        resizing: How well images are recognized squeezed to a square, and how well cropped; `None` where that was not
            measured, because the images are nearly square or the user has decided.
    """

    dataset: ImageDataset
    network: PretrainedNetwork
    profile: DatasetProfile
    similarity: Similarity
    depth_curve: DepthCurve | None
    learning_curve: LearningCurve | None
    mirroring: Mirroring | None
    resizing: Resizing | None


def measure(
    dataset: ImageDataset,
    network: PretrainedNetwork,
    *,
    resize: str | None = None,
    seed: int = 0,
    max_unreadable: float = 0.05,
    every_image: bool = False,
    cache: bool = True,
) -> Measurements:
    """Measures size, quality, similarity to ImageNet, how well stages separate classes, and whether mirroring matters.

    Args:
        dataset: From `strategies.load_dataset`.
        network: The pretrained network to transfer, at its input size.
        resize: How images become squares, as in a plan. Default: `squeeze` where they are nearly square, else
            measured. The similarity is always that of squeezed images, since the numbers of ImageNet are.
        seed: Seed of all random choices.
        max_unreadable: Largest share of files that may be unreadable.
        every_image: Whether all images are examined; otherwise a random sample of 20,000 where there are more.
        cache: Whether features, image statistics and converted networks are cached on disk.
    """
    feature_cache: FeatureCache | None = default_cache() if cache else None
    ruler = default_ruler()
    extractor = stage_extractor(network, cache=feature_cache)
    # These run in the background while the images are read.
    start_jobs(
        moments_extractor(ruler, cache=feature_cache).conversion,
        extractor.conversion,
        count_job(network, dense=False, cache=feature_cache),
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
    _check_pictures(dataset)
    learning = dataset.subset(np.flatnonzero(np.array(dataset.split) != "test")).without_copies()
    similarity = measure_dataset(learning, ruler, seed=seed, cache=cache, pixel_cache=pixel_cache)
    resizing = None
    if resize is None and not are_nearly_square(profile.image_sizes):
        resizing = find_resizing(learning, extractor, seed=seed, pixel_cache=pixel_cache)
    chosen = resize or (resizing.best if resizing is not None else SQUEEZE)
    dataset = replace(dataset, items=with_resize(dataset.items, chosen))
    profile, probed = examine(
        profile,
        dataset,
        extractor,
        max_images=MAX_IMAGES,
        max_tested=MAX_TESTED,
        seed=seed,
        pixel_cache=pixel_cache,
        max_mirrored=MAX_MIRRORED,
    )
    return Measurements(
        dataset=dataset,
        network=network,
        profile=profile,
        similarity=similarity,
        depth_curve=probed.curve,
        learning_curve=fit_learning_curve(probed, network, seed=seed, num_images=len(learning)),
        mirroring=probed.mirroring,
        resizing=resizing,
    )


def _check_pictures(dataset: ImageDataset) -> None:
    if dataset.picture is not None and len(set(dataset.picture)) == 1:
        raise DatasetError(
            f"Expected two or more different pictures. Received: {len(dataset):,} images in {dataset.source!r}, all of "
            f"them copies of one. Add other images."
        )
