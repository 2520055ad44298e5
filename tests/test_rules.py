"""Rules, margins and cautions."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.rules import CAUTIONS, RULES, apply_rules, explain_why_not, find_cautions, thresholds
from advisor.similarity import Similarity, default_ruler
from strategies.errors import UserError
from strategies.recipes import RECIPES

FACTS = {
    "effective_num_images": 300,
    "num_images": 350,
    "min_images_per_class": 40,
    "imbalance_ratio": 1.0,
    "num_grayscale": 0,
    "num_unreadable": 0,
    "num_ignored": 0,
    "num_duplicates": 0,
    "num_duplicates_across_classes": 0,
    "median_short_side": 200,
    "image_size": 128,
    "score": 0.9,
    "low": 0.88,
    "high": 0.92,
    "num_images_measured": 300,
    "size_threshold": 1000,
    "similarity_threshold": 0.5,
    "largest_calibrated": 5000,
    "runner_up": "fine_tune_all",
}
# For each caution, what makes it appear in an otherwise unremarkable dataset.
TRIGGERS = {
    "size_near_threshold": {"effective_num_images": 900},
    "similarity_near_threshold": {"score": 0.5, "low": 0.4, "high": 0.6},
    "few_images_for_similarity": {"num_images_measured": 63},
    "beyond_calibration": {"effective_num_images": 5001},
    "few_images_per_class": {"min_images_per_class": 9},
    "imbalance": {"imbalance_ratio": 3.1},
    "upscaling": {"median_short_side": 80},
    "grayscale": {"num_grayscale": 200},
    "unreadable": {"num_unreadable": 1},
    "ignored": {"num_ignored": 1},
    "duplicates": {"num_duplicates": 1},
    "duplicates_across_classes": {"num_duplicates_across_classes": 2},
}


def _similarity(score, spread=0.0):
    return Similarity(
        score=score,
        low=score - spread,
        high=score + spread,
        distance=0.01,
        floor=0.005,
        by_depth={},
        ruler=default_ruler(),
        calibrated=True,
        num_images=100,
    )


@pytest.mark.parametrize(
    ("images", "score", "recipe"),
    [
        (100, 0.9, "head_only"),
        (999, 0.5, "head_only"),
        (1000, 0.5, "fine_tune_all"),
        (999, 0.499, "keep_early_layers"),
        (1000, 0.499, "retrain_all"),
    ],
)
def test_the_cell_of_size_and_similarity_names_the_recipe(images, score, recipe):
    """Both thresholds belong to the upper side."""
    verdict = apply_rules(images, _similarity(score, 0.01))
    assert verdict.rule.recipe == recipe
    assert verdict.margins["size"]["factor"] == images / 1000


def test_every_rule_names_a_recipe_and_fills_its_sentence():
    """Exactly one row per cell, and every `because` can be written from the facts."""
    assert len({(rule.size, rule.domain) for rule in RULES}) == len(RULES) == 4
    for rule in RULES:
        assert rule.recipe in RECIPES
        assert "300" in rule.because.format_map(FACTS)


@given(st.floats(1, 1e7), st.floats(0, 1))
def test_the_rule_is_total_and_its_confidence_is_the_largest_probability(images, score):
    """Every valid pair leads to one recipe; no other is more probable; the four sum to one."""
    verdict = apply_rules(images, _similarity(score))
    assert verdict.confidence == max(verdict.probabilities.values())
    assert math.isclose(sum(verdict.probabilities.values()), 1)
    assert verdict.runner_up != verdict.rule.recipe


@given(st.floats(1, 1e6), st.floats(0, 1))
def test_more_images_never_lead_from_large_to_small(images, score):
    """The size of the verdict is monotone in the number of images."""
    less, more = (apply_rules(count, _similarity(score)).margins["size"]["side"] for count in (images, images * 2))
    assert (less, more) != ("large", "small")


@pytest.mark.parametrize(
    ("images", "score", "low", "high"),
    [(math.nan, 0.5, 0.4, 0.6), (0, 0.5, 0.4, 0.6), (9, math.nan, 0.4, 0.6), (9, 1.1, 0.4, 1.2), (9, 0.5, 0.6, 0.7)],
)
def test_what_is_not_a_measurement_is_an_error(images, score, low, high):
    """NaN and values out of range never decide silently."""
    with pytest.raises(UserError, match="Received"):
        apply_rules(images, replace(_similarity(0.5), score=score, low=low, high=high))


def test_an_uncalibrated_ruler_decides_nothing():
    """Distances without a scale are no similarity."""
    with pytest.raises(UserError, match="calibrated ruler"):
        apply_rules(100, replace(_similarity(0.5), score=None, low=None, high=None))


def test_the_textbook_calls_fewer_than_20000_images_small():
    """The textbook's own thresholds stand beside those of the advice."""
    rows = thresholds("textbook")
    assert apply_rules(19_999, _similarity(0.9), rows=rows).rule.recipe == "head_only"
    assert apply_rules(20_000, _similarity(0.9), rows=rows).rule.recipe == "fine_tune_all"


def test_why_not_names_what_each_of_the_other_three_lacks():
    """The sentence for a recipe speaks of the sides on which it differs, and only of those."""
    reasons = explain_why_not(apply_rules(300, _similarity(0.9, 0.02)), FACTS)
    assert set(reasons) == {"fine_tune_all", "keep_early_layers", "retrain_all"}
    assert "similarity" not in reasons["fine_tune_all"]
    assert "fewer than 1,000" not in reasons["keep_early_layers"]
    assert "fewer than 1,000" in reasons["retrain_all"]
    assert "0.90 is at least 0.50" in reasons["retrain_all"]


def test_an_unremarkable_dataset_has_no_cautions():
    """Cautions are for what is unusual."""
    assert find_cautions(FACTS) == []


@pytest.mark.parametrize("code", [caution.code for caution in CAUTIONS])
def test_every_caution_appears_when_its_condition_holds(code):
    """Each row fires on its own trigger and its message can be written."""
    found = {row["code"]: row["message"] for row in find_cautions(FACTS | TRIGGERS[code])}
    assert code in found
    assert "{" not in found[code]
