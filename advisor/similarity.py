"""Similarity to ImageNet, measured with the activations of one small network that was trained on it.

The ruler runs the target's images through the network and compares, at the input of every BatchNormalization layer, the
mean and variance of each channel with ImageNet's. The moving statistics that the layers hold are ImageNet's too, but at
the resolution and with the augmentation of training; on photos as they are, they differ, and at every input size in
another way (Touvron et al. 2019, Fixing the train-test resolution discrepancy, arXiv:1906.06423). So the reference was
measured on ImageNet's photos at the ruler's own input size: `reference.npz`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.backbones import get_backbone, resolve_weights
from strategies.errors import DatasetError, UserError
from strategies.features import forward
from strategies.images import load_images
from strategies.pixels import decode_images
from strategies.pretrained import build_backbone

if TYPE_CHECKING:
    import keras

MAX_IMAGES = 512
ENOUGH_IMAGES = 64
NUM_BOOTSTRAP = 200
DEPTHS = ("early", "middle", "late")
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """The network that similarity is measured with, and the size of its input in pixels."""

    backbone: str
    weights: str
    image_size: int


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How close a dataset lies to ImageNet.

    Attributes:
        score: In [0, 1]; 1 means as close as ImageNet's own photos. `None` if the ruler is not calibrated.
        low: Lower end of the 90 % bootstrap interval of the score, `high` the upper end.
        distance: Mean squared Hellinger distance, over channels, then over layers, in [0, 1].
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
    ruler: Ruler
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What the ruler saw: per image and channel the mean and the mean square, channels of all layers in a row.

    Attributes:
        mean: Array of shape `(num_images, num_channels)`; `square` likewise.
        reference: ImageNet's mean and variance of each channel, `(2, num_channels)`.
        layers: Index of the layer that each channel belongs to, `(num_channels,)`.
    """

    mean: np.ndarray
    square: np.ndarray
    reference: np.ndarray
    layers: np.ndarray

    def pooled(self) -> np.ndarray:
        """Returns mean and variance of each channel over all images, `(2, num_channels)`: a reference for others."""
        mean = self.mean.mean(axis=0)
        return np.stack([mean, self.square.mean(axis=0) - mean**2 + _sampling_variance(self.mean)])


@cache
def calibration() -> Mapping[str, Any]:
    """Returns the fitted numbers, each with what it was fitted on: `calibration.json`."""
    return json.loads(files("advisor").joinpath("calibration.json").read_text(encoding="utf-8"))


@cache
def references() -> Mapping[str, np.ndarray]:
    """Returns what was measured on ImageNet's photos, by `reference_name`: `reference.npz`.

    Each is float32 of shape `(2, num_channels)`, mean and variance of each channel, channels of all layers in a row.
    """
    with files("advisor").joinpath("reference.npz").open("rb") as file, np.load(file) as arrays:
        return dict(arrays)


def reference_name(ruler: Ruler) -> str:
    """Returns the name of the ruler's array in `reference.npz`.

    Example:
        >>> from advisor.similarity import default_ruler, reference_name
        >>> reference_name(default_ruler())
        'MobileNetV2-0.35/imagenet/128'
    """
    return f"{ruler.backbone}/{ruler.weights}/{ruler.image_size}"


def default_ruler() -> Ruler:
    """Returns the calibrated ruler that decides."""
    return Ruler(**calibration()["ruler"])


def measure_similarity(
    images: Any,
    *,
    ruler: str | None = None,
    image_size: int | None = None,
    weights: str | None = None,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
) -> Similarity:
    """Measures how close images lie to ImageNet. Labels are not needed; 64 images are enough.

    Args:
        images: A folder, a list of files, an array `(num_images, height, width, channels)` of values 0-255, a
            `tf.data.Dataset` or an `ImageDataset`.
        ruler: Backbone with BatchNormalization to measure with; default: the calibrated one. With another one the
            distance is measured, but no score.
        image_size: Side of the ruler's input in pixels; default: the calibrated one's.
        weights: The ruler's weights; default: `"imagenet"`.
        max_images: Measure a random sample of at most this many.
        seed: Seed of the sample and of the bootstrap.

    Returns:
        A `Similarity`.

    Raises:
        DatasetError: If there are fewer than two images.
        UserError: If the ruler has no BatchNormalization.

    Reference:
        Squared Hellinger distance between normal distributions, per channel:
        `1 - sqrt(2 s t / (s² + t²)) exp(-(m - µ)² / (4 (s² + t²)))`, with the target's mean `m` and standard deviation
        `s` and ImageNet's mean `µ` and deviation `t`; `var(m) / n` is subtracted from `(m - µ)²` (sampling bias).
        `µ` and `t` were measured on ImageNet's photos at the same input size; for a ruler without such a measurement
        they are the moving statistics in its weights.

    Example:
        >>> import advisor, numpy as np
        >>> noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype="uint8")
        >>> similarity = advisor.measure_similarity(noise, ruler="MobileNetV2-0.35", weights="random")
        >>> similarity.calibrated, similarity.num_images
        (False, 16)
    """
    standard = default_ruler()
    row = get_backbone(ruler or standard.backbone)
    chosen = Ruler(
        backbone=row.name,
        weights=resolve_weights(row, weights or standard.weights),
        image_size=image_size or standard.image_size,
    )
    dataset = load_images(images)
    if len(dataset) < 2:
        raise DatasetError(f"Expected two or more images to measure. Received: {len(dataset)}. Add images.")
    generator = np.random.default_rng(seed)
    if len(dataset) > max_images:
        dataset = dataset.subset(np.sort(generator.permutation(len(dataset))[:max_images]))
    pixels = decode_images(dataset.items, chosen.image_size)
    return compare(measure_moments(pixels, chosen), chosen, seed=seed)


