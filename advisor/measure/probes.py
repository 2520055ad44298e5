"""What frozen features tell: how well each stage separates the classes, where to cut, and whether mirroring matters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.measure.mirroring import FEWER_MIRRORED, MAX_MIRRORED, Mirroring, compare_views
from advisor.measure.sampling import sample
from strategies.data.batches import MirroredViews
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.pixels import PixelCache, Pixels
from strategies.errors import DatasetError
from strategies.features.cache import default_cache
from strategies.features.extraction import extract_stages, stage_extractor
from strategies.features.extractor import FeatureExtractor
from strategies.networks.backbones import get_backbone, resolve_weights
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import native_size
from strategies.processes import num_cores

if TYPE_CHECKING:
    from strategies.training.head import OutOfFold

MAX_IMAGES = 1_000


@dataclass(frozen=True, kw_only=True)
class DepthCurve:
    """How well a linear classifier on the features of each stage separates the classes of held-out images.

    Attributes:
        stages: Names of the stages, from the input to the end of the backbone.
        accuracy: Cross-validated accuracy at each stage, a fraction.
        standard_error: Standard error of the difference from the best stage, paired by image; 0 at the best stage.
        chance: Share of the most frequent class, the accuracy of always predicting it.
        best_stage: The stage with the highest accuracy; the shallowest of several.
        chosen_stage: The shallowest stage that is worse than the best by at most one standard error.
        num_images: Number of images that were held out: all but the only image of a class.
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
        """Accuracy at the last stage minus the best accuracy among the first two thirds of the stages."""
        first = self.accuracy[: round(len(self.accuracy) * 2 / 3)]
        return self.accuracy[-1] - max(first)

    def cut(self, deepest: str) -> str:
        """Returns the stage after which to cut the backbone: `chosen_stage`, but no later stage than `deepest`.

        Args:
            deepest: The last stage that still counts as early: the backbone's default cut, about a third of its depth.
        """
        return min(self.chosen_stage, deepest, key=self.stages.index)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `fingerprint.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DepthCurve:
        """Reads the curve of `fingerprint.json`."""
        lists = {name: tuple(values[name]) for name in ("stages", "accuracy", "standard_error")}
        return cls(**{**values, **lists})


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
    """Measures how well each stage of a pretrained network separates the classes of your images.

    The images go through the frozen network once, and a linear classifier is cross-validated on the features of each
    stage. Where an early stage does as well as the last one, these images do not need the later stages.

    Args:
        images: Labeled images: anything `advisor.recommend` takes.
        backbone: The network to transfer.
        image_size: Side of its input in pixels; default: the backbone's own size.
        weights: As in `recommend`, for this backbone.
        max_images: Largest number of images; above it, a random sample with every class in it is used.
        seed: Seed of the sample and of the folds.
        cache: Whether frozen features are cached on disk.

    Returns:
        A `DepthCurve`, or `None` unless two classes have two images, so that images can be held out.

    Reference:
        Alain & Bengio 2016, Understanding intermediate layers using linear classifier probes. The stage is chosen by
        the one-standard-error rule (Breiman et al. 1984).

    Example:
        >>> import advisor, numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
        >>> curve = advisor.measure_depth_curve(
        ...     (images, ["cat", "dog"] * 6), backbone="MobileNet-0.25", image_size=32, weights="random", cache=False)
        >>> curve.stages
        ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'stage5')
    """
    return _probe_images(images, backbone, image_size, weights, max_images, seed, cache).curve


def measure_mirroring(
    images: Any,
    *,
    backbone: str = "MobileNetV2",
    image_size: int | None = None,
    weights: str = "auto",
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    cache: bool = True,
) -> Mirroring | None:
    """Measures whether your images mean the same when they are mirrored left to right.

    Linear classifiers on the features of each stage of the frozen network are cross-validated. They learn from the
    images as they are, and predict held-out images as they are and mirrored: 100, or up to 300 if 100 leave it open.
    All stages count, because the last ones of some networks hardly tell left from right.

    Args:
        images: Labeled images: anything `advisor.recommend` takes.
        backbone: The network to transfer.
        image_size: Side of its input in pixels; default: the backbone's own size.
        weights: As in `recommend`, for this backbone.
        max_images: Largest number of images; above it, a random sample with every class in it is used.
        seed: Seed of the samples and of the folds.
        cache: Whether frozen features are cached on disk.

    Returns:
        A `Mirroring`, or `None` unless two classes have two images, so that images can be held out.

    Example:
        >>> import advisor, numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
        >>> mirroring = advisor.measure_mirroring(
        ...     (images, ["cat", "dog"] * 6), backbone="MobileNet-0.25", image_size=32, weights="random", cache=False)
        >>> mirroring.num_images
        12
    """
    found = _probe_images(images, backbone, image_size, weights, max_images, seed, cache, max_mirrored=MAX_MIRRORED)
    return found.mirroring


def _probe_images(
    images: Any,
    backbone: str,
    image_size: int | None,
    weights: str,
    max_images: int,
    seed: int,
    cache: bool,
    **options: Any,
) -> Probe:
    """Probes a sample of images, with the arguments of `measure_depth_curve` and the options of `probe`."""
    row = get_backbone(backbone)
    network = PretrainedNetwork(
        backbone=row.name, weights=resolve_weights(row, weights), image_size=image_size or native_size(row, weights)
    )
    dataset = load_dataset(images)
    dataset = dataset.subset(sample(dataset.labels, max_images, seed))
    extractor = stage_extractor(network.of(dataset.items), cache=default_cache() if cache else None)
    return probe(dataset, extractor, seed=seed, **options)


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """The result of one pass of labeled images through a frozen network.

    Attributes:
        images: The training and validation images that were used.
        features: Their features at every stage, from the input on: `{stage: (num_images, channels)}`.
        curve: How well each stage separates the classes; `None` where no image could be held out. Groups stay together.
        probabilities: Held-out probability of each class for each image, from the features of the last stage, shape
            `(num_images, num_classes)`; zero for the only image of a class, and `None` where no image could be held
            out.
        mirroring: Whether images mean the same when they are mirrored; `None` where that was not measured.
        tested: Test images that went through the same network. They only serve to check the split.
        tested_features: Their features at every stage.
    """

    images: ImageDataset
    features: Mapping[str, np.ndarray]
    curve: DepthCurve | None
    probabilities: np.ndarray | None
    mirroring: Mirroring | None
    tested: ImageDataset
    tested_features: Mapping[str, np.ndarray]


def probe(
    images: ImageDataset,
    extractor: FeatureExtractor,
    *,
    seed: int,
    pixel_cache: PixelCache | None = None,
    tested: ImageDataset | None = None,
    every_stage: bool = True,
    max_mirrored: int = 0,
) -> Probe:
    """Runs images through a frozen network once, and cross-validates a linear classifier on the features of each stage.

    Args:
        images: Labeled training and validation images; `sample` limits their number.
        extractor: Feature extractor for the stages, from the input on: `stage_extractor`.
        seed: Seed of the folds.
        pixel_cache: Pixel cache that may already hold some of the images.
        tested: Test images that also go through the network. No classifier sees them.
        every_stage: Whether a classifier is fitted for every stage, or for the last one only.
        max_mirrored: Largest number of images that go through the network mirrored too.
    """
    from strategies.training.head import cross_validate, make_folds, one_thread

    tested = images.subset([]) if tested is None else tested
    values = extract_stages(extractor, [*images.items, *tested.items], pixel_cache)
    features = {stage: value[: len(images)] for stage, value in values.items()}
    folds = make_folds(images.labels, seed, images.group)
    judged = list(features) if every_stage else list(features)[-1:]
    found = {}
    held = np.sort(np.concatenate([part for _, part in folds])) if folds else np.array([], dtype=int)
    if folds:
        with one_thread(), ThreadPoolExecutor(num_cores()) as pool:
            results = pool.map(lambda stage: cross_validate(features[stage], images.labels, folds), reversed(judged))
            found = dict(zip(judged, reversed(list(results)), strict=True))  # the widest stage takes longest: first
    mirroring = None
    if folds and max_mirrored:
        mirroring = _find_mirroring(images, extractor, folds, found, max_mirrored, seed, pixel_cache)
    return Probe(
        images=images,
        features=features,
        curve=None
        if not folds
        else choose_depth(
            {stage: held_out.correct[held] for stage, held_out in found.items()},
            chance=float(np.bincount(images.labels[held]).max() / len(held)),
        ),
        probabilities=found[judged[-1]].probabilities if folds else None,
        mirroring=mirroring,
        tested=tested,
        tested_features={stage: value[len(images) :] for stage, value in values.items()},
    )


def _find_mirroring(
    images: ImageDataset,
    extractor: FeatureExtractor,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    found: Mapping[str, OutOfFold],
    max_mirrored: int,
    seed: int,
    pixel_cache: PixelCache | None,
) -> Mirroring:
    """Predicts held-out images mirrored, with the classifiers of each stage that have not seen them.

    A first part of the images comes first. The others follow only if they may change the answer.
    """
    fold_of = np.full(len(images), -1)
    for fold, (_, part) in enumerate(folds):
        fold_of[part] = fold
    held, network = np.flatnonzero(fold_of >= 0), extractor.network

    def compare(num_images: int) -> Mirroring:
        chosen = held[sample(images.labels[held], num_images, seed)]
        items = [images.items[index] for index in chosen]
        pixels = Pixels(items, network.image_size, pixel_cache, network.num_channels)
        values = extractor.run(MirroredViews(pixels), description="Extracting features (mirrored)")
        features = dict(zip(extractor.outputs, values, strict=False))
        rows, truth = np.arange(len(chosen)), images.labels[chosen]
        plain = [held_out.probabilities[chosen, truth] for held_out in found.values()]
        mirrored = [found[stage].predict(features[stage], fold_of[chosen])[rows, truth] for stage in found]
        return compare_views(np.mean(plain, axis=0), np.mean(mirrored, axis=0))

    first = compare(min(FEWER_MIRRORED, max_mirrored))
    return compare(max_mirrored) if first.may_matter and first.num_images < max_mirrored else first


def choose_depth(correct: Mapping[str, np.ndarray], *, chance: float) -> DepthCurve:
    """Builds a depth curve, and chooses its stage by the one-standard-error rule.

    Args:
        correct: Stage -> whether each image was predicted correctly when held out; stages from the input on.
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
