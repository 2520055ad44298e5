"""Whether images that are not square should be squeezed or cropped: what a new head recognizes better decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from advisor.measure.sampling import sample
from strategies.data.dataset import ImageDataset
from strategies.data.encoded import SQUEEZE
from strategies.data.pixels import PixelCache
from strategies.data.resizing import with_resize
from strategies.features.extraction import extract_stages
from strategies.features.extractor import FeatureExtractor

MAX_RESIZED = 300  # images that are measured both ways
CROP = "crop"  # padding is not tried: where it was taken, it lost on average (benchmarks/resizing.py)
# Images count as nearly square if their median long side is at most this many times their median short side. Between
# 1.1 and 1.2 times, cropping gained a point with one network and lost a little with another.
NEARLY_SQUARE = 1.25


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """How well held-out images are recognized squeezed to a square, and how well cropped.

    Attributes:
        squeezed: Mean probability of the true class of squeezed images, a fraction, by a new head on frozen features.
        cropped: The same of the same images, cropped.
        standard_error: Standard error of the difference, paired by image.
        num_images: Number of images.

    Example:
        >>> from advisor.measure.resizing import Resizing
        >>> found = Resizing(squeezed=0.61, cropped=0.63, standard_error=0.008, num_images=300)
        >>> found.best
        'crop'
        >>> print(found)
        squeezed 61.0%, cropped 63.0% (+2.0 ± 0.8 points on 300 images)
    """

    squeezed: float
    cropped: float
    standard_error: float
    num_images: int

    @property
    def best(self) -> str:
        """`crop` if the probability is higher by more than its standard error, else `squeeze`."""
        return CROP if self.gain > self.standard_error else SQUEEZE

    @property
    def gain(self) -> float:
        """By how much the probability of the true class is higher where images are cropped."""
        return self.cropped - self.squeezed

    def __str__(self) -> str:
        return f"squeezed {self.squeezed:.1%}, cropped {self.cropped:.1%} ({self.gain_text})"

    @property
    def gain_text(self) -> str:
        """The gain with its standard error, in points."""
        return f"{100 * self.gain:+.1f} ± {100 * self.standard_error:.1f} points on {self.num_images:,} images"

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
    """Measures up to 300 images squeezed and cropped.

    Args:
        images: Labeled training and validation images.
        extractor: Feature extractor for the stages of the network; the last stage counts.
        seed: Seed of the sample and of the folds.
        pixel_cache: Pixel cache that may already hold some of the images.

    Returns:
        A `Resizing`, or `None` unless two classes have two images, so that images can be held out.
    """
    images = images.subset(sample(images.labels, MAX_RESIZED, seed))
    squeezed, cropped = (
        list(extract_stages(extractor, with_resize(images.items, resize), pixel_cache).values())[-1]
        for resize in (SQUEEZE, CROP)
    )
    return compare_squares(squeezed, cropped, images.labels, seed=seed, groups=images.group)


def compare_squares(
    squeezed: np.ndarray,
    cropped: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Resizing | None:
    """Cross-validates a new head on the features of squeezed images, and of the same images cropped.

    Args:
        squeezed: Features of the squeezed images, shape `(num_images, channels)`.
        cropped: Features of the cropped images, in the same order.
        labels: Class index of each image, shape `(num_images,)`.
        seed: Seed of the folds, which are the same for both.
        groups: Group of each image, none of which is divided.

    Returns:
        As `find_resizing`.
    """
    from strategies.training.head import cross_validate, make_folds

    folds = make_folds(labels, seed, groups)
    if not folds:
        return None
    held = np.concatenate([part for _, part in folds])
    plain, other = (
        cross_validate(values, labels, folds).probabilities[held, labels[held]].astype("float64")
        for values in (squeezed, cropped)
    )
    return Resizing(
        squeezed=float(plain.mean()),
        cropped=float(other.mean()),
        standard_error=float((other - plain).std() / np.sqrt(len(held))),
        num_images=len(held),
    )
