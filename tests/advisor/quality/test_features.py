"""What features of a frozen network show about labels and splits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.quality.features import label_mistakes, lookalikes, split_gap
from strategies.data.dataset import ImageDataset


@settings(deadline=None, max_examples=25)
@given(st.sets(st.integers(0, 59), max_size=6))
def test_changed_labels_are_suggested_where_predictions_are_sure(changed):
    """All of them, with the class they had; none where predictions are unsure."""
    truth = np.repeat([0, 1, 2], 20)
    labels = truth.copy()
    labels[list(changed)] = (labels[list(changed)] + 1) % 3
    for right, expected in ((0.9, changed), (0.5, set())):
        beliefs = np.full((60, 3), (1 - right) / 2)
        beliefs[np.arange(60), truth] = right
        found = label_mistakes(beliefs, labels)
        assert set(np.flatnonzero(found >= 0)) == expected
        assert all(found[index] == truth[index] for index in expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10))
def test_lookalikes_are_the_frames_of_what_was_seen(seed, frames):
    """Whatever the scale of the features; images drawn as the others are none."""
    generator = np.random.default_rng(seed)
    others = generator.normal(size=(60, 64))
    new = generator.normal(size=(10, 64))
    new[:frames] = others[:frames] + 0.05 * generator.normal(size=(frames, 64))
    found = lookalikes([new, 9 * new], [others, 9 * others])
    assert found.tolist() == [*range(frames), *[-1] * (10 - frames)]


def test_a_random_split_flatters_where_groups_share_more_than_their_class():
    """Features that know the group, not the class, are as good as chance on new groups alone."""
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 6)
    labels = group % 2
    features = generator.normal(size=(20, 40))[group] + 0.1 * generator.normal(size=(120, 40))
    dataset = ImageDataset(
        class_names=("cat", "dog"),
        labels=labels,
        items=[np.zeros((2, 2), "uint8")] * 120,
        names=tuple(map(str, range(120))),
        source="synthetic",
        group=tuple(map(str, group)),
    )
    random, grouped = split_gap(dataset, features, seed=0)
    assert random > 0.95
    assert grouped < 0.8
    assert (random, grouped) == split_gap(dataset, features, seed=0)
