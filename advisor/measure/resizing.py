"""Whether images that are not square should be squeezed, cropped or padded: what a new head recognizes best decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from advisor.measure.sampling import sample
from strategies.data.dataset import ImageDataset
from strategies.data.encoded import SQUEEZE
from strategies.data.pixels import PixelCache
from strategies.data.resizing import SQUARES, with_resize
from strategies.features.extraction import extract_stages
from strategies.features.extractor import FeatureExtractor

RESIZED = {SQUEEZE: "squeezed", "crop": "cropped", "pad": "padded"}  # in words
MAX_RESIZED = 300  # images that are measured in each way
# Images count as nearly square if their median long side is at most this many times their median short side. Between
# 1.1 and 1.2 times, cropping gained a point with one network and nothing with another (benchmarks/resizing.py).
NEARLY_SQUARE = 1.1


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """How well held-out images are recognized where they are squeezed, cropped or padded to a square.

    Attributes:
        probability: Way to resize -> mean probability of the true class, a fraction, by a new head on frozen features.
        standard_error: Way to resize -> standard error of the difference from `squeeze`, paired by image.
        num_images: Number of images.

    Example:
        >>> from advisor.measure.resizing import Resizing
        >>> found = Resizing(
        ...     probability={"squeeze": 0.61, "crop": 0.63, "pad": 0.55},
        ...     standard_error={"squeeze": 0.0, "crop": 0.008, "pad": 0.011},
        ...     num_images=300,
        ... )
        >>> found.best
        'crop'
        >>> print(found)
        squeezed 61.0%, cropped 63.0% (+2.0 ± 0.8 points), padded 55.0% (-6.0 ± 1.1 points), on 300 images
    """

    probability: Mapping[str, float]
    standard_error: Mapping[str, float]
    num_images: int

    @property
    def best(self) -> str:
        """The way of the highest probability, if it is above that of `squeeze` by more than its standard error."""
        better = [resize for resize, error in self.standard_error.items() if self.gain(resize) > error]
        return max(better, key=self.gain, default=SQUEEZE)

    def gain(self, resize: str) -> float:
        """Returns how much higher the probability is in a way than where images are squeezed."""
        return self.probability[resize] - self.probability[SQUEEZE]

    def __str__(self) -> str:
        ways = [
            f"{RESIZED[resize]} {probability:.1%}" + ("" if resize == SQUEEZE else f" ({self.gain_text(resize)})")
            for resize, probability in self.probability.items()
        ]
        return f"{', '.join(ways)}, on {self.num_images:,} images"

    def gain_text(self, resize: str) -> str:
        """Returns the gain with its standard error: `+2.0 ± 0.8 points`."""
        return f"{100 * self.gain(resize):+.1f} ± {100 * self.standard_error[resize]:.1f} points"

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `fingerprint.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Resizing:
        """Reads the measurement of `fingerprint.json`."""
        return cls(**values)


def are_nearly_square(image_sizes: Mapping[str, Mapping[str, float]]) -> bool:
    """Returns whether most images are so close to square that it hardly matters how they become square.

    Args:
        image_sizes: As in `DatasetProfile.image_sizes`.

    Example:
        >>> from advisor.measure.resizing import are_nearly_square
        >>> are_nearly_square({"short_side": {"median": 480}, "long_side": {"median": 640}})
        False
    """
    return image_sizes["long_side"]["median"] <= NEARLY_SQUARE * image_sizes["short_side"]["median"]


def find_resizing(
    images: ImageDataset, extractor: FeatureExtractor, *, seed: int, pixel_cache: PixelCache | None = None
) -> Resizing | None:
    """Measures up to 300 images squeezed, cropped and padded.

    Args:
        images: Labeled training and validation images.
        extractor: Feature extractor for the stages of the network; the last stage counts.
        seed: Seed of the sample and of the folds.
        pixel_cache: Pixel cache that may already hold some of the images.

    Returns:
        A `Resizing`, or `None` unless two classes have two images, so that images can be held out.
    """
    images = images.subset(sample(images.labels, MAX_RESIZED, seed))
    features = {
        resize: list(extract_stages(extractor, with_resize(images.items, resize), pixel_cache).values())[-1]
        for resize in SQUARES
    }
    return compare_ways(features, images.labels, seed=seed)


def compare_ways(features: Mapping[str, np.ndarray], labels: np.ndarray, *, seed: int) -> Resizing | None:
    """Cross-validates a new head on the features of images that were resized in different ways.

    Args:
        features: Way to resize -> features of the same images, shape `(num_images, channels)`.
        labels: Class index of each image, shape `(num_images,)`.
        seed: Seed of the folds, which are the same for all ways.

    Returns:
        As `find_resizing`.
    """
    from strategies.training.head import cross_validate, make_folds

    folds = make_folds(labels, seed)
    if not folds:
        return None
    held = np.concatenate([part for _, part in folds])
    truth = {
        resize: cross_validate(values, labels, folds).probabilities[held, labels[held]].astype("float64")
        for resize, values in features.items()
    }
    return Resizing(
        probability={resize: float(values.mean()) for resize, values in truth.items()},
        standard_error={
            resize: float((values - truth[SQUEEZE]).std() / np.sqrt(len(held))) for resize, values in truth.items()
        },
        num_images=len(held),
    )
