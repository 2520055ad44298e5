"""Rules, evidence and margins."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.measure.probes import DepthCurve
from advisor.measure.similarity import Similarity, default_ruler
from advisor.rules import (
    EVIDENCE,
    RULES,
    Facts,
    apply_rules,
    calibrated_confidence,
    cell_probabilities,
    choose,
    evidence_rows,
    rate_factor,
)
from advisor.calibration import thresholds
from strategies.errors import UnknownNameError, UserError
from strategies.recipes import RECIPES

PLAIN = {"effective_num_images": 1000.0, "similarity": 0.5}


def _similarity(score, spread=0.0):
    return Similarity(
        score=score,
        low=max(0.0, score - spread),
        high=min(1.0, score + spread),
        distance=0.01,
        floor=0.005,
        by_depth={},
        ruler=default_ruler(),
        calibrated=True,
        num_images=100,
    )


def _curve(*accuracy):
    stages = tuple(f"stage{index}" for index in range(len(accuracy)))
    return DepthCurve(
        stages=stages,
        accuracy=accuracy,
        standard_error=(0.01,) * len(accuracy),
        chance=0.2,
        best_stage=stages[int(np.argmax(accuracy))],
        chosen_stage=stages[0],
        num_images=100,
    )


def _facts(images=300, score=0.9, *, accuracy=None, classes=5):
    return Facts(
        effective_num_images=images,
        num_classes=classes,
        similarity=_similarity(score, 0.02),
        depth_curve=None if accuracy is None else _curve(*accuracy),
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
    verdict = apply_rules(_facts(images, score), compared_with=PLAIN)
    assert verdict.rule.recipe == recipe
    assert verdict.margins.size.factor == images / 1000
    assert f"{images:,}" in verdict.because
    assert RECIPES[recipe].because in verdict.because


def test_there_is_one_rule_for_each_cell():
    """Four rows for four recipes."""
    assert len({(rule.size, rule.domain) for rule in RULES}) == len(RULES) == 4
    assert {rule.recipe for rule in RULES} == set(RECIPES)


@given(st.floats(1, 1e7), st.floats(0, 1))
def test_the_rule_is_total(images, score):
    """Every valid pair leads to one recipe; the probabilities of the four sum to one; the runner-up is another."""
    verdict = apply_rules(_facts(images, score), compared_with=PLAIN)
    assert math.isclose(sum(verdict.probabilities.values()), 1)
    assert verdict.probabilities[verdict.rule.recipe] == max(verdict.probabilities.values())
    assert verdict.runner_up != verdict.rule.recipe
    assert 0 < verdict.confidence < 1


@given(st.floats(1, 1e6), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_images_never_lead_from_large_to_small(images, score, early, late):
    """The size of the verdict is monotone in the number of images, with the numbers that ship."""
    less, more = (
        apply_rules(_facts(count, score, accuracy=(early, early, late))).rule.size for count in (images, images * 2)
    )
    assert (less, more) != ("large", "small")


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1), st.floats(-1, 1)), min_size=1, max_size=8))
def test_arrays_are_decided_as_single_numbers_are(rows):
    """The fit decides about all cells at once, and as the advice does about one."""
    against = {**PLAIN, "late_gain": 0.02, "headroom": None}
    measures = [
        {"effective_num_images": images, "similarity": score, "late_gain": gain} for images, score, gain in rows
    ]
    arrays = {name: np.array([row[name] for row in measures]) for name in measures[0]}
    assert choose(arrays, against).tolist() == [int(choose(row, against)) for row in measures]


@pytest.mark.parametrize(
    ("images", "score", "low", "high"),
    [(math.nan, 0.5, 0.4, 0.6), (0, 0.5, 0.4, 0.6), (9, math.nan, 0.4, 0.6), (9, 1.1, 0.4, 1.2), (9, 0.5, 0.6, 0.7)],
)
def test_what_is_not_a_measurement_is_an_error(images, score, low, high):
    """NaN and values out of range never decide silently."""
    similarity = replace(_similarity(0.5), score=score, low=low, high=high)
    with pytest.raises(UserError, match="Received"):
        Facts(effective_num_images=images, num_classes=2, similarity=similarity)


def test_an_uncalibrated_ruler_decides_nothing():
    """Distances without a scale are no similarity."""
    similarity = replace(_similarity(0.5), score=None, low=None, high=None)
    with pytest.raises(UserError, match="calibrated ruler"):
        Facts(effective_num_images=100, num_classes=2, similarity=similarity)


def test_the_textbook_calls_fewer_than_20000_images_small():
    """The textbook's own thresholds stand beside those of the advice."""
    against = thresholds("textbook")
    assert apply_rules(_facts(19_999), compared_with=against).rule.recipe == "head_only"
    assert apply_rules(_facts(20_000), compared_with=against).rule.recipe == "fine_tune_all"


@pytest.mark.parametrize(("accuracy", "side"), [((0.5, 0.6, 0.5), "different"), ((0.5, 0.6, 0.65), None)])
def test_what_the_last_stages_add_overrules_the_similarity(accuracy, side):
    """Below the number the domain is different, from it on the row has no effect."""
    against = {**PLAIN, "late_gain": 0.0}
    for score, plain in ((0.9, "similar"), (0.1, "different")):
        verdict = apply_rules(_facts(2000, score, accuracy=accuracy), compared_with=against)
        (row,) = verdict.evidence
        assert row.value == pytest.approx(accuracy[2] - 0.6)
        assert row.answers == ({} if side is None else {"domain": side})
        assert row.decides == tuple(row.answers)
        assert row.overrules == (side not in (None, plain))
        assert verdict.rule.domain == (side or plain)
        assert (bool(row.because) and row.because in verdict.because) == bool(row.decides)
        assert verdict.margins.similarity.side == plain