def measure_moments(pixels: np.ndarray, ruler: Ruler) -> Moments:
    """Runs images of the ruler's size through it once.

    Args:
        pixels: RGB 0-255 of shape `(num_images, image_size, image_size, 3)`.
        ruler: What to measure with.
    """
    model, norms = _moments_model(ruler)
    outputs = forward(model, pixels, description="Measuring similarity")
    return Moments(
        mean=np.concatenate(outputs[0::2], axis=1).astype("float64"),
        square=np.concatenate(outputs[1::2], axis=1).astype("float64"),
        reference=_reference(ruler, norms),
        layers=np.repeat(np.arange(len(norms)), [norm.input.shape[-1] for norm in norms]),
    )


def _moments_model(ruler: Ruler) -> tuple[keras.Model, list[keras.layers.BatchNormalization]]:
    import keras

    row = get_backbone(ruler.backbone)
    # The 224 px file at every input size: the calibration must not depend on which files are in the cache.
    backbone = build_backbone(row, image_size=ruler.image_size, weights=ruler.weights, weights_size=224)
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)][1:]
    if not norms:
        raise UserError(
            f"Expected a ruler with BatchNormalization, at whose inputs it compares. Received: {row.name!r}. "
            f"Name another one, such as {default_ruler().backbone!r}."
        )
    outputs = []
    for norm in norms:  # the first one is left out above: it holds dead channels
        axes = tuple(range(1, len(norm.input.shape) - 1))
        outputs.append(keras.ops.mean(norm.input, axis=axes))
        outputs.append(keras.ops.mean(keras.ops.square(norm.input), axis=axes))
    return keras.Model(backbone.input, outputs), norms


def _reference(ruler: Ruler, norms: list[keras.layers.BatchNormalization]) -> np.ndarray:
    """Returns ImageNet's mean and variance of each channel: as measured, else as the weights hold them."""
    import keras

    measured = references().get(reference_name(ruler))
    if measured is not None:
        return measured.astype("float64")
    held = [[norm.moving_mean for norm in norms], [norm.moving_variance for norm in norms]]
    return np.stack(
        [np.concatenate([keras.ops.convert_to_numpy(one.value) for one in row]).astype("float64") for row in held]
    )


def compare(moments: Moments, ruler: Ruler, *, seed: int = 0) -> Similarity:
    """Turns what the ruler saw into distances and, where it is calibrated, a score with its interval."""
    layers = _layer_distances(moments, np.ones((1, len(moments.mean))))[0]
    distance = float(layers.mean())
    thirds = dict(zip(DEPTHS, (float(part.mean()) for part in np.array_split(layers, 3)), strict=True))
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


def _calibration_row(ruler: Ruler) -> Mapping[str, Any] | None:
    return next((row for row in calibration()["rulers"] if Ruler(**row["ruler"]) == ruler), None)


def _layer_distances(moments: Moments, counts: np.ndarray, bias: float = 1.0) -> np.ndarray:
    """Returns the distance of every layer for each row of `counts`: how often each image is drawn."""
    num_images = len(moments.mean)
    mean = counts @ moments.mean / num_images
    # Sampling variance of the mean: it would make every finite sample look further away than it is.
    # The reference's own, of 1,000 photos, is left in: it adds less than 0.00003, a thousandth of the scale.
    noise = _sampling_variance(moments.mean) * bias
    variance = np.maximum(counts @ moments.square / num_images - mean**2 + noise, _TINY)
    reference_mean, reference_variance = moments.reference
    reference = np.maximum(reference_variance, _TINY)  # a dead channel has none, there as here
    total = variance + reference
    shift = np.maximum((mean - reference_mean) ** 2 - noise, 0)
    overlap = np.sqrt(2 * np.sqrt(variance * reference) / total) * np.exp(-shift / (4 * total))
    starts = np.flatnonzero(np.diff(moments.layers, prepend=-1))
    return np.add.reduceat(1 - overlap, starts, axis=1) / np.bincount(moments.layers)


def _sampling_variance(mean: np.ndarray) -> np.ndarray:
    """Returns the variance of the mean of each channel over a random sample of images."""
    return mean.var(axis=0, ddof=1) / len(mean)


def _bootstrap(moments: Moments, seed: int) -> np.ndarray:
    """Returns deviations of the distance over resampled images, centred: resampling adds a bias of its own."""
    num_images = len(moments.mean)
    draws = np.random.default_rng(seed).multinomial(num_images, np.full(num_images, 1 / num_images), NUM_BOOTSTRAP)
    distances = _layer_distances(moments, draws.astype("float64"), bias=2.0).mean(axis=1)
    return distances - distances.mean()
