"""The learning curve: how accurate a new head is with fewer of the images, and what to expect of more images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from advisor.measure.input_size import fitting_size
from advisor.measure.probes import Probe, probe
from advisor.measure.profile import profile_dataset
from advisor.measure.sampling import sample
from strategies.cluster import on_ray
from strategies.data.loading import load_dataset
from strategies.data.splits import with_groups
from strategies.errors import DatasetError
from strategies.features.cache import default_cache
from strategies.features.extraction import stage_extractor
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import choose_network
from strategies.processes import num_cores

MAX_IMAGES = 2_000
SHARES = (0.25, 0.5)  # of the images, to which heads are fitted besides all of them
TIMES = (2, 4, 10)  # as many images as there are
MOST_CHECKED = 4  # times the images: beyond it, the law was only checked from parts of about a hundred images
PRIOR_IMAGES = 10.0  # of a class, as many as the mean error of all classes counts when the error of one is estimated
Z_80 = 1.281552
EXPONENTS = np.geomspace(0.01, 4, 120)


@dataclass(frozen=True, kw_only=True)
class Law:
    """How the errors of a head fall with more images: to a share that levels off.

    With `k` times the images, the share `floor + (1 - floor) k^-exponent` of the errors is left.

    Attributes:
        floor: Share of the errors that no number of images removes.
        exponent: The usual exponent, which counts where little is known.
        pull: How strongly the exponent of a dataset is pulled toward the usual one: the weight of the squared logarithm
            of their ratio, where each measured size has a weight of one.
        drift: Standard deviation of the logarithm of the share, for each e-fold of the number of images.
    """

    floor: float
    exponent: float
    pull: float
    drift: float

    def share(self, times: Any, exponent: Any) -> Any:
        """Returns the share of the errors that is left with so many times the images.

        Example:
            >>> from advisor.measure.learning_curve import Law
            >>> Law(floor=0.2, exponent=0.5, pull=0.0, drift=0.1).share(4, 0.5).round(2).item()
            0.6
        """
        return self.floor + (1 - self.floor) * times ** -np.asarray(exponent)

    def fit(self, sizes: Sequence[int], errors: Sequence[float]) -> float:
        """Returns the exponent of a dataset.

        Args:
            sizes: Numbers of images.
            errors: Share of errors with each of them, above 0.
        """
        times = np.array(sizes)[:, None] / sizes[-1]
        residuals = np.log(errors)[:, None] - np.log(self.share(times, EXPONENTS))
        squares = ((residuals - residuals.mean(axis=0)) ** 2).sum(axis=0)
        return float(EXPONENTS[(squares + self.pull * np.log(EXPONENTS / self.exponent) ** 2).argmin()])


# Fitted with `python benchmarks/learning_curve.py DATASETS` to 31 datasets (MobileNetV2-0.35 at 96 px). Floors from 0
# to 0.5 do equally well there, each with an exponent of its own; so 0.2 is a choice, and not a measurement.
LAW = Law(floor=0.2, exponent=0.22, pull=0.1, drift=0.14)


@dataclass(frozen=True, kw_only=True)
class MoreImages:
    """What a new head is expected to reach with more images. Accuracies are fractions.

    Attributes:
        times: As many times the images.
        num_images: The number of images that this makes.
        accuracy: Expected accuracy.
        low: Lower end of its 80% interval.
        high: Upper end.
        checked: Whether so many times the measured images were checked from a few hundred images. Otherwise the figures
            are less certain than they look.
    """

    times: int
    num_images: int
    accuracy: float
    low: float
    high: float
    checked: bool


@dataclass(frozen=True, kw_only=True)
class ClassGain:
    """What a class is expected to gain from twice the images of every class. Shares are fractions.

    Attributes:
        name: The class.
        num_images: Number of its images that were held out.
        accuracy: Share of them that were classified correctly.
        gain: How much that share is expected to rise.
    """

    name: str
    num_images: int
    accuracy: float
    gain: float


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """How accurate a new head on the frozen network is with fewer images, and what to expect of more.

    Attributes:
        network: The frozen network.
        num_images: Number of training and validation images without copies.
        sizes: Numbers of images for which the accuracy was measured, from small to large. The last is `num_images`, or
            that of the sample that was measured. As always in cross-validation, each head is fitted to a part of them:
            four fifths, or less where a class has fewer than five images.
        accuracy: Cross-validated accuracy for each of them, a fraction. All are judged on the same images.
        expected: What to expect of 2, 4 and 10 times `num_images`; first of `num_images` itself if these are a sample.
        classes: The classes, those that gain most first.
    """

    network: PretrainedNetwork
    num_images: int
    sizes: tuple[int, ...]
    accuracy: tuple[float, ...]
    expected: tuple[MoreImages, ...]
    classes: tuple[ClassGain, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `fingerprint.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LearningCurve:
        """Reads the curve of `fingerprint.json`."""
        return cls(
            network=PretrainedNetwork(**values["network"]),
            num_images=values["num_images"],
            sizes=tuple(values["sizes"]),
            accuracy=tuple(values["accuracy"]),
            expected=tuple(MoreImages(**row) for row in values["expected"]),
            classes=tuple(ClassGain(**row) for row in values["classes"]),
        )


def measure_learning_curve(
    source: Any,
    *,
    backbone: str | None = None,
    weights: str = "auto",
    image_size: int | None = None,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    max_unreadable: float = 0.05,
    group_by: str | None = None,
    cache: bool = True,
    ray: str | None = None,
    **columns: Any,
) -> LearningCurve:
    """Measures how accurate a new head is with fewer of your images, and tells what to expect of more.

    The images go through the frozen network once. On their features, a new head is cross-validated with a quarter, half
    and all of the training and validation images. A law that levels off continues the curve.

    Args:
        source: Anything `advisor.recommend` takes.
        backbone: As in `recommend`.
        weights: As in `recommend`.
        image_size: As in `recommend`.
        max_images: Largest number of images that are measured; above it, a random sample with every class in it.
        seed: Seed of the split, of the sample and of the folds.
        max_unreadable: Largest share of files that may be unreadable.
        group_by: As in `recommend`.
        cache: Whether frozen features are cached on disk.
        ray: As in `recommend`.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`, `encoding`; for
            folders: `follow_links`.

    Returns:
        A `LearningCurve`.

    Raises:
        DatasetError: If the images or labels cannot be used, or no two classes have two images to learn from.
        UnknownNameError: If the backbone does not exist.
        WeightsError: If its weights are not available.

    Reference:
        Power laws with a floor: Rosenfeld et al. 2020, A Constructive Prediction of the Generalization Error Across
        Scales. The exponent is pulled toward that of other datasets, because three sizes do not tell it well.

    Example:
        >>> import advisor, numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype="uint8")
        >>> curve = advisor.measure_learning_curve(
        ...     (images, ["cat", "dog"] * 20), backbone="MobileNet-0.25", image_size=32, weights="random", cache=False)
        >>> [row.num_images for row in curve.expected]
        [68, 136, 340]
    """
    with on_ray(ray):
        network = choose_network(backbone, weights).network
        dataset = with_groups(load_dataset(source, **columns), group_by)
        network = network.of(dataset.items).at(image_size or fitting_size(network, dataset.items))
        _, dataset = profile_dataset(dataset, seed=seed, max_unreadable=max_unreadable, cache=cache)
        learning = dataset.subset(np.flatnonzero(np.array(dataset.split) != "test")).without_copies()
        chosen = learning.subset(sample(learning.labels, max_images, seed))
        extractor = stage_extractor(network, cache=default_cache() if cache else None)
        probed = probe(chosen, extractor, seed=seed, every_stage=False)
        curve = fit_learning_curve(probed, network, seed=seed, num_images=len(learning))
    if curve is None:
        what = "images" if learning.group is None else "groups of images"
        raise DatasetError(
            f"Expected two or more different {what} of two classes to learn from. Received: {len(learning):,} images "
            f"of {dataset.source!r} where no class, or only one, has two. Add images."
        )
    return curve


def fit_learning_curve(
    probed: Probe, network: PretrainedNetwork, *, seed: int, num_images: int
) -> LearningCurve | None:
    """Measures the learning curve on the features of the last stage, and continues it.

    Args:
        probed: Images that went through a frozen network.
        network: The network.
        seed: Seed of the folds and of the smaller sets of images; that of `probed`.
        num_images: The number of images that `probed` was drawn from.

    Returns:
        The curve, or `None` where no image could be held out.
    """
    if probed.probabilities is None:
        return None
    labels = probed.images.labels
    held = probed.probabilities.any(axis=1)
    correct = held_out_by_size(
        list(probed.features.values())[-1],
        labels,
        seed=seed,
        whole=probed.probabilities.argmax(axis=1) == labels,
        groups=probed.images.group,
    )
    sizes = tuple(correct)
    hits = [right[held] for right in correct.values()]
    errors = [smoothed_error(right) for right in hits]
    exponent, sampled = LAW.fit(sizes, errors), num_images / sizes[-1]
    expected = []
    for times in (1, *TIMES) if sampled > 1 else TIMES:
        accuracy, low, high = expect_accuracy(errors[-1], len(hits[-1]), exponent, sampled * times)
        expected.append(
            MoreImages(
                times=times,
                num_images=times * num_images,
                accuracy=accuracy,
                low=low,
                high=high,
                checked=sampled * times <= MOST_CHECKED,
            )
        )
    removed = float(LAW.share(sampled, exponent) - LAW.share(2 * sampled, exponent))
    return LearningCurve(
        network=network,
        num_images=num_images,
        sizes=sizes,
        accuracy=tuple(float(right.mean()) for right in hits),
        expected=tuple(expected),
        classes=_classes(labels[held], hits[-1], probed.images.class_names, removed),
    )


def held_out_by_size(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    whole: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
) -> dict[int, np.ndarray]:
    """Cross-validates a head with a quarter, half and all of the images. All sizes are judged on the same images.

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`. Two classes have two images.
        seed: Seed of the folds, and of the smaller sets, each of which is part of the larger ones.
        whole: The result for all images, if it is known.
        groups: Group of each image, none of which is divided.

    Returns:
        Number of images -> whether each image was classified correctly while it was held out. Sizes at which no class
        would lose an image are left out.
    """
    from strategies.training.head import cross_validate, make_folds, one_thread

    folds = make_folds(labels, seed, groups)
    order = np.random.default_rng(seed).permutation(len(labels))
    num_trained = sum(len(train) for train, _ in folds)
    by_size = {}
    for share in SHARES:
        fewer = [(_part(train, labels, order, share), held) for train, held in folds]
        size = round(len(labels) * sum(len(train) for train, _ in fewer) / num_trained)
        by_size[size] = fewer
    by_size.pop(len(labels), None)
    if whole is None:
        by_size[len(labels)] = folds
    with one_thread(), ThreadPoolExecutor(num_cores()) as pool:
        results = pool.map(lambda parts: cross_validate(features, labels, parts).correct, by_size.values())
        found = dict(zip(by_size, results, strict=True))
    return found if whole is None else {**found, len(labels): whole}


def _part(train: np.ndarray, labels: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """Returns the first images of each class in a random order: a share of them, at least one."""
    shuffled = order[np.isin(order, train)]
    kept = [members[: max(1, round(share * len(members)))] for members in _by_class(shuffled, labels)]
    return np.sort(np.concatenate(kept))


def _by_class(indices: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    return [indices[labels[indices] == label] for label in np.unique(labels[indices])]


def smoothed_error(correct: np.ndarray) -> float:
    """Returns the share of errors, with half an error added so that it is never zero."""
    return float((~correct).sum() + 0.5) / (len(correct) + 1)


def expect_accuracy(
    error: float, num_judged: int, exponent: float, times: float, law: Law = LAW
) -> tuple[float, float, float]:
    """Returns the accuracy to expect of more images, and the ends of its 80% interval.

    The interval has two parts: that of a share of so many images, and the drift of the law, which grows with the
    number of images.

    Args:
        error: Share of errors that was measured, above 0.
        num_judged: Number of images that it was measured on.
        exponent: From `Law.fit`.
        times: As many times the images.
        law: The law.
    """
    left = error * float(law.share(times, exponent))
    spread = Z_80 * math.sqrt((1 - error) / (error * num_judged) + (law.drift * math.log(times)) ** 2)
    return 1 - left, max(0.0, 1 - left * math.exp(spread)), 1 - left * math.exp(-spread)


def class_errors(labels: np.ndarray, correct: np.ndarray) -> dict[int, float]:
    """Returns the share of errors in each class, pulled toward that of all images where a class has few.

    Args:
        labels: Class of each image that was held out.
        correct: Whether it was classified correctly.

    Example:
        >>> import numpy as np
        >>> from advisor.measure.learning_curve import class_errors
        >>> errors = class_errors(np.array([0] * 90 + [1] * 10), np.arange(100) < 90)
        >>> [round(error, 2) for error in errors.values()]
        [0.01, 0.55]
    """
    mean = float((~correct).mean())
    rows = {int(label): ~correct[labels == label] for label in np.unique(labels)}
    return {
        label: float(wrong.sum() + PRIOR_IMAGES * mean) / (len(wrong) + PRIOR_IMAGES) for label, wrong in rows.items()
    }


def _classes(labels: np.ndarray, correct: np.ndarray, names: Sequence[str], removed: float) -> tuple[ClassGain, ...]:
    """Returns the classes by what they gain when a share of the errors is removed."""
    rows = [
        ClassGain(
            name=names[label],
            num_images=int((labels == label).sum()),
            accuracy=float(correct[labels == label].mean()),
            gain=removed * error,
        )
        for label, error in class_errors(labels, correct).items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.gain))
