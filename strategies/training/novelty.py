"""Novelty: how far an image lies from all classes of a model, and from where on it is probably none of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from strategies.data.sources.archives import check_zip
from strategies.files import open_regular
from strategies.training.head import one_thread

VERSION = 1  # of the file
KEPT = 0.95  # share of the images of known classes that are to stay below the threshold
FEWEST_IMAGES = 19  # of n distances, the largest is one that n / (n + 1) of further images do not exceed
MOST_IMAGES = 500  # from which the axes are computed; with 1,000, no more images of other datasets were found
TINY = 1e-12  # replaces a squared distance of zero, as of images that are all the same


@dataclass(frozen=True, kw_only=True, eq=False)
class Novelty:
    """What the novelty of an image is measured by: the class means of its features, and a threshold.

    The features are the outputs of every stage of the network, averaged over the image plane, each divided by its
    length, and joined. The novelty is their distance to the nearest class mean, divided by the threshold. Directions in
    which images of the same class differ much count less: it is a Mahalanobis distance with one covariance for all
    classes, which is shrunk, and the same in all directions but the principal axes.

    Attributes:
        layers: Names of the layers that give the features.
        means: Mean of each class, float32 of shape `(num_classes, num_features)`.
        axes: Principal axes within the classes, float32 of shape `(num_axes, num_features)`. The squared length of each
            is the share of the squared distance along it that does not count.
        threshold: The distance that 95% of the images of known classes are expected not to exceed.

    Reference:
        Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples (arXiv:1807.03888),
        equation 2; features of length one as in Müller & Hein 2025, Mahalanobis++ (arXiv:2505.18032).
    """

    layers: tuple[str, ...]
    means: np.ndarray
    axes: np.ndarray
    threshold: float

    def measure(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the novelty of each image: above 1, it is probably none of the classes.

        Args:
            features: The averaged output of each of the layers, shape `(num_images, channels)`.

        Returns:
            float64 array of shape `(num_images,)`.
        """
        return _distances(_joined(features), self.means, self.axes) / self.threshold


def fit_novelty(
    features: Sequence[np.ndarray],
    labels: np.ndarray,
    *,
    layers: Sequence[str],
    seed: int,
    threshold: float | None = None,
) -> Novelty | None:
    """Fits the means, the axes and the threshold on features of images that the model knows.

    The threshold is that of conformal prediction: of n distances, the one of rank 0.95 (n + 1), rounded up. Each image
    is measured by means and axes that did not see it. So all training images count, not only the few for validation.
    That holds for a frozen network only: training moves the features of the images that it sees to their classes.

    Args:
        features: The averaged output of each of the layers, shape `(num_images, channels)`.
        labels: Class indices, shape `(num_images,)`.
        layers: Names of the layers.
        seed: Seed of the choice of images for the axes.
        threshold: From `find_threshold`, if the network was trained on these images.

    Returns:
        A `Novelty`, or `None` with fewer than 19 images: no threshold can promise 95% then.

    Reference:
        Barber et al. 2021, Predictive inference with the jackknife+ (arXiv:1905.02928): each image is left out in turn.

    Example:
        >>> import numpy as np
        >>> from strategies.training.novelty import fit_novelty
        >>> photos = np.random.default_rng(0).normal(size=(60, 8)) + 9 * np.repeat(np.eye(8)[:2], 30, axis=0)
        >>> novelty = fit_novelty([photos], np.repeat([0, 1], 30), layers=["pool"], seed=0)
        >>> float((novelty.measure([photos]) <= 1).mean()) > 0.9, novelty.measure([np.eye(8)[2:3]]) > 1
        (True, array([ True]))
    """
    if threshold is None and len(labels) < FEWEST_IMAGES:
        return None
    values = _joined(features)
    fitted = _fit(values, labels, seed)
    if threshold is None:
        threshold = _kept_distance(_left_out_distances(values, fitted))
    return Novelty(layers=tuple(layers), means=fitted.means, axes=fitted.axes, threshold=threshold)


def find_threshold(
    features: Sequence[np.ndarray], labels: np.ndarray, others: Sequence[np.ndarray], *, seed: int
) -> float:
    """Returns the distance that 95% of new images of the classes are expected not to exceed.

    With fewer than 19 other images it is the largest of theirs, which promises less.

    Args:
        features: Features of the images that the network was trained on, as for `fit_novelty`.
        labels: Their class indices.
        others: Features of images of the same classes that it was not trained on, one or more.
        seed: Seed of the choice of images for the axes.
    """
    fitted = _fit(_joined(features), labels, seed)
    return _kept_distance(_distances(_joined(others), fitted.means, fitted.axes))


def save_novelty(novelty: Novelty, path: Path, *, model: str) -> None:
    """Writes a novelty in NumPy's format `.npz`: numbers and text only, no code.

    Args:
        novelty: The novelty.
        path: The file.
        model: SHA-256 of the model file whose features it was fitted on.
    """
    with path.open("wb") as file:
        np.savez(file, version=VERSION, model=model, **asdict(novelty))


