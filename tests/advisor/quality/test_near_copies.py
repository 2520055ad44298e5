"""Near copies are found by their hashes and verified on their thumbnails."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.quality.near_copies import near_copies


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 5))
def test_near_copies_are_linked_however_many_there_are(seed, others, copies):
    """Whatever their order: every copy is in a pair, and no other image is."""
    generator = np.random.default_rng(seed)
    thumbnails = generator.integers(0, 256, (others + 1, 1024), dtype="uint8")
    thumbnails = np.concatenate([thumbnails, np.repeat(thumbnails[:1] // 2 + 50, copies, axis=0)])
    hashes = generator.integers(0, 2**64, others + 1, dtype="uint64")
    flips = np.uint64(1) << generator.integers(0, 64, copies, dtype="uint64")
    hashes = np.concatenate([hashes, hashes[0] ^ flips])
    order = generator.permutation(len(hashes))
    pairs = near_copies(hashes[order], thumbnails[order])
    inside = {int(order[index]) for pair in pairs for index in pair}
    assert inside == {0, *range(others + 1, others + 1 + copies)}
