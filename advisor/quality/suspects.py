"""Finds suspect images: unusual ones, exact copies and near copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from advisor.quality.checks import CHECK_OF, CHECKS, Suspect
from advisor.quality.image_statistics import MEASURED_SIZE, ImageStatistics
from advisor.quality.near_copies import near_copies
from strategies.data.dataset import ImageDataset
from strategies.data.splits import components


def measures(statistics: Sequence[ImageStatistics]) -> dict[str, np.ndarray]:
    """Returns the measures that single images are checked by, one array each; NaN where a measure does not apply."""
    width, height = np.array([image.size for image in statistics], dtype="float64").T
    deviation = np.array([image.deviation for image in statistics])
    short = np.minimum(width, height)
    # Enlarged and blank images have no sharp edges either, but other checks find them.
    judged = (short >= MEASURED_SIZE) & (deviation >= CHECK_OF["blank"].limit)
    return {
        "deviation": deviation,
        "brightest": np.where(
            deviation >= CHECK_OF["blank"].limit, np.array([image.brightest for image in statistics]), np.nan
        ),
        "sharpness": np.where(judged, np.array([image.sharpness for image in statistics]), np.nan),
        "short_side": short,
        "shape": _times_median(width / height),
        "size": _times_median(np.sqrt(width * height)),
    }


def _times_median(values: np.ndarray) -> np.ndarray:
    ratio = values / np.median(values)
    return np.maximum(ratio, 1 / ratio)


def nested_suspects(dataset: ImageDataset) -> list[Suspect]:
    """Returns the sub-folders of class folders that may be the classes themselves.

    They may be if all images of every class lie in two or more sub-folders, whose names occur in no other class.
    """
    images: dict[int, Counter[str]] = defaultdict(Counter)
    for name, label in zip(dataset.names, dataset.labels.tolist(), strict=True):
        folders = name.split("/")[:-1]
        if dataset.class_names[label] not in folders[:-1]:
            return []
        images[label][folders[folders.index(dataset.class_names[label]) + 1]] += 1
    classes = Counter(folder for found in images.values() for folder in found)
    if any(len(found) < 2 for found in images.values()) or max(classes.values(), default=2) > 1:
        return []
    return [
        Suspect(path=f"{dataset.class_names[label]}/{folder}", detail=f"{count:,} images")
        for label, found in sorted(images.items())
        for folder, count in sorted(found.items())
    ]


def picture_suspects(names: Sequence[str], statistics: Sequence[ImageStatistics]) -> dict[str, list[Suspect]]:
    """Runs the checks of single images.

    Args:
        names: Names of the images.
        statistics: Statistics of the images.

    Returns:
        Code of the check -> suspects.
    """
    found, values = {}, measures(statistics)
    for check in CHECKS:
        if check.measure:
            value = values[check.measure]
            suspect = value > check.limit if check.above else value < check.limit
            found[check.code] = [
                Suspect(path=names[int(index)], detail=check.detail.format(value=value[index]))
                for index in np.flatnonzero(suspect)
            ]
    return found


def near_links(statistics: Sequence[ImageStatistics], duplicates: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Finds near copies. Of identical images, only the first is compared.

    Args:
        statistics: Statistics of the images.
        duplicates: Clusters of indices of identical images.

    Returns:
        Pairs of indices.
    """
    copies = {index for cluster in duplicates for index in cluster[1:]}
    kept = np.array([index for index in range(len(statistics)) if index not in copies])
    hashes = np.array([statistics[index].hash for index in kept], dtype="uint64")
    pairs = near_copies(hashes, np.array([statistics[index].thumbnail for index in kept]))
    return [(int(kept[first]), int(kept[second])) for first, second in pairs]


def copy_suspects(
    dataset: ImageDataset, duplicates: Sequence[Sequence[int]], near: Sequence[Sequence[int]]
) -> dict[str, list[Suspect]]:
    """Reports exact and near copies, within and across classes and splits.

    Args:
        dataset: The images with their split.
        duplicates: Clusters of indices of identical images.
        near: Pairs of indices of near copies.

    Returns:
        Code of the check -> suspects.
    """
    names, labels = dataset.names, dataset.labels
    found: dict[str, list[Suspect]] = {
        code: [] for code in ("duplicates", "near_copies", *_ACROSS.values(), "copies_across_splits")
    }
    for code, links in (("duplicates", duplicates), ("near_copies", near)):
        roots = components(len(dataset), links)
        members: dict[int, list[int]] = {}
        for index, root in enumerate(roots):
            members.setdefault(root, []).append(index)
        for root, cluster in members.items():
            found[code] += [_copy(names, index, root) for index in cluster[1:]]
            first = {int(labels[index]): index for index in reversed(cluster)}  # label -> first image with it
            if len(first) > 1:
                for index in cluster:
                    contradicting = min(image for label, image in first.items() if label != labels[index])
                    found[_ACROSS[code]].append(_copy(names, index, contradicting))
    trained: dict[int, int] = {}
    roots, split = components(len(dataset), [*duplicates, *near]), dataset.split or ()
    for index, part in enumerate(split):
        if part != "test":
            trained.setdefault(roots[index], index)
    found["copies_across_splits"] = [
        _copy(names, index, trained[roots[index]])
        for index, part in enumerate(split)
        if part == "test" and roots[index] in trained
    ]
    return found


def _copy(names: Sequence[str], index: int, original: int) -> Suspect:
    return Suspect(path=names[index], detail=f"copy of {names[original]}")


_ACROSS = {"duplicates": "duplicates_across_classes", "near_copies": "near_copies_across_classes"}
