"""What features of a frozen network show: likely wrong labels, leaks, what a random split would hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.checks import CHECKS, make_finding
from strategies.images import ImageDataset, load_dataset
from strategies.splits import split_dataset, with_groups

if TYPE_CHECKING:
    from advisor.probes import FrozenNetwork, Probe
    from advisor.profiling import DatasetProfile

MOST_TEST_IMAGES = 300  # whose neighbours are looked for in advice
MOST_CHECKED = 2_000  # images for training that `check_images` sends through a network, and likewise for testing
# A lookalike lies, in the features of a frozen network, less than 0.6 times as far as the fifth nearest training image.
# That is 13 to 36 % of the test images where frames of one video or pictures of one hand lie on both sides of a random
# split, none where they do not, and at most 8 % of those of nine other datasets (three seeds, two networks).
NEIGHBOUR, NEARER, LEAKING = 5, 0.6, 0.1
# With 5 % of the labels of eight datasets changed, this margin named 27 to 57 % of the changed ones and at most 2 % of
# the others; without a margin it was 66 to 78 % and up to 21 %.
MISTAKE_MARGIN = 0.7
GAP_SPLITS, GAP_HELD_OUT = 3, 0.25


def label_mistakes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the class that held-out predictions are confident of, -1 where they do not contradict the label.

    A class is confident of an image where its probability reaches the mean that it has over the images of that label.
    Of such classes the most probable one is the image's; a mistake is likely where it is not the label, and by 0.7 more
    probable than it.

    Args:
        probabilities: Of each class for each image when held out, shape `(num_images, num_classes)`.
        labels: Class indices, shape `(num_images,)`.

    Reference:
        Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, equation 1.

    Example:
        >>> import numpy as np
        >>> from advisor.examination import label_mistakes
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
        >>> label_mistakes(probabilities, np.array([0, 0, 1, 1])).tolist()
        [-1, -1, -1, 0]
    """
    classes = probabilities.shape[1]
    means = np.array(
        [probabilities[labels == one, one].mean() if (labels == one).any() else 2 for one in range(classes)]
    )
    confident = np.where(probabilities >= means - 1e-6, probabilities, -1.0)  # equal ones, but for rounding
    found = confident.argmax(axis=1)
    rows = np.arange(len(labels))
    margin = confident[rows, found] - probabilities[rows, labels]
    return np.where((found != labels) & (margin >= MISTAKE_MARGIN), found, -1)


