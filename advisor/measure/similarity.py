"""Similarity to ImageNet, measured with the statistics that are stored in pretrained weights.

In a network trained on ImageNet, every BatchNormalization layer holds the mean and the variance of its channels on
ImageNet. The ruler is one fixed small network of this kind. The target images run through it, and their mean and
variance are compared with those of ImageNet, channel by channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.calibration import calibration
from strategies.data.dataset import ImageDataset
from strategies.data.decoding import find_range
from strategies.data.encoded import SQUEEZE
from strategies.data.loading import load_images
from strategies.data.pixels import PixelCache, Pixels
from strategies.data.resizing import with_resize
from strategies.data.value_range import with_range
from strategies.errors import DatasetError, UserError
from strategies.features.cache import FeatureCache, default_cache
from strategies.features.extractor import FeatureExtractor
from strategies.networks.backbones import get_backbone, resolve_weights
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import is_available

if TYPE_CHECKING:
    import keras

MAX_IMAGES = 512
ENOUGH_IMAGES = 64
NUM_BOOTSTRAP = 200
DEPTHS = ("early", "middle", "late")
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How similar the images of a dataset are to those of ImageNet.

    Attributes:
        score: Similarity in [0, 1]; 1 means as similar as ImageNet's own photos. `None` if the ruler is not calibrated.
        low: Lower end of the 90% bootstrap interval of the score; `None` if the ruler is not calibrated.
        high: Upper end, likewise.
        distance: Squared Hellinger distance in [0, 1]: the square of the mean over layers of the distance of a layer.
        floor: Distance of ImageNet's own photos with this ruler; `None` if the ruler is not calibrated.
        by_depth: Distance, floor and score in the early, middle and late third of the layers.
        ruler: The network that it was measured with.
        calibrated: Whether floor and scale are known for this ruler. Only then can the score decide anything.
        num_images: Number of images that were measured.
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
                f"Expected a finite distance to ImageNet. Received: {self.distance}. Check the images and the weights."
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
    """Statistics of images in the ruler: one row for each image, one column for each channel of every layer.

    Attributes:
        mean: Mean of each channel over the image plane, shape `(num_images, num_channels)`.
        square: Mean of the squares, same shape.
        reference_mean: ImageNet's mean of each channel, shape `(num_channels,)`.
        reference_variance: ImageNet's variance of each channel, same shape.
        layers: Index of the layer that each channel belongs to, shape `(num_channels,)`.
    """

    mean: np.ndarray
    square: np.ndarray
    reference_mean: np.ndarray
    reference_variance: np.ndarray
    layers: np.ndarray


def default_ruler() -> PretrainedNetwork:
    """Returns the calibrated ruler: with ImageNet weights, or with those of this package if none are available."""
    ruler = PretrainedNetwork(**calibration()["ruler"])
    if is_available(get_backbone(ruler.backbone)):
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
    """Measures how similar images are to those of ImageNet. Labels are not needed; 64 images are enough.

    Args:
        images: A folder, a list of files, an array `(num_images, height, width, channels)` of values 0-255, a
            `tf.data.Dataset` or an `ImageDataset`.
        ruler: Backbone with BatchNormalization to measure with; default: the calibrated one. Other backbones give a
            distance but no score.
        image_size: Side of the ruler's input in pixels; default: that of the calibrated ruler.
        weights: Weights of the ruler; default: ImageNet weights, or those in this package if they are not available.
        max_images: Largest number of images; above it, a random sample is used.
        seed: Seed of the sample and of the bootstrap.
        cache: Whether the statistics of the images are cached on disk.

    Returns:
        A `Similarity`.

    Raises:
        DatasetError: If there are fewer than two images.
        UserError: If the ruler has no BatchNormalization.

    Reference:
        Hellinger distance between normal distributions. Its square for a channel is
        `1 - sqrt(2 s t / (s² + t²)) exp(-(m - µ)² / (4 (s² + t²)))`, where `m` and `s` are mean and standard deviation
        of the target images, and `µ` and `t` the moving mean and deviation in the weights. `var(m) / n` is subtracted
        from `(m - µ)²` to correct for sampling bias. The squares are averaged over the channels of a layer, and their
        roots over the layers, so that no layer outweighs the others. The distance is the square of that mean.

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
    dataset = replace(dataset, items=with_range(dataset.items, find_range(dataset.items)))
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
        ruler: The network to measure with.
        max_images: As in `measure_similarity`.
        seed: As in `measure_similarity`.
        cache: As in `measure_similarity`.
        pixel_cache: Pixel cache that may already hold some of the images.
    """
    if len(dataset) < 2:
        raise DatasetError(f"Expected two or more images to measure. Received: {len(dataset)}. Add images.")
    generator = np.random.default_rng(seed)
    if len(dataset) > max_images:
        dataset = dataset.subset(np.sort(generator.permutation(len(dataset))[:max_images]))
    items = with_resize(dataset.items, SQUEEZE)  # always: the numbers of ImageNet are those of squeezed images
    pixels = Pixels(items, ruler.image_size, pixel_cache)
    return compare(measure_moments(pixels, ruler, cache=cache), ruler, seed=seed)


def measure_moments(pixels: np.ndarray | Pixels, ruler: PretrainedNetwork, *, cache: bool = False) -> Moments:
    """Runs images through the ruler once and returns their statistics.

    Args:
        pixels: RGB values 0-255, shape `(num_images, image_size, image_size, 3)` with the image size of the ruler.
        ruler: The network to measure with.
        cache: Whether the statistics are cached on disk.
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
    """Returns the feature extractor that computes the statistics of a ruler.

    Args:
        ruler: The network to measure with.
        cache: Cache for the converted network and its outputs; `None` caches nothing.
    """
    return FeatureExtractor(
        network=ruler,
        # Always the weights file for 224 px, so that the calibration does not depend on which files are cached.
        weights_size=224,
        outputs=("moments",),
        select=_select_moments,
        cache=cache,
    )


