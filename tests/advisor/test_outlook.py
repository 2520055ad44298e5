"""What to expect of the advice, and what would change it."""

import json

import pytest
from synthetic_study import FAR, NEAR, fingerprint

from advisor import outlook
from advisor.outlook import Outlook, RecipeChange, images_to_change, look_ahead, neighbors
from advisor.rules import Facts
from advisor.thresholds import landmarks


def _facts(**measures):
    return Facts.from_fingerprint(fingerprint(**measures))


def test_the_expected_gain_is_a_share_of_what_the_head_leaves_wrong():
    """of 30% errors, the shares that the recipe removed in the study."""
    found = look_ahead(_facts(**NEAR), "retrain_all")
    low, middle, high = found.gain
    assert found.head_accuracy == pytest.approx(0.7)
    assert low <= middle <= high <= 0.3
    assert look_ahead(_facts(**NEAR), "head_only").gain == (0, 0, 0)


def test_where_little_is_left_to_gain_stopping_is_an_answer():
    """A head that is nearly perfect leaves less than a point."""
    assert look_ahead(_facts(similarity=0.9, late_gain=0.499), "retrain_all").stop_here
    assert not look_ahead(_facts(**FAR), "retrain_all").stop_here
    assert not look_ahead(_facts(similarity=0.9, late_gain=0.499), "head_only").stop_here


def test_the_number_of_images_that_changes_the_recipe_is_the_smallest(monkeypatch):
    """One image fewer would not have changed it."""
    against = {"effective_num_images": 1000.0, "similarity": 0.5}
    monkeypatch.setattr(outlook, "thresholds", lambda: against)
    found = images_to_change(_facts(num_images=300, **NEAR), "head_only")
    assert found == RecipeChange(num_images=1000, more=700, recipe="fine_tune_all")
    assert images_to_change(_facts(num_images=3000, **NEAR), "fine_tune_all") is None
    assert images_to_change(_facts(num_images=300, **NEAR), "retrain_all") is None


def test_neighbors_are_the_datasets_of_the_study_next_to_yours():
    """On the ruler, and nothing beyond its ends."""
    rows = landmarks()
    assert neighbors((rows[3].score + rows[4].score) / 2) == (rows[3], rows[4])
    assert neighbors(-1.0)[0] is None
    assert neighbors(2.0)[1] is None


def test_an_outlook_is_read_back_from_a_plan():
    """Its changes and landmarks included."""
    found = look_ahead(_facts(num_images=30, **NEAR), "head_only")
    assert Outlook.from_dict(json.loads(json.dumps(found.to_dict()))).to_dict() == found.to_dict()
