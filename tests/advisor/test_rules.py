"""What was measured, and the textbook's two questions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_study import facts, fingerprint

from advisor.rules import Facts, textbook_answers
from strategies.errors import UserError
from strategies.recipes import RECIPES


@pytest.mark.parametrize(
    ("images", "score", "recipe"),
    [
        (100, 0.9, "head_only"),
        (19_999, 0.5, "head_only"),
        (20_000, 0.5, "fine_tune_all"),
        (19_999, 0.499, "keep_early_layers"),
        (20_000, 0.499, "retrain_all"),
    ],
)
def test_size_and_similarity_name_the_recipe_of_the_textbook(images, score, recipe):
    """Both numbers belong to the upper side."""
    assert textbook_answers(facts(num_images=images, similarity=score)).recipe == recipe


def test_there_is_one_recipe_for_each_pair_of_answers():
    """Four recipes for two questions with two answers each."""
    assert len({(recipe.size, recipe.domain) for recipe in RECIPES.values()}) == len(RECIPES) == 4


@given(st.floats(1, 1e6), st.floats(0, 1))
def test_more_images_never_lead_from_large_to_small(images, score):
    """Every valid pair has an answer, and the size is monotone."""
    less, more = (textbook_answers(facts(num_images=count, similarity=score)).size for count in (images, 2 * images))
    assert (less, more) != ("large", "small")


@pytest.mark.parametrize("images", [0, 0.5, float("nan"), float("inf")])
def test_a_number_of_images_that_cannot_be_is_refused(images):
    """One image is the least."""
    with pytest.raises(UserError, match="one image or more"):
        replace(facts(), effective_num_images=images)


@pytest.mark.parametrize(("score", "low", "high"), [(1.2, 0, 1), (0.5, 0.6, 0.7), (-0.1, -0.2, 0.1)])
def test_a_similarity_outside_of_its_interval_is_refused(score, low, high):
    """And one outside of 0 to 1."""
    known = facts()
    with pytest.raises(UserError, match=r"similarity in \[0, 1\]"):
        replace(known, similarity=replace(known.similarity, score=score, low=low, high=high))


def test_a_similarity_without_a_score_is_refused():
    """Only a calibrated ruler gives one."""
    known = facts()
    with pytest.raises(UserError, match="calibrated ruler"):
        replace(known, similarity=replace(known.similarity, score=None))


def test_facts_are_read_from_a_fingerprint():
    """With the accuracy of a new head, which is that of the last stage."""
    found = Facts.from_fingerprint(fingerprint(similarity=0.4, late_gain=0.2, num_images=300))
    measures = found.measures()
    assert measures["effective_num_images"] == 300
    assert measures["images_per_class"] == 60
    assert measures["late_gain"] == pytest.approx(0.2)
    assert found.head_accuracy == measures["head_accuracy"] == pytest.approx(0.7)
    alone = replace(found, depth_curve=None)
    assert alone.head_accuracy is None
    assert alone.measures()["head_accuracy"] != alone.measures()["head_accuracy"]