def _select_moments(network: keras.Model) -> tuple[list[Any], list[np.ndarray]]:
    """Returns mean and mean square of the input of every BatchNormalization, and ImageNet's mean and variance of it."""
    from strategies.networks.backend import keras

    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)][1:]
    if not norms:
        raise UserError(
            f"Expected a ruler with BatchNormalization layers, whose statistics are the reference. "
            f"Received: {network.name!r}. Name another backbone, such as {default_ruler().backbone!r}."
        )
    outputs, reference = [], []
    for norm in norms:  # the first layer was left out above, because it has dead channels
        axes = tuple(range(1, len(norm.input.shape) - 1))
        outputs.append(keras.ops.mean(norm.input, axis=axes))
        outputs.append(keras.ops.mean(keras.ops.square(norm.input), axis=axes))
        for statistic in (norm.moving_mean, norm.moving_variance):
            reference.append(keras.ops.convert_to_numpy(statistic.value).astype("float64"))
    return outputs, reference


def compare(moments: Moments, ruler: PretrainedNetwork, *, seed: int = 0) -> Similarity:
    """Computes the distance from the statistics of images and, for a calibrated ruler, the score with its interval.

    Args:
        moments: Statistics of the images.
        ruler: The network that they were measured with.
        seed: Seed of the bootstrap.
    """
    layers = _layer_distances(moments, np.ones((1, len(moments.mean))))[0]
    distance = float(layers.mean() ** 2)
    thirds = dict(zip(DEPTHS, (float(part.mean() ** 2) for part in np.array_split(layers, 3)), strict=True))
    row = _calibration_row(ruler)
    spread = _bootstrap(moments, seed)
    # Where all images are alike, the spread is rounding alone, and may lie on one side.
    low = distance + min(0.0, float(np.quantile(spread, 0.05)))
    high = distance + max(0.0, float(np.quantile(spread, 0.95)))
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
    # Sampling variance of the mean: without this correction, every finite sample would seem less similar than it is.
    noise = moments.mean.var(axis=0, ddof=1) / num_images * bias
    variance = np.maximum(counts @ moments.square / num_images - mean**2 + noise, _TINY)
    reference = np.maximum(moments.reference_variance, _TINY)  # a dead channel has no variance
    total = variance + reference
    shift = np.maximum((mean - moments.reference_mean) ** 2 - noise, 0)
    overlap = np.sqrt(2 * np.sqrt(variance * reference) / total) * np.exp(-shift / (4 * total))
    starts = np.flatnonzero(np.diff(moments.layers, prepend=-1))
    return np.sqrt(np.add.reduceat(1 - overlap, starts, axis=1) / np.bincount(moments.layers))


def _bootstrap(moments: Moments, seed: int) -> np.ndarray:
    """Returns deviations of the distance over resampled images, centered because resampling adds a bias."""
    num_images = len(moments.mean)
    draws = np.random.default_rng(seed).multinomial(num_images, np.full(num_images, 1 / num_images), NUM_BOOTSTRAP)
    distances = _layer_distances(moments, draws.astype("float64"), bias=2.0).mean(axis=1) ** 2
    return distances - distances.mean()
