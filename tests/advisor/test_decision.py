"""Which recipe is advised."""

import pytest
from synthetic_study import facts, studied

from advisor.decision import cheapest_good, confidence, decide, plausible
from advisor.expectation import Expectation, Expected, expect
from advisor.preferences import PREFERENCES
from strategies.errors import UnknownNameError
from strategies.recipes import RECIPES

SECONDS = {"head_only": 10, "keep_early_layers": 60, "fine_tune_all": 100, "retrain_all": 110}


def _expected(*, num_like=20.0, right=None, ahead=None, **accuracy):
    head = accuracy.get("head_only", 0.5)
    recipes = {
        name: Expected(
            accuracy=accuracy.get(name, 0.5),
            low=0.4,
            high=0.9,
            gain=accuracy.get(name, 0.5) - head,
            ahead=(ahead or {}).get(name, 9.0 * (accuracy.get(name, 0.5) - accuracy.get("fine_tune_all", 0.5))),
            right=(right or {}).get(name, 0.5),
        )
        for name in RECIPES
    }
    return Expectation(recipes=recipes, default="fine_tune_all", num_like=num_like, datasets=("signs",), known=True)


@pytest.mark.parametrize(
    ("prefer", "recipe"), [("accuracy", "fine_tune_all"), ("balanced", "keep_early_layers"), ("speed", "head_only")]
)
def test_the_preference_says_how_much_accuracy_is_given_for_time(prefer, recipe):
    """The cheapest recipe within the tolerance of the best."""
    expected = _expected(head_only=0.785, keep_early_layers=0.796, fine_tune_all=0.8, retrain_all=0.7)
    found = decide(facts(), expected, SECONDS, prefer)
    assert found.recipe == recipe
    assert found.runner_up != recipe


def test_of_recipes_that_are_about_equally_cheap_the_better_one_is_advised():
    """A tenth less time is no reason to give up accuracy: times are not known that well."""
    expected = _expected(keep_early_layers=0.797, fine_tune_all=0.8)
    assert cheapest_good(expected, {**SECONDS, "keep_early_layers": 90}) == "fine_tune_all"
    assert cheapest_good(expected, SECONDS) == "keep_early_layers"


@pytest.mark.parametrize("best", list(RECIPES))
def test_every_recipe_is_advised_where_it_is_clearly_the_best(best):
    """No recipe is out of reach."""
    for prefer in PREFERENCES:
        assert decide(facts(), _expected(**{best: 0.9}), SECONDS, prefer).recipe == best


def test_confidence_is_how_often_it_was_right_and_one_half_without_evidence():
    """With few cells that are alike, it lies in between."""
    sure = {"fine_tune_all": 0.9}
    found = [confidence(_expected(right=sure, num_like=count), "fine_tune_all") for count in (0, 0.5, 1e6)]
    assert found == pytest.approx([0.5, 0.7, 0.9], abs=1e-4)


def test_the_reasons_hold_the_measured_numbers():
    """And no reason contradicts the recipe."""
    cells = [studied(f"set{index}", {"head_only": 70, "fine_tune_all": 85}) for index in range(50)]
    measured = facts(num_images=300, similarity=0.9)
    first, second = decide(measured, expect(measured, cells), SECONDS).because
    assert "300 images" in first
    assert "0.90" in first
    assert "of 1: similar." in first
    assert "fine_tune_all adds" in second
    cheap = decide(measured, _expected(head_only=0.797, fine_tune_all=0.8), SECONDS)
    assert cheap.recipe == "head_only"
    assert "fine_tune_all adds only 0.3 points to head_only, within" in cheap.because[1]
    alone = decide(measured, _expected(head_only=0.9), SECONDS)
    assert "nothing adds to a new head alone" in alone.because[1]


def test_a_race_is_among_the_recipes_that_may_be_best():
    """The advised one first, then the one that is expected to reach the most, then those that were right at times."""
    expected = _expected(fine_tune_all=0.8, retrain_all=0.79, right={"head_only": 0.02, "keep_early_layers": 0.3})
    assert plausible(expected, "fine_tune_all") == ("fine_tune_all", "retrain_all", "keep_early_layers")


def test_an_unknown_preference_is_refused():
    """With the nearest name."""
    with pytest.raises(UnknownNameError, match="Did you mean 'balanced'"):
        decide(facts(), _expected(), SECONDS, "balance")