def load_novelty(path: Path, *, model: str) -> Novelty:
    """Returns the novelty that `save_novelty` wrote.

    Args:
        path: The file.
        model: SHA-256 of the model file that is used.

    Raises:
        ValueError: If the file belongs to another model, or has other content. Damaged files raise errors of many
            types.
    """
    with open_regular(path) as file:
        check_zip(file, str(path))
        with np.load(file, allow_pickle=False) as arrays:
            if int(arrays["version"]) != VERSION or str(arrays["model"]) != model:
                raise ValueError("of another model or release")
            layers = tuple(map(str, arrays["layers"]))
            means, axes, threshold = arrays["means"], arrays["axes"], float(arrays["threshold"])
    are_tables = all(array.dtype == "float32" and array.ndim == 2 for array in (means, axes))
    if not are_tables or means.shape[1] != axes.shape[1] or not layers or not 0 < threshold < math.inf:
        raise ValueError("other content than a run writes")
    return Novelty(layers=layers, means=means, axes=axes, threshold=threshold)


def _kept_distance(distances: np.ndarray) -> float:
    """Returns the distance that 95% of further images are expected not to exceed."""
    rank = math.ceil(KEPT * (len(distances) + 1) - 1e-9)
    return float(np.sort(distances)[min(rank, len(distances)) - 1])


def _joined(features: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the outputs of all layers side by side, each divided by its length."""
    lengths = [np.linalg.norm(values.astype("float64"), axis=1, keepdims=True) for values in features]
    parts = [values / np.where(length > 0, length, 1.0) for values, length in zip(features, lengths, strict=True)]
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What `_fit` finds. The distance is that by the covariance `I + strength * scatter`, within the classes.

    Attributes:
        means: As in `Novelty`.
        axes: As in `Novelty`.
        owner: Index of the mean of each image.
        in_scatter: Whether the scatter holds the image, 0 or 1.
        strength: What the scatter is multiplied by.
    """

    means: np.ndarray
    axes: np.ndarray
    owner: np.ndarray
    in_scatter: np.ndarray
    strength: float


def _fit(values: np.ndarray, labels: np.ndarray, seed: int) -> _Fitted:
    """Fits class means and axes. The covariance is shrunk by the rule of Ledoit & Wolf 2004."""
    from scipy.linalg import eigh

    found, owner = np.unique(labels, return_inverse=True)
    means = np.stack([values[labels == label].mean(axis=0) for label in found])
    chosen = np.random.default_rng(seed).permutation(len(values))[:MOST_IMAGES]
    within = values[chosen] - means[owner[chosen]]
    count, width = within.shape
    is_wide = count < width  # then there are no more axes than images
    with one_thread():
        products = (within @ within.T if is_wide else within.T @ within) / count
        variances, axes = eigh(products)
        kept = variances > TINY
        variances, axes = variances[kept], axes[:, kept].T
        if is_wide:
            axes = axes @ within / np.sqrt(count * variances)[:, None]
    mean, squares = np.trace(products) / width, (products**2).sum()
    noise = ((within**2).sum(axis=1) ** 2).mean() - squares
    shrinkage = min(1.0, noise / count / max(squares - width * mean**2, TINY))
    strength = (1 - shrinkage) / max(count * shrinkage * mean, TINY)
    left = 1 / (1 + strength * count * variances)  # what counts of the squared distance along each axis
    return _Fitted(
        means=means.astype("float32"),
        axes=(axes * np.sqrt(1 - left)[:, None]).astype("float32"),
        owner=owner,
        in_scatter=np.isin(np.arange(len(values)), chosen).astype("float64"),
        strength=float(strength),
    )


def _left_out_distances(values: np.ndarray, fitted: _Fitted) -> np.ndarray:
    """Returns the distance of each image to the nearest class, by means and axes that did not see it.

    Without an image, the scatter within its class loses one product, so its inverse changes by the formula of Sherman
    and Morrison. Only how far the covariance is shrunk stays as it was.
    """
    axes, means, owner = fitted.axes.astype("float64"), fitted.means.astype("float64"), fitted.owner
    own = values - means[owner]  # from the mean of the image's own class
    counted = own - own @ axes.T @ axes
    length = (own * counted).sum(axis=1)
    of_class = np.bincount(owner)[owner]
    factor = of_class / np.maximum(of_class - 1, 1)  # the image also pulls the mean to itself
    lost = fitted.in_scatter * fitted.strength * factor
    gain = lost / np.maximum(1 - lost * length, TINY)
    across = (values * counted).sum(axis=1)[:, None] - counted @ means.T
    squared = _squared(values, means) - _squared(values @ axes.T, means @ axes.T) + gain[:, None] * across**2
    to_own = factor**2 * (length + gain * length**2)
    squared[np.arange(len(values)), owner] = np.where(of_class > 1, to_own, np.inf)
    return np.asarray(np.sqrt(np.maximum(squared.min(axis=1), TINY)))


def _distances(values: np.ndarray, means: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Returns the distance of each image to the nearest mean, without what does not count along the axes."""
    squared = _squared(values, means) - _squared(values @ axes.T, means @ axes.T)
    return np.asarray(np.sqrt(np.maximum(squared.min(axis=1), TINY)))


def _squared(values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Returns the squared distance of each image to each mean."""
    means = means.astype("float64")
    return np.asarray((values**2).sum(axis=1)[:, None] + (means**2).sum(axis=1) - 2 * values @ means.T)
