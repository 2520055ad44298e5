"""Frozen features at several depths -> how well each separates the classes, and where to cut."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from advisor.measure.sampling import sample
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.pixels import PixelCache
from strategies.errors import DatasetError
from strategies.features.cache import default_cache
from strategies.features.extraction import extract_stages, stage_extractor
from strategies.features.extractor import FeatureExtractor
from strategies.networks.backbones import get_backbone, resolve_weights
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import native_size

MAX_IMAGES = 1_000


@dataclass(frozen=True, kw_only=True)
class DepthCurve:
    """How well a linear classifier on the features of each stage separates the classes of held-out images.

    Attributes:
        stages: From the image to the end of the backbone.
        accuracy: Cross-validated accuracy at each stage, a fraction.
        standard_error: Of the difference to the best stage on the same images; 0 at the best stage.
        chance: Share of the most frequent class.
        best_stage: The stage with the highest accuracy, the first of several.
        chosen_stage: The shallowest stage that is not worse than the best by more than one standard error.
        num_images: Number of images measured.
    """

    stages: tuple[str, ...]
    accuracy: tuple[float, ...]
    standard_error: tuple[float, ...]
    chance: float
    best_stage: str
    chosen_stage: str
    num_images: int

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (*self.accuracy, *self.standard_error)):
            raise DatasetError(f"Expected finite accuracies by depth. Received: {self.accuracy}. Check the images.")

    @property
    def late_gain(self) -> float:
        """Returns by how much the last stage separates the classes better than the best of the first two thirds."""
        first = self.accuracy[: round(len(self.accuracy) * 2 / 3)]
        return self.accuracy[-1] - max(first)

    def cut(self, deepest: str) -> str:
        """Returns the stage to cut after: the chosen one, but none deeper than `deepest`; later ones are not early.

        Args:
            deepest: A stage; the default cut of the backbone, about a third of its depth.
        """
        return min(self.chosen_stage, deepest, key=self.stages.index)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `fingerprint.json`."""
        return asdict(self)


def measure_depth_curve(
    images: Any,
    *,
    backbone: str = "MobileNetV2",
    image_size: int | None = None,
    weights: str = "auto",
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    cache: bool = True,
) -> DepthCurve | None:
    """Measures at which depth of a pretrained network the classes are linearly separable: one frozen pass.

    Where an early stage separates them as well as the last one, the later stages hold nothing that these images need.

    Args:
        images: Labelled images: anything `advisor.recommend` takes.
        backbone: The network that is to be transferred.
        image_size: Side of its input in pixels; default: the backbone's own.
        weights: As in `recommend`, for this backbone.
        max_images: Measure a random sample of at most this many, with every class in it.
        seed: Seed of the sample and of the folds.
        cache: Whether frozen features are kept on disk and read from there.

    Returns:
        A `DepthCurve`, or `None` where a class has only one image, so that nothing can be held out.

    Reference:
        Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes; the choice by the
        one-standard-error rule (Breiman et al. 1984).

    Example:
        >>> import advisor, numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
        >>> curve = advisor.measure_depth_curve(
        ...     (images, ["cat", "dog"] * 6), backbone="MobileNet-0.25", image_size=32, weights="random", cache=False)
        >>> curve.stages
        ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'stage5')
    """
    row = get_backbone(backbone)
    network = PretrainedNetwork(
        backbone=row.name, weights=resolve_weights(row, weights), image_size=image_size or native_size(row, weights)
    )
    dataset = load_dataset(images)
    dataset = dataset.subset(sample(dataset.labels, max_images, seed))
    return probe(dataset, stage_extractor(network, cache=default_cache() if cache else None), seed=seed).curve


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """What one frozen pass over labelled images gave.

    Attributes:
        images: Those that were judged: of training and validation.
        features: Theirs at every stage, from the image on: `{stage: (num_images, channels)}`.
        curve: How well each stage separates the classes, or `None` where a class has one image.
        probabilities: Of each class for each image when it was held out, on the features of the last stage, shape
            `(num_images, num_classes)`; `None` likewise.
        tested: Test images that went the same way, for a look at the split alone.
        tested_features: Theirs.
    """

    images: ImageDataset
    features: Mapping[str, np.ndarray]
    curve: DepthCurve | None
    probabilities: np.ndarray | None
    tested: ImageDataset
    tested_features: Mapping[str, np.ndarray]


def probe(
    images: ImageDataset,
    extractor: FeatureExtractor,
    *,
    seed: int,
    pixel_cache: PixelCache | None = None,
    tested: ImageDataset | None = None,
    whole: bool = True,
) -> Probe:
    """Runs images through a frozen network once and cross-validates a linear classifier on each stage.

    Args:
        images: Labelled images of training and validation, as many as are to be measured: `sample`.
        extractor: Feature extractor for the stages, from the image on: `stage_extractor`.
        seed: Seed of the folds.
        pixel_cache: Where some of the images may lie decoded.
        tested: Test images that are to go the same way; no classifier sees them.
        whole: Whether every stage is judged, or the last alone.
    """
    from strategies.training.head import cross_validate, make_folds, one_thread

    tested = images.subset([]) if tested is None else tested
    values = extract_stages(extractor, [*images.items, *tested.items], pixel_cache)
    features = {stage: value[: len(images)] for stage, value in values.items()}
    folds = make_folds(images.labels, seed)
    judged = list(features) if whole else list(features)[-1:]
    found = {}
    if folds:
        with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda stage: cross_validate(features[stage], images.labels, folds), reversed(judged))
            found = dict(zip(judged, reversed(list(results)), strict=True))  # the widest first, which takes longest
    return Probe(
        images=images,
        features=features,
        curve=None
        if not folds
        else choose_depth(
            {stage: one.correct for stage, one in found.items()},
            chance=float(np.bincount(images.labels).max() / len(images)),
        ),
        probabilities=found[judged[-1]].probabilities if folds else None,
        tested=tested,
        tested_features={stage: value[len(images) :] for stage, value in values.items()},
    )


def choose_depth(correct: Mapping[str, np.ndarray], *, chance: float) -> DepthCurve:
    """Applies the one-standard-error rule.

    Args:
        correct: For each stage, from the image on, whether each image was right when held out.
        chance: Share of the most frequent class.

    Example:
        >>> import numpy as np
        >>> from advisor.measure.probes import choose_depth
        >>> right = np.ones(100, dtype=bool)
        >>> choose_depth({"early": right, "middle": right, "late": ~right}, chance=0.5).chosen_stage
        'early'
    """
    stages = tuple(correct)
    hits = np.array([correct[stage] for stage in stages], dtype="float64")
    accuracy = hits.mean(axis=1)
    best = int(accuracy.argmax())
    errors = (hits - hits[best]).std(axis=1) / math.sqrt(hits.shape[1])
    chosen = int(np.flatnonzero(accuracy >= accuracy[best] - errors)[0])
    return DepthCurve(
        stages=stages,
        accuracy=tuple(accuracy.tolist()),
        standard_error=tuple(errors.tolist()),
        chance=chance,
        best_stage=stages[best],
        chosen_stage=stages[chosen],
        num_images=hits.shape[1],
    )
