"""How much cells of the study are like a dataset."""

import math

import numpy as np
import pytest
from synthetic_study import facts, studied

from advisor.likeness import LIKENESS, weigh


def test_a_cell_with_the_same_measures_counts_fully():
    """And one that differs by the width of a measure as much as the normal curve says."""
    own = facts(similarity=0.5).measures()
    width = next(row.width for row in LIKENESS if row.measure == "similarity")
    cells = [studied("same", {}, similarity=0.5), studied("other", {}, similarity=0.5 + width)]
    assert weigh(own, cells).tolist() == pytest.approx([1, math.exp(-0.5)])


def test_numbers_of_images_are_compared_by_their_ratio():
    """Ten times as many is as far as a tenth."""
    own = facts(num_images=1000).measures()
    more, less = weigh(own, [studied("more", {}, num_images=10_000), studied("less", {}, num_images=100)])
    assert more == pytest.approx(less)
    assert more < 0.1


def test_a_measure_that_is_unknown_does_not_count():
    """On the side of the images it is left out; on the side of a cell it counts as one width."""
    own = facts().measures()
    cell = studied("same", {})
    assert weigh({**own, "late_gain": math.nan}, [cell]).tolist() == [1]
    unknown = studied("unknown", {})
    unknown.measures["late_gain"] = math.nan
    assert weigh(own, [unknown]).tolist() == pytest.approx([math.exp(-0.5)])


def test_without_any_measure_all_cells_count_alike():
    """So the mean of all cells is what a study without likeness would say."""
    cells = [studied("near", {}, similarity=0.9), studied("far", {}, similarity=0.1)]
    assert np.all(weigh(facts().measures(), cells, rows=()) == 1)


def test_every_measure_says_why_it_counts():
    """With a source."""
    assert all(row.reason and row.source and row.width > 0 for row in LIKENESS)
    assert {row.measure for row in LIKENESS} <= set(facts().measures())
