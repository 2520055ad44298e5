"""Splits a dataset into training, validation and test images, class by class. Groups and copies stay together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from strategies.data.dataset import SPLITS, ImageDataset, check_classes
from strategies.errors import DatasetError, few, in_a_sentence

MATCH_SECONDS = 20  # for a pattern of groups; a plain one takes a second for a million names


def split_dataset(
    dataset: ImageDataset,
    *,
    seed: int,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    duplicates: Sequence[Sequence[int]] = (),
) -> ImageDataset:
    """Assigns every image to the train, val or test split, class by class.

    A split that the user gave is kept; missing parts are taken from its training images. Images of one group, and
    copies of one image, go to the same part. Copies count as one image, so they do not change the split. Every class
    keeps a training image. A class with at least two images that can be assigned also gets a test image.

    Args:
        dataset: From `load_dataset`.
        seed: The same seed gives the same split.
        val_fraction: Share of each class for validation, 0 to 1. No effect if the user gave validation images.
        test_fraction: Share of each class for testing, 0 to 1. No effect if the user gave test images.
        duplicates: Clusters of identical images, each as a list of indices.

    Returns:
        The same dataset, with `split` filled in.

    Raises:
        DatasetError: If only some images have a split, or a class has no training image.
    """
    check_classes(dataset)
    if min(val_fraction, test_fraction) < 0 or not val_fraction + test_fraction < 1:
        raise DatasetError(
            f"Expected fractions of at least 0 whose sum is below 1. Received: val_fraction={val_fraction}, "
            f"test_fraction={test_fraction}. Leave some images for training."
        )
    split = list(dataset.split or ["train"] * len(dataset))
    wrong = sorted({str(part) for part in split} - set(SPLITS))
    if wrong:
        raise DatasetError(
            f"Expected a split of {', '.join(SPLITS)} for every image or for none. Received: {few(wrong)} in "
            f"{dataset.source!r}. Fill in every split or leave the split out."
        )
    fractions = {"test": test_fraction, "val": val_fraction}
    fractions = {part: fraction for part, fraction in fractions.items() if part not in split}
    units = _units(dataset, [index for index, part in enumerate(split) if part == "train"], duplicates)
    return replace(dataset, split=_drawn(dataset, split, units, fractions, seed, duplicates))


def split_new(
    dataset: ImageDataset,
    *,
    seed: int,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    duplicates: Sequence[Sequence[int]] = (),
) -> ImageDataset:
    """Assigns the images that have no split yet to one, class by class. All others keep theirs.

    A new image that is a copy of an image with a split, or of its group, goes to the same part, to the test images
    first: a copy of a test image is not trained on. The other new images are split as by `split_dataset`.

    Args:
        dataset: Images, of which some have a split and the others `None`.
        seed: As in `split_dataset`.
        val_fraction: Share of the new images of each class for validation.
        test_fraction: Share of the new images of each class for testing.
        duplicates: As in `split_dataset`.

    Returns:
        The same dataset, with `split` filled in.

    Raises:
        DatasetError: If a class has fewer than two images, or no training image.

    Example:
        >>> import numpy as np
        >>> from strategies.data.dataset import ImageDataset
        >>> from strategies.data.splits import split_new
        >>> images = ImageDataset(
        ...     class_names=("cat", "dog"), labels=np.array([0, 0, 1, 1, 1]), items=[*np.zeros((5, 8, 8), "uint8")],
        ...     names=tuple("abcde"), source="arrays", split=("train", "test", None, None, None))
        >>> split_new(images, seed=0, duplicates=[[1, 4]]).split
        ('train', 'test', 'train', 'test', 'test')
    """
    split = list(dataset.split or [None] * len(dataset))
    for unit in _units(dataset, range(len(dataset)), duplicates):
        known = {split[index] for index in unit} - {None}
        part = next((name for name in ("test", "val", "train") if name in known), None)
        for index in unit:
            split[index] = split[index] or part
    units = _units(dataset, [index for index, part in enumerate(split) if part is None], duplicates)
    found = _drawn(dataset, split, units, {"test": test_fraction, "val": val_fraction}, seed, duplicates)
    dataset = replace(dataset, split=found)
    check_classes(dataset)
    return dataset


def _drawn(
    dataset: ImageDataset,
    split: Sequence[str | None],
    units: Sequence[Sequence[int]],
    fractions: Mapping[str, float],
    seed: int,
    duplicates: Sequence[Sequence[int]],
) -> tuple[str | None, ...]:
    """Returns the split after drawing a part for each unit. Copies with the same label count as one image."""
    drawn = list(split)
    originals = components(len(dataset), duplicates)
    counts = [Counter(label for _, label in {(originals[i], int(dataset.labels[i])) for i in unit}) for unit in units]
    for unit, part in zip(units, _assign(counts, fractions, np.random.default_rng(seed)), strict=True):
        for index in unit:
            drawn[index] = part
    return tuple(drawn)


def components(size: int, links: Iterable[Sequence[int]]) -> list[int]:
    """Returns, for each of `size` items, the smallest index in its connected component.

    Args:
        size: Number of items.
        links: Groups of indices that belong together.
    """
    parent = list(range(size))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for link in links:
        for index in link:
            smaller, larger = sorted((find(link[0]), find(index)))
            parent[larger] = smaller
    return [find(index) for index in range(size)]


def with_groups(dataset: ImageDataset, pattern: str | None) -> ImageDataset:
    """Returns the dataset with groups taken from the names of its files.

    Args:
        dataset: Images from files.
        pattern: A regular expression. It is searched for in the path relative to the root, such as `hand\\d+` in
            `a/hand1_left.jpg`. Files with the same match form a group; a file without a match forms its own group.
            `None` changes nothing.

    Raises:
        DatasetError: If the pattern is not a regular expression or does not give at least two groups, or if the images
            are not files or have groups already.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from strategies.data.dataset import ImageDataset
        >>> from strategies.data.splits import with_groups
        >>> names = ("a/hand1_left.jpg", "a/hand2_left.jpg", "b/hand1_top.jpg", "b/other.jpg")
        >>> dataset = ImageDataset(
        ...     class_names=("a", "b"), labels=np.array([0, 0, 1, 1]), items=[Path(name) for name in names],
        ...     names=names, source="photos")
        >>> with_groups(dataset, "hand\\\\d+").group
        ('hand1', 'hand2', 'hand1', 'b/other.jpg')
    """
    if pattern is None:
        return dataset
    expected, advice = "Expected a pattern that finds groups of files.", "Give for example --group-by 'hand\\d+'."
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise DatasetError(f"{expected} Received: {pattern!r} ({in_a_sentence(error)}). {advice}") from error
    if dataset.group is not None:
        raise DatasetError(f"{expected} Received: a pattern and a column of groups. Leave one of them out.")
    if not all(isinstance(item, Path) for item in dataset.items):
        raise DatasetError(
            f"{expected} Received: {dataset.source!r}, whose images are not files. Give a table with groups."
        )
    try:
        found = _search(pattern, dataset.names)
    except subprocess.TimeoutExpired as error:
        raise DatasetError(
            f"{expected} Received: {pattern!r}, which takes more than {MATCH_SECONDS} s on {len(dataset):,} names. "
            f"Do not repeat what is itself a repetition, as in '(a+)+'. {advice}"
        ) from error
    group = tuple(name if match is None else match for match, name in zip(found, dataset.names, strict=True))
    matched = [match for match in found if match is not None]
    if not matched or len(set(group)) < 2:
        what = "all files as one group" if matched else "no file"
        raise DatasetError(f"{expected} Received: {pattern!r}, which matches {what}, such as {group[0]!r}. {advice}")
    return replace(dataset, group=group)


def _search(pattern: str, names: Sequence[str]) -> list[str | None]:
    """Returns the first match in each name, in a process of its own: some patterns take forever on some names."""
    code = (
        "import json, re, sys; pattern, names = json.load(sys.stdin); "
        "json.dump([match and match[0] for match in map(re.compile(pattern).search, names)], sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        input=json.dumps([pattern, names]),
        capture_output=True,
        text=True,
        check=True,
        timeout=MATCH_SECONDS,
    )
    found: list[str | None] = json.loads(done.stdout)
    return found


def group_links(dataset: ImageDataset) -> list[list[int]]:
    """Returns the indices of each group of at least two images."""
    members = defaultdict(list)
    for index, group in enumerate(dataset.group or ()):
        members[group].append(index)
    return [indices for indices in members.values() if len(indices) > 1]


def _units(dataset: ImageDataset, chosen: Sequence[int], duplicates: Sequence[Sequence[int]]) -> list[list[int]]:
    """Returns the chosen images as units: lists of indices that must stay together."""
    inside = set(chosen)
    links = [[index for index in link if index in inside] for link in (*duplicates, *group_links(dataset))]
    units = defaultdict(list)
    roots = components(len(dataset), links)
    for index in chosen:
        units[roots[index]].append(index)
    return list(units.values())


def _assign(units: Sequence[Counter[int]], fractions: Mapping[str, float], generator: np.random.Generator) -> list[str]:
    """Returns a part for each unit. The largest units come first; each goes where its classes lack the most images."""
    totals: Counter[int] = Counter()
    for unit in units:
        totals.update(unit)
    due = _quotas(totals, fractions)
    parts = [""] * len(units)
    for number in sorted(generator.permutation(len(units)).tolist(), key=lambda number: -units[number].total()):
        unit = units[number]
        part = max(due, key=lambda part: sum(count * due[part][label] / totals[label] for label, count in unit.items()))
        parts[number] = part
        due[part].subtract(unit)
    # Large groups may leave a class without training images or without test images.
    for part in ("train", "test"):
        if part == "train" or fractions.get(part):
            _fill(part, units, parts)
    return parts


def _quotas(totals: Counter[int], fractions: Mapping[str, float]) -> dict[str, Counter[int]]:
    """Returns how many images of each class each part gets. Of two images, one is for training and one for testing."""
    due = {part: Counter[int]() for part in ("train", *fractions)}
    for label, total in totals.items():
        left = total
        for part, fraction in fractions.items():
            wanted = int(total * fraction + 0.5)
            if part == "test" and fraction > 0:
                wanted = max(wanted, 1)
            due[part][label] = min(wanted, left - 1)
            left -= due[part][label]
        due["train"][label] = left
    return due


def _fill(part: str, units: Sequence[Counter[int]], parts: list[str]) -> None:
    """Moves the smallest unit that can be spared to `part`, for each class without an image there."""
    holders = defaultdict(list)
    for number, unit in enumerate(units):
        for label in unit:
            holders[label].append(number)
    for label in sorted(holders):
        if any(parts[number] == part for number in holders[label]):
            continue
        spared = [
            number
            for number in holders[label]
            if part == "train"
            or all(
                any(parts[rest] == "train" for rest in holders[present] if rest != number) for present in units[number]
            )
        ]
        if spared:
            parts[min(spared, key=lambda number: units[number].total())] = part
