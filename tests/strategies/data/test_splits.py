"""Training, validation and test splits."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_images
from strategies.data.splits import split_dataset, split_new, with_groups
from strategies.errors import DatasetError


def _labeled(sizes, **options):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return ImageDataset(
        class_names=tuple("abcdefgh"[: len(sizes)]),
        labels=labels,
        items=[Path(f"{index}.png") for index in range(len(labels))],
        names=tuple(f"{index}.png" for index in range(len(labels))),
        source="test",
        **options,
    )


SIZES = st.lists(st.integers(2, 40), min_size=2, max_size=6)
SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.sampled_from([(0.15, 0.15), (0.2, 0.1), (0.0, 0.3), (0.3, 0.0), (0.45, 0.45)])


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS, fractions=FRACTIONS)
def test_each_class_is_split_in_the_wanted_proportion(sizes, seed, fractions):
    """To within one image, always with a training image, and reproducibly. Of two images, one is for testing."""
    dataset = _labeled(sizes)
    wanted = dict(zip(("val_fraction", "test_fraction"), fractions, strict=True))
    split = split_dataset(dataset, seed=seed, **wanted).split
    assert split == split_dataset(dataset, seed=seed, **wanted).split
    for label, size in enumerate(sizes):
        counts = Counter(part for part, found in zip(split, dataset.labels, strict=True) if found == label)
        assert counts["train"] >= 1
        for part, fraction in zip(("val", "test"), fractions, strict=True):
            assert abs(counts[part] - round(size * fraction)) <= (1 if fraction else 0)
        if size == 2 and fractions[1]:
            assert counts == {"train": 1, "test": 1}


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_new_images_are_split_and_all_others_keep_theirs(sizes, seed):
    """In the proportions of a new split. A copy of a test image, and an image of its group, is a test image too."""
    old = split_dataset(_labeled(sizes), seed=seed)
    total = len(old)
    both = _labeled([2 * size for size in sizes])
    order = np.argsort(np.tile(old.labels, 2), kind="stable")  # old images of a class, then its new ones
    parts = [old.split[index] if index < total else None for index in np.arange(2 * total)[order]]
    copied = [index for index in range(2 * total) if parts[index] == "test"][:1]
    new = [index for index in range(2 * total) if parts[index] is None]
    links = [[*copied, new[-1]]]
    split = split_new(replace(both, split=tuple(parts)), seed=seed, duplicates=links).split
    assert split == split_new(replace(both, split=tuple(parts)), seed=seed, duplicates=links).split
    assert all(found == part for found, part in zip(split, parts, strict=True) if part is not None)
    assert split[new[-1]] == "test"
    for label, size in enumerate(sizes[:-1]):
        counts = Counter(split[index] for index in new if both.labels[index] == label)
        assert abs(counts["test"] - round(0.15 * size)) <= 1
    groups = replace(both, split=tuple(parts), group=tuple("a" if i in links[0] else str(i) for i in range(2 * total)))
    assert split_new(groups, seed=seed).split[new[-1]] == "test"


@settings(deadline=None)
@given(data=st.data(), sizes=SIZES, seed=SEEDS)
def test_groups_and_duplicates_are_never_divided(data, sizes, seed):
    """Not even when they are chained, and every class still has a training image."""
    total = sum(sizes)
    group = data.draw(st.lists(st.integers(0, total), min_size=total, max_size=total))
    order = data.draw(st.permutations(range(total)))
    duplicates = [order[start : start + 2] for start in range(0, total // 3, 2)]
    dataset = _labeled(sizes, group=tuple(map(str, group)))
    split = split_dataset(dataset, seed=seed, duplicates=duplicates).split
    for value in set(group):
        assert len({part for part, member in zip(split, group, strict=True) if member == value}) == 1
    for cluster in duplicates:
        assert len({split[index] for index in cluster}) == 1
    assert {label for part, label in zip(split, dataset.labels.tolist(), strict=True) if part == "train"} == set(
        range(len(sizes))
    )


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS, patients=st.integers(2, 9))
def test_groups_found_by_a_pattern_are_never_divided(sizes, seed, patients):
    """The match in the name is the group; a file without a match forms its own group."""
    plain = _labeled(sizes)
    names = tuple(f"p{index % patients}/{index}.png" if index % 3 else f"{index}.png" for index in range(len(plain)))
    dataset = with_groups(replace(plain, names=names), r"^p\d")
    split = split_dataset(dataset, seed=seed).split
    assert split == split_dataset(dataset, seed=seed).split
    for patient in range(patients):
        assert len({part for part, name in zip(split, names, strict=True) if name.startswith(f"p{patient}/")}) <= 1


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_copies_stay_with_their_originals_and_change_nothing(sizes, seed):
    """With a copy of every image at the end, the originals are split as without the copies."""
    dataset = _labeled(sizes)
    total = len(dataset)
    doubled = dataset.subset([*range(total), *range(total)])
    split = split_dataset(doubled, seed=seed, duplicates=[(index, total + index) for index in range(total)]).split
    assert split[:total] == split[total:] == split_dataset(dataset, seed=seed).split


@settings(deadline=None)
@given(
    data=st.data(),
    sizes=st.lists(st.integers(4, 30), min_size=2, max_size=4),
    seed=SEEDS,
    given_parts=st.sampled_from([("train", "test"), ("train", "val"), ("train",), ("train", "val", "test")]),
)
def test_the_users_own_split_is_kept(data, sizes, seed, given_parts):
    """Missing parts are taken only from the training images."""
    dataset = _labeled(sizes)
    own = [data.draw(st.sampled_from(given_parts)) for _ in range(len(dataset))]
    for label in range(len(sizes)):
        own[int(np.flatnonzero(dataset.labels == label)[0])] = "train"
    split = split_dataset(replace(dataset, split=tuple(own)), seed=seed).split
    allowed = {"train"} | ({"train", "val", "test"} - set(own))
    for before, after in zip(own, split, strict=True):
        assert after == before if before != "train" else after in allowed
    assert {label for part, label in zip(split, dataset.labels.tolist(), strict=True) if part == "train"} == set(
        range(len(sizes))
    )


def test_two_large_groups_are_shared_between_training_and_test():
    """If the images of a class come from two patients, one patient is for testing."""
    dataset = _labeled([100, 100], group=tuple("a" * 50 + "b" * 50 + "c" * 50 + "d" * 50))
    split = split_dataset(dataset, seed=0).split
    for label in (0, 1):
        assert {part for part, found in zip(split, dataset.labels, strict=True) if found == label} == {"train", "test"}


def test_a_rare_class_within_one_large_group_is_trained():
    """Although the group would fit best into the test split, which gets another group instead."""
    dataset = _labeled([100, 2], group=tuple("a" * 70 + "b" * 15 + "c" * 15 + "cc"))
    split = split_dataset(dataset, seed=0).split
    assert split[-2:] == ("train", "train")
    assert set(split[70:85]) == {"test"}


def test_different_seeds_give_different_splits():
    """Otherwise the seed would have no effect."""
    dataset = _labeled([20, 20])
    assert len({split_dataset(dataset, seed=seed).split for seed in range(5)}) > 1


def test_a_split_of_some_images_only_or_fractions_that_leave_nothing_are_refused():
    """Each with its own message."""
    dataset = _labeled([3, 3])
    with pytest.raises(DatasetError, match="for every image or for none"):
        split_dataset(replace(dataset, split=("train", None, None, "train", None, None)), seed=0)
    with pytest.raises(DatasetError, match="fractions"):
        split_dataset(dataset, seed=0, val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(DatasetError, match="without labels"):
        split_dataset(load_images([np.zeros((4, 5), "uint8")] * 4), seed=0)
