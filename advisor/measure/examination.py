"""One pass through a frozen network: how well each stage separates the classes, and which images are suspect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from advisor.measure.probes import Probe, probe
from advisor.measure.profile import DatasetProfile, profile_dataset
from advisor.measure.sampling import sample
from advisor.measure.similarity import default_ruler
from advisor.quality.checks import CHECKS, Finding, Suspect, make_finding
from advisor.quality.features import label_mistakes, lookalikes, split_gap
from strategies.cluster import on_ray
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.pixels import PixelCache
from strategies.data.splits import with_groups
from strategies.features.cache import default_cache
from strategies.features.extraction import stage_extractor
from strategies.features.extractor import FeatureExtractor

MAX_CHECKED = 2_000  # training images that `check_images` sends through a network; also the number of test images
LEAKING = 0.1  # share of test images with a lookalike from which a split counts as leaking


def examine(
    profile: DatasetProfile,
    dataset: ImageDataset,
    extractor: FeatureExtractor,
    *,
    max_images: int,
    max_tested: int,
    seed: int,
    pixel_cache: PixelCache | None = None,
    every_stage: bool = True,
    max_mirrored: int = 0,
) -> tuple[DatasetProfile, Probe]:
    """Runs images through a frozen network once, and looks for wrong labels and leaks in its features.

    Args:
        profile: Profile of the dataset.
        dataset: Images with their split.
        extractor: Feature extractor for the stages of the network.
        max_images: Largest number of training and validation images; above it, a random sample is used.
        max_tested: Largest number of test images, likewise.
        seed: Seed of the samples, the folds and the splits.
        pixel_cache: Pixel cache that may already hold some of the images.
        every_stage: Whether a classifier is fitted for every stage, or for the last one only.
        max_mirrored: Largest number of images that go through the network mirrored too.

    Returns:
        The profile with what was found added to its findings, and the `Probe`.
    """
    is_test = np.array(dataset.split) == "test"
    learning, tested = (dataset.subset(np.flatnonzero(part)).without_copies() for part in (~is_test, is_test))
    drawn = np.random.default_rng(seed).permutation(len(tested))[:max_tested]
    probed = probe(
        learning.subset(sample(learning.labels, max_images, seed)),
        extractor,
        seed=seed,
        pixel_cache=pixel_cache,
        tested=tested.subset(np.sort(drawn)),
        every_stage=every_stage,
        max_mirrored=max_mirrored,
    )
    order = [check.code for check in CHECKS]
    findings = [*profile.findings, *_findings(probed, seed)]
    findings.sort(key=lambda finding: order.index(finding.code))
    return replace(profile, findings=tuple(findings)), probed


def _findings(probed: Probe, seed: int) -> list[Finding]:
    """Returns the findings that features allow: leaks between splits, likely wrong labels, the effect of groups."""
    images, tested = probed.images, probed.tested
    features = list(probed.features.values())
    found = []
    if len(tested):
        nearest = lookalikes(list(probed.tested_features.values()), features)
        alike = np.flatnonzero(nearest >= 0)
        if len(alike) >= LEAKING * len(tested):
            suspects = [
                Suspect(path=tested.names[index], detail=f"looks like {images.names[nearest[index]]}")
                for index in alike
            ]
            found.append(make_finding("lookalikes", suspects, total=len(tested)))
    if probed.probabilities is not None:
        likely = label_mistakes(probed.probabilities, images.labels)
        suspects = [
            Suspect(path=images.names[index], detail=f"looks like {images.class_names[likely[index]]}")
            for index in np.flatnonzero(likely >= 0)
        ]
        if suspects:
            found.append(make_finding("label_mistakes", suspects, total=len(images)))
    if images.group is not None and probed.curve is not None:
        random, grouped = split_gap(images, features[-1], seed=seed)
        values = {"gap": 100 * (random - grouped), "random": random, "grouped": grouped}
        found.append(make_finding("groups", [], total=len(images), count=len(set(images.group)), **values))
    return found


def check_images(
    source: Any,
    *,
    group_by: str | None = None,
    seed: int = 0,
    cache: bool = True,
    ray: str | None = None,
    **columns: Any,
) -> DatasetProfile:
    """Checks the quality of a dataset: copies, leaks, unusual images, likely wrong labels.

    `advisor.quality.checks.CHECKS` lists all checks. Every image is read. Up to 2,000 training and validation images
    and up to 2,000 test images, drawn at random, also go through the ruler, the network that measures similarity. Each
    finding says how many images were examined. No file of yours is moved, changed or deleted.

    Args:
        source: Anything `advisor.recommend` takes.
        group_by: As in `advisor.recommend`.
        seed: Seed of the split and of the samples.
        cache: Whether frozen features are cached on disk.
        ray: As in `advisor.recommend`.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`, `encoding`; for
            folders: `follow_links`.

    Returns:
        A `DatasetProfile`. Its `findings` say what was found and name the files.

    Raises:
        DatasetError: If the images or labels cannot be used.

    Example:
        >>> import advisor
        >>> profile = advisor.check_images("photos/", group_by="patient[0-9]+")  # doctest: +SKIP
        >>> [(finding.code, finding.count) for finding in profile.findings]  # doctest: +SKIP
        [('near_copies', 12), ('label_mistakes', 3)]
    """
    with on_ray(ray):
        dataset = with_groups(load_dataset(source, **columns), group_by)
        profile, dataset = profile_dataset(dataset, seed=seed, max_unreadable=1.0, cache=cache)
        extractor = stage_extractor(default_ruler(), cache=default_cache() if cache else None)
        checked, _ = examine(
            profile,
            dataset,
            extractor,
            max_images=MAX_CHECKED,
            max_tested=MAX_CHECKED,
            seed=seed,
            every_stage=False,
        )
        return checked