def lookalikes(features: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Returns for each image the index of the one among others that it lies suspiciously near to, else -1.

    Near is what lies less than 0.6 times as far as the fifth nearest: pictures of one class lie about as far from one
    another as from the next, frames of one video do not.

    Args:
        features: Of each stage, shape `(num_images, channels)`; centred on the others and divided by their length, so
            that every stage has a say.
        others: Likewise.

    Example:
        >>> import numpy as np
        >>> from advisor.examination import lookalikes
        >>> others = np.random.default_rng(0).normal(size=(50, 8))
        >>> lookalikes([others[:2] + [[0.01], [3]]], [others]).tolist()
        [0, -1]
    """
    if len(others[0]) < NEIGHBOUR:
        return np.full(len(features[0]), -1)
    centres = [other.mean(axis=0) for other in others]
    ours, theirs = (
        np.concatenate([_unit(one - centre) for one, centre in zip(side, centres, strict=True)], axis=1)
        for side in (features, others)
    )
    found = []
    for start in range(0, len(ours), 1_000):
        distance = np.sqrt(np.maximum(2 * len(others) - 2 * ours[start : start + 1_000] @ theirs.T, 0))
        nearest = distance.argmin(axis=1)
        fifth = np.partition(distance, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1]
        found.append(np.where(distance.min(axis=1) < NEARER * fifth, nearest, -1))
    return np.concatenate(found)


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)


def split_gap(dataset: ImageDataset, features: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Returns the accuracy of a linear classifier on held-out images, with a random split and with one by groups.

    Args:
        dataset: Labelled images with groups.
        features: Of one stage, shape `(num_images, channels)`.
        seed: Of the splits; each kind is drawn three times, a quarter of the images held out.
    """
    from strategies.classifier import cross_validate

    accuracy = []
    for group in (None, dataset.group):
        right, count = 0.0, 0
        for number in range(GAP_SPLITS):
            drawn = split_dataset(
                replace(dataset, split=None, group=group),
                seed=seed + number,
                val_fraction=0,
                test_fraction=GAP_HELD_OUT,
            )
            is_test = np.array(drawn.split) == "test"
            held = np.flatnonzero(is_test)
            right += cross_validate(features, dataset.labels, [(np.flatnonzero(~is_test), held)]).correct[held].sum()
            count += len(held)
        accuracy.append(right / max(count, 1))
    return accuracy[0], accuracy[1]


def measure_and_examine(
    profile: DatasetProfile,
    dataset: ImageDataset,
    network: FrozenNetwork,
    *,
    most: int,
    most_tested: int,
    seed: int,
    whole: bool = True,
) -> tuple[DatasetProfile, Probe]:
    """Sends images through a frozen network once, and returns the profile with what that shows of their health.

    Args:
        profile: Of the dataset.
        dataset: Images with their split.
        network: Which network.
        most: Images for training and validation that are measured; a random sample where there are more.
        most_tested: Test images, likewise.
        seed: Of the samples, the folds and the splits.
        whole: Whether every stage is judged, or the last alone.
    """
    from advisor.probes import probe, sample

    is_test = np.array(dataset.split) == "test"
    learning, tested = (dataset.subset(np.flatnonzero(part)).without_copies() for part in (~is_test, is_test))
    drawn = np.random.default_rng(seed).permutation(len(tested))[:most_tested]
    probed = probe(
        learning.subset(sample(learning.labels, most, seed)),
        network,
        seed=seed,
        tested=tested.subset(np.sort(drawn)),
        whole=whole,
    )
    order = [check.code for check in CHECKS]
    found = sorted([*profile.findings, *_network_findings(probed, seed)], key=lambda one: order.index(one["code"]))
    return replace(profile, findings=tuple(found)), probed


def _network_findings(probed: Probe, seed: int) -> list[dict[str, Any]]:
    """Returns what features show: likely wrong labels, a split that leaks, and what a random split would hide."""
    images, tested = probed.images, probed.tested
    features = list(probed.features.values())
    found = []
    if len(tested):
        nearest = lookalikes(list(probed.tested_features.values()), features)
        alike = np.flatnonzero(nearest >= 0)
        if len(alike) >= LEAKING * len(tested):
            suspects = [(tested.names[index], f"looks like {images.names[nearest[index]]}") for index in alike]
            found.append(make_finding("lookalikes", suspects, total=len(tested)))
    if probed.probabilities is not None:
        other = label_mistakes(probed.probabilities, images.labels)
        suspects = [
            (images.names[index], f"looks like {images.class_names[other[index]]}")
            for index in np.flatnonzero(other >= 0)
        ]
        if suspects:
            found.append(make_finding("label_mistakes", suspects, total=len(images)))
    if images.group is not None and probed.curve is not None:
        random, grouped = split_gap(images, features[-1], seed=seed)
        values = {"gap": 100 * (random - grouped), "random": random, "grouped": grouped}
        found.append(make_finding("groups", [], total=len(images), count=len(set(images.group)), **values))
    return found


def check_images(
    source: Any, *, group_by: str | None = None, seed: int = 0, cache: bool = True, **columns: Any
) -> DatasetProfile:
    """Looks for everything in `advisor.checks.CHECKS`.

    Every image is read. Up to 2,000 for training and as many for testing, drawn at random where there are more, also go
    through the network that similarity is measured with: a finding says how many were looked at. Nothing of yours is
    moved, changed or deleted.

    Args:
        source: Anything `advisor.recommend` takes.
        group_by: As in `advisor.recommend`.
        seed: Seed of the split and of what is drawn.
        cache: Whether frozen features are kept on disk and read from there.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`.

    Returns:
        A `DatasetProfile`; its `findings` say what was found, and name the files.

    Raises:
        DatasetError: If the images or labels cannot be used.

    Example:
        >>> import advisor
        >>> profile = advisor.check_images("photos/", group_by="patient[0-9]+")  # doctest: +SKIP
        >>> [(found["code"], found["count"]) for found in profile.findings]  # doctest: +SKIP
        [('near_copies', 12), ('label_mistakes', 3)]
    """
    from advisor.probes import FrozenNetwork
    from advisor.profiling import profile_dataset
    from advisor.similarity import default_ruler

    dataset = with_groups(load_dataset(source, **columns), group_by)
    profile, dataset = profile_dataset(dataset, seed=seed, max_unreadable=1.0, cache=cache)
    ruler = default_ruler()
    network = FrozenNetwork(ruler.backbone, ruler.image_size, ruler.weights, cache)
    return measure_and_examine(
        profile, dataset, network, most=MOST_CHECKED, most_tested=MOST_CHECKED, seed=seed, whole=False
    )[0]
