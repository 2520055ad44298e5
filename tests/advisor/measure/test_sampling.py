"""Random samples with every class in them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from advisor.measure.sampling import sample


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=80).map(np.array),
    max_images=st.integers(0, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_sample_has_the_requested_size_and_every_class(labels, max_images, seed):
    """Sorted, each index once; two images of each class stay even where that is more than requested."""
    chosen = sample(labels, max_images, seed)
    counts = np.bincount(labels)
    at_least = np.minimum(counts, 2).sum()
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == min(len(labels), max(max_images, at_least))
    assert (np.bincount(labels[chosen], minlength=len(counts)) >= np.minimum(counts, 2)).all()


def test_the_seed_decides_which_images_are_drawn():
    """The same seed draws the same images, another seed others."""
    labels = np.repeat([0, 1], 500)
    assert sample(labels, 100, 3).tolist() == sample(labels, 100, 3).tolist()
    assert sample(labels, 100, 3).tolist() != sample(labels, 100, 4).tolist()
