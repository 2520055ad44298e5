"""Whether images mean the same when they are mirrored, so that training may flip them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MAX_MIRRORED = 300  # images that are also predicted mirrored
FEWER_MIRRORED = 100  # the first of them, which suffice where they are clearly recognized as well
# Mirrored images count as different if the probability of their class falls by more than both of these, a share of it
# and a number of standard errors. That tells digits and letters from all other datasets, with two networks
# (benchmarks/flips.py). Smaller falls also have another cause: all shoes of a shop look to the left.
SMALLEST_SHARE = 0.15
STANDARD_ERRORS = 2.5


@dataclass(frozen=True, kw_only=True)
class Mirroring:
    """How well held-out images are recognized as they are, and how well mirrored left to right.

    Classifiers on the features of a frozen network learn from images as they are. What they find in flowers or
    textures does not depend on left and right, in letters it does.

    Attributes:
        plain: Mean probability of the true class of held-out images, a fraction, over the classifiers of all stages.
        mirrored: The same of the same images, mirrored.
        standard_error: Standard error of the difference, paired by image.
        num_images: Number of images.

    Example:
        >>> from advisor.measure.mirroring import Mirroring
        >>> letters = Mirroring(plain=0.81, mirrored=0.62, standard_error=0.02, num_images=300)
        >>> letters.matters
        True
        >>> print(letters)
        recognized less well: the probability of the true class falls by 19.0 ± 2.0 points on 300 images
    """

    plain: float
    mirrored: float
    standard_error: float
    num_images: int

    @property
    def fall(self) -> float:
        """By how much the probability of the true class is lower where images are mirrored."""
        return self.plain - self.mirrored

    @property
    def matters(self) -> bool:
        """Whether mirrored images are recognized clearly less well, so that training must not flip them."""
        return self.fall > max(SMALLEST_SHARE * self.plain, STANDARD_ERRORS * self.standard_error)

    @property
    def may_matter(self) -> bool:
        """Whether more images could still show that mirrored images are recognized clearly less well."""
        return self.fall + STANDARD_ERRORS * self.standard_error > SMALLEST_SHARE * self.plain

    def __str__(self) -> str:
        how, direction = "less well" if self.matters else "about as well", "falls" if self.fall > 0 else "rises"
        return (
            f"recognized {how}: the probability of the true class {direction} by {100 * abs(self.fall):.1f} ± "
            f"{100 * self.standard_error:.1f} points on {self.num_images:,} images"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `fingerprint.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Mirroring:
        """Reads the measurement of `fingerprint.json`."""
        return cls(**values)


def compare_views(plain: np.ndarray, mirrored: np.ndarray) -> Mirroring:
    """Compares the probabilities of the true class, given to images as they are and mirrored.

    Args:
        plain: Probability of the true class of each held-out image, shape `(num_images,)`.
        mirrored: The same of the mirrored images, in the same order.

    Example:
        >>> import numpy as np
        >>> from advisor.measure.mirroring import compare_views
        >>> compare_views(np.array([0.9, 0.8, 0.9]), np.array([0.9, 0.8, 0.9])).matters
        False
    """
    fall = plain.astype("float64") - mirrored
    return Mirroring(
        plain=float(plain.mean(dtype="float64")),
        mirrored=float(mirrored.mean(dtype="float64")),
        standard_error=float(fall.std() / np.sqrt(len(fall))),
        num_images=len(fall),
    )