def test_many_images_of_each_class_count_as_different():
    """Near ImageNet too: from the number on, not below it."""
    against = {**PLAIN, "images_per_class": 40.0}
    for images, side in ((199, "similar"), (200, "different")):
        verdict = apply_rules(_facts(images, 0.9), compared_with=against)
        assert verdict.rule.domain == side


def test_evidence_that_is_unknown_or_left_out_decides_nothing():
    """Without a depth curve, or with the row named, size and similarity decide."""
    against = {**PLAIN, "late_gain": 0.0}
    assert apply_rules(_facts(2000, 0.9), compared_with=against).rule.recipe == "fine_tune_all"
    facts = _facts(2000, 0.9, accuracy=(0.5, 0.6, 0.5))
    assert apply_rules(facts, compared_with=against).rule.recipe == "retrain_all"
    rows = evidence_rows(["late_gain"])
    assert apply_rules(facts, compared_with=against, evidence=rows).rule.recipe == "fine_tune_all"
    with pytest.raises(UnknownNameError, match="Did you mean 'late_gain'"):
        evidence_rows(["late_gains"])


def test_the_last_row_that_speaks_of_a_question_decides_it():
    """A head that leaves nothing wrong overrules what the depths say, and both are listed."""
    against = {**PLAIN, "late_gain": 0.0, "headroom": 0.05}
    verdict = apply_rules(_facts(2000, 0.9, accuracy=(0.5, 0.99, 0.97)), compared_with=against)
    assert [(row.name, row.answers, row.decides) for row in verdict.evidence] == [
        ("late_gain", {"domain": "different"}, ()),
        ("headroom", {"size": "small", "domain": "similar"}, ("size", "domain")),
    ]
    assert verdict.rule.recipe == "head_only"


def test_no_headroom_means_a_head_is_enough():
    """Where it leaves almost nothing wrong, more cannot be better by much: one reason answers both questions."""
    against = {**PLAIN, "late_gain": 0.0, "headroom": 0.05}
    verdict = apply_rules(_facts(2000, 0.1, accuracy=(0.5, 0.99, 0.97)), compared_with=against)
    assert verdict.rule.recipe == "head_only"
    assert verdict.because.count("little is left to gain") == 1
    for reason in verdict.why_not.values():
        assert reason.count("little is left to gain") == 1


def test_every_row_of_evidence_says_what_it_saw_in_words():
    """And only where it applies."""
    for row in EVIDENCE:
        facts = _facts(300, 0.9, accuracy=(0.5, 0.6, 0.7))
        applies, silent = (1e6, -1e6) if row.when == "below" else (-1e6, 1e6)
        (found,) = apply_rules(facts, compared_with={**PLAIN, row.name: applies}).evidence
        assert found.answers == row.answers
        assert all(side in found.because for side in row.answers.values())
        assert "{" not in found.because
        (found,) = apply_rules(facts, compared_with={**PLAIN, row.name: silent}).evidence
        assert (found.answers, found.because) == ({}, "")


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_the_further_from_its_numbers_the_surer(gain, further):
    """Probability of the similar side grows with what the last stages add."""
    against = {**PLAIN, "late_gain": 0.0}
    low, high = sorted((gain, further))
    chances = []
    for value in (low, high):
        found = cell_probabilities(_facts(2000, 0.5, accuracy=(0.5, 0.5, 0.5 + value)), against)
        chances.append(found["fine_tune_all"] + found["head_only"])
    assert chances[0] <= chances[1] + 1e-12


def test_confidence_is_a_share_of_the_study():
    """A logistic curve over the odds of the cell, lower where the depths disagree."""
    straight = {"intercept": 0.0, "slope": 1.0, "disagree": -1.0}
    assert calibrated_confidence(0.5, False, straight) == 0.5
    assert calibrated_confidence(0.9, False, straight) == pytest.approx(0.9)
    assert calibrated_confidence(0.9, True, straight) < 0.9
    flat = {"intercept": 1.0, "slope": 0.0, "disagree": 0.0}
    assert calibrated_confidence(1.0, False, flat) == calibrated_confidence(0.1, True, flat)


@pytest.mark.parametrize(("score", "late", "disagree"), [(0.9, 0.5, True), (0.9, 0.9, False), (0.1, 0.9, True)])
def test_the_depths_disagree_where_the_last_stages_speak_for_the_other_domain(score, late, disagree):
    """Much added far from ImageNet, or little near it."""
    verdict = apply_rules(_facts(2000, score, accuracy=(0.5, 0.6, late)), compared_with=PLAIN)
    assert verdict.depths_disagree is disagree


def test_the_learning_rate_follows_similarity():
    """Below the fitted similarity the factor, else one."""
    rates = {"similarity": 0.6, "factor": 3.0}
    assert rate_factor(_facts(300, 0.59), rates) == 3
    assert rate_factor(_facts(300, 0.6), rates) == 1


def test_why_not_names_what_each_of_the_other_three_lacks():
    """The sentence for a recipe names the sides on which it differs, and only of those."""
    reasons = apply_rules(_facts(300, 0.9), compared_with=PLAIN).why_not
    assert set(reasons) == {"fine_tune_all", "keep_early_layers", "retrain_all"}
    assert "similarity" not in reasons["fine_tune_all"]
    assert "below the threshold of 1,000" not in reasons["keep_early_layers"]
    assert "below the threshold of 1,000" in reasons["retrain_all"]
    assert "0.90, reaches the threshold of 0.50" in reasons["retrain_all"]
