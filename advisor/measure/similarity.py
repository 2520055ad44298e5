"""Similarity to ImageNet, measured with the statistics that pretrained weights carry with them.

Every BatchNormalization layer of a network trained on ImageNet holds ImageNet's own mean and variance of each of its
channels. The ruler runs the target's images through one fixed small network and compares, channel by channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.thresholds import calibration
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_images
from strategies.data.pixels import PixelCache, Pixels
from strategies.errors import DatasetError, UserError
from strategies.features.cache import FeatureCache, default_cache
from strategies.features.extractor import FeatureExtractor
from strategies.networks.backbones import get_backbone, resolve_weights
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import can_download, is_cached

if TYPE_CHECKING:
    import keras

MAX_IMAGES = 512
ENOUGH_IMAGES = 64
NUM_BOOTSTRAP = 200
DEPTHS = ("early", "middle", "late")
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How close a dataset lies to ImageNet.

    Attributes:
        score: In [0, 1]; 1 means as close as ImageNet's own photos. `None` if the ruler is not calibrated.
        low: Lower end of the 90 % bootstrap interval of the score, `high` the upper end.
        distance: Squared Hellinger distance, of roots averaged over layers, in [0, 1].
        floor: The distance of ImageNet's own photos with this ruler.
        by_depth: Distance, floor and score in the early, middle and late third of the layers.
        ruler: What it was measured with.
        calibrated: Whether floor and scale are known for this ruler.
        num_images: Number of images measured.
    """

    score: float | None
    low: float | None
    high: float | None
    distance: float
    floor: float | None
    by_depth: Mapping[str, Mapping[str, float | None]]
    ruler: PretrainedNetwork
    calibrated: bool
    num_images: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.distance):
            raise DatasetError(
                f"Expected a distance to ImageNet. Received: {self.distance}. Check the images and the weights."
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `fingerprint.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Similarity:
        """Reads the similarity of `fingerprint.json`."""
        return cls(**{**values, "ruler": PretrainedNetwork(**values["ruler"])})


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What the ruler saw: per image and channel the mean and the mean square, channels of all layers in a row.

    Attributes:
        mean: Array of shape `(num_images, num_channels)`; `square` likewise.
        reference_mean: ImageNet's mean of each channel, `(num_channels,)`; `reference_variance` likewise.
        layers: Index of the layer that each channel belongs to, `(num_channels,)`.
    """

    mean: np.ndarray
    square: np.ndarray
    reference_mean: np.ndarray
    reference_variance: np.ndarray
    layers: np.ndarray


def default_ruler() -> PretrainedNetwork:
    """Returns the calibrated ruler that decides: the one in this package where ImageNet weights cannot be had."""
    ruler = PretrainedNetwork(**calibration()["ruler"])
    if is_cached(get_backbone(ruler.backbone)) or can_download():
        return ruler
    return PretrainedNetwork(**calibration()["bundled_ruler"])


def measure_similarity(
    images: Any,
    *,
    ruler: str | None = None,
    image_size: int | None = None,
    weights: str | None = None,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    cache: bool = True,
) -> Similarity:
    """Measures how close images lie to ImageNet. Labels are not needed; 64 images are enough.

    Args:
        images: A folder, a list of files, an array `(num_images, height, width, channels)` of values 0-255, a
            `tf.data.Dataset` or an `ImageDataset`.
        ruler: Backbone with BatchNormalization to measure with; default: the calibrated one. With another one the
            distance is measured, but no score.
        image_size: Side of the ruler's input in pixels; default: the calibrated one's.
        weights: The ruler's weights; default: ImageNet's, or where they cannot be had those in this package.
        max_images: Measure a random sample of at most this many.
        seed: Seed of the sample and of the bootstrap.
        cache: Whether what the ruler saw is kept on disk and read from there.

    Returns:
        A `Similarity`.

    Raises:
        DatasetError: If there are fewer than two images.
        UserError: If the ruler has no BatchNormalization.

    Reference:
        Hellinger distance between normal distributions; its square is, per channel,
        `1 - sqrt(2 s t / (s² + t²)) exp(-(m - µ)² / (4 (s² + t²)))`, with the target's mean `m` and standard deviation
        `s` and the moving mean `µ` and deviation `t`; `var(m) / n` is subtracted from `(m - µ)²` (sampling bias).
        Squares are averaged over the channels of a layer, their roots over layers, so that no layer outweighs others;
        the distance is the square of that.

    Example:
        >>> import advisor, numpy as np
        >>> noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype="uint8")
        >>> similarity = advisor.measure_similarity(noise, ruler="MobileNetV2-0.35", weights="random")
        >>> similarity.calibrated, similarity.num_images
        (False, 16)
    """
    standard = default_ruler()
    row = get_backbone(ruler or standard.backbone)
    chosen = PretrainedNetwork(
        backbone=row.name,
        weights=resolve_weights(row, weights or standard.weights),
        image_size=image_size or standard.image_size,
    )
    dataset = load_images(images)
    return measure_dataset(dataset, chosen, max_images=max_images, seed=seed, cache=cache)


def measure_dataset(
    dataset: ImageDataset,
    ruler: PretrainedNetwork,
    *,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    cache: bool = True,
    pixel_cache: PixelCache | None = None,
) -> Similarity:
    """Measures a dataset as `measure_similarity` does.

    Args:
        dataset: Images; labels are not needed.
        ruler: What to measure with.
        max_images: As in `measure_similarity`; `seed` and `cache` too.
        seed: See `max_images`.
        cache: See `max_images`.
        pixel_cache: Where some of the images may lie decoded.
    """
    if len(dataset) < 2:
        raise DatasetError(f"Expected two or more images to measure. Received: {len(dataset)}. Add images.")
    generator = np.random.default_rng(seed)
    if len(dataset) > max_images:
        dataset = dataset.subset(np.sort(generator.permutation(len(dataset))[:max_images]))
    pixels = Pixels(dataset.items, ruler.image_size, pixel_cache)
    return compare(measure_moments(pixels, ruler, cache=cache), ruler, seed=seed)


def measure_moments(pixels: np.ndarray | Pixels, ruler: PretrainedNetwork, *, cache: bool = False) -> Moments:
    """Runs images of the ruler's size through it once.

    Args:
        pixels: RGB 0-255 of shape `(num_images, image_size, image_size, 3)`.
        ruler: What to measure with.
        cache: Whether what it saw is kept on disk and read from there.
    """
    extractor = moments_extractor(ruler, cache=default_cache() if cache else None)
    outputs = extractor.run(pixels, description="Measuring similarity")
    reference = extractor.constants
    return Moments(
        mean=np.concatenate(outputs[0::2], axis=1).astype("float64"),
        square=np.concatenate(outputs[1::2], axis=1).astype("float64"),
        reference_mean=np.concatenate(reference[0::2]),
        reference_variance=np.concatenate(reference[1::2]),
        layers=np.repeat(np.arange(len(reference) // 2), [len(mean) for mean in reference[0::2]]),
    )


def moments_extractor(ruler: PretrainedNetwork, *, cache: FeatureCache | None) -> FeatureExtractor:
    """Returns the feature extractor that a ruler measures with.

    Args:
        ruler: The network to measure with.
        cache: Where the converted network and its outputs are kept, or `None`.
    """
    return FeatureExtractor(
        network=ruler,
        # The 224 px file at every input size: the calibration must not depend on which files are cached.
        weights_size=224,
        outputs=("moments",),
        select=_select_moments,
        cache=cache,
    )


def _select_moments(network: keras.Model) -> tuple[list[Any], list[np.ndarray]]:
    """Mean and mean square of what goes into every BatchNormalization, and ImageNet's mean and variance of it."""
    import keras

    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)][1:]
    if not norms:
        raise UserError(
            f"Expected a ruler with BatchNormalization, whose statistics are the reference. "
            f"Received: {network.name!r}. Name another one, such as {default_ruler().backbone!r}."
        )
    outputs, reference = [], []
    for norm in norms:  # the first one is left out above: it holds dead channels
        axes = tuple(range(1, len(norm.input.shape) - 1))
        outputs.append(keras.ops.mean(norm.input, axis=axes))
        outputs.append(keras.ops.mean(keras.ops.square(norm.input), axis=axes))
        for statistic in (norm.moving_mean, norm.moving_variance):
            reference.append(keras.ops.convert_to_numpy(statistic.value).astype("float64"))
    return outputs, reference


def compare(moments: Moments, ruler: PretrainedNetwork, *, seed: int = 0) -> Similarity:
    """Turns what the ruler saw into distances and, where it is calibrated, a score with its interval."""
    layers = _layer_distances(moments, np.ones((1, len(moments.mean))))[0]
    distance = float(layers.mean() ** 2)
    thirds = dict(zip(DEPTHS, (float(part.mean() ** 2) for part in np.array_split(layers, 3)), strict=True))
    row = _calibration_row(ruler)
    spread = _bootstrap(moments, seed)
    low, high = distance + np.quantile(spread, 0.05), distance + np.quantile(spread, 0.95)
    score = (lambda value, floor: math.exp(-max(0.0, value - floor) / row["scale"])) if row else (lambda *_: None)
    floors = row["floor_by_depth"] if row else dict.fromkeys(DEPTHS)
    floor = row["floor"] if row else None
    return Similarity(
        score=score(distance, floor),
        low=score(high, floor),
        high=score(low, floor),
        distance=distance,
        floor=floor,
        by_depth={
            depth: {"distance": value, "floor": floors[depth], "score": score(value, floors[depth])}
            for depth, value in thirds.items()
        },
        ruler=ruler,
        calibrated=row is not None,
        num_images=len(moments.mean),
    )


def _calibration_row(ruler: PretrainedNetwork) -> Mapping[str, Any] | None:
    return next((row for row in calibration()["rulers"] if PretrainedNetwork(**row["ruler"]) == ruler), None)


def _layer_distances(moments: Moments, counts: np.ndarray, bias: float = 1.0) -> np.ndarray:
    """Returns the Hellinger distance of every layer for each row of `counts`: how often each image is drawn."""
    num_images = len(moments.mean)
    mean = counts @ moments.mean / num_images
    # Sampling variance of the mean: it would make every finite sample look further away than it is.
    noise = moments.mean.var(axis=0, ddof=1) / num_images * bias
    variance = np.maximum(counts @ moments.square / num_images - mean**2 + noise, _TINY)
    reference = np.maximum(moments.reference_variance, _TINY)  # a dead channel has none, there as here
    total = variance + reference
    shift = np.maximum((mean - moments.reference_mean) ** 2 - noise, 0)
    overlap = np.sqrt(2 * np.sqrt(variance * reference) / total) * np.exp(-shift / (4 * total))
    starts = np.flatnonzero(np.diff(moments.layers, prepend=-1))
    return np.sqrt(np.add.reduceat(1 - overlap, starts, axis=1) / np.bincount(moments.layers))


def _bootstrap(moments: Moments, seed: int) -> np.ndarray:
    """Returns deviations of the distance over resampled images, centred: resampling adds a bias of its own."""
    num_images = len(moments.mean)
    draws = np.random.default_rng(seed).multinomial(num_images, np.full(num_images, 1 / num_images), NUM_BOOTSTRAP)
    distances = _layer_distances(moments, draws.astype("float64"), bias=2.0).mean(axis=1) ** 2
    return distances - distances.mean()
