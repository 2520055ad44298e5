"""What four recipes reached, as values: ranking, ties, and what hindsight adds."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from advisor.outcomes import Outcome, Outcomes
from strategies.errors import UnknownNameError
from strategies.recipes import RECIPES


def _outcomes(accuracy, seconds, val_accuracy, *, advised="head_only", val_loss=(1.0,) * 4):
    """Outcomes on 100 test images, of which the first ones are right; only what the outcomes read is there."""
    columns = zip(RECIPES, accuracy, seconds, val_accuracy, val_loss, strict=True)
    found = tuple(
        Outcome(
            recipe=name,
            plan=None,
            share=1.0,
            metrics={"val_accuracy": judged, "val_loss": loss, "seconds": took},
            test=SimpleNamespace(accuracy=right / 100, low=0.0, high=1.0),
            correct=np.arange(100) < right,
        )
        for name, right, took, judged, loss in columns
    )
    return Outcomes(advice=SimpleNamespace(plan=SimpleNamespace(recipe=advised)), outcomes=found)


def test_recipes_are_ranked_by_test_accuracy():
    """Best first; the advice loses what the best one has more."""
    found = _outcomes([50, 95, 70, 60], [1.0, 20.0, 10.0, 5.0], [0.9, 0.5, 0.5, 0.4])
    assert [outcome.recipe for outcome in found.ranking] == [
        "fine_tune_all", "keep_early_layers", "retrain_all", "head_only",
    ]  # fmt: skip
    assert (found.best, found.advised.recipe, found.rival.recipe) == ("fine_tune_all", "head_only", "fine_tune_all")
    assert found.regret == pytest.approx(0.45)
    assert found.extra_seconds == -19
    assert found.lead[0] == pytest.approx(-0.45)


def test_ties_go_to_the_advised_recipe_and_then_to_the_fastest():
    """Equal accuracy is no reason against the advice."""
    found = _outcomes([80] * 4, [9.0, 8.0, 7.0, 6.0], [0.5] * 4, advised="fine_tune_all")
    assert [outcome.recipe for outcome in found.ranking] == [
        "fine_tune_all", "retrain_all", "keep_early_layers", "head_only",
    ]  # fmt: skip
    assert (found.regret, found.extra_seconds, found.lead) == (0, 0, (0, 0))


def test_validation_would_have_chosen_another_recipe():
    """By accuracy, then by loss; recipes without validation do not take part."""
    rest = ([50] * 4, [1.0] * 4)
    assert _outcomes(*rest, [0.9, 0.5, 0.5, None]).chosen_on_validation == "head_only"
    assert _outcomes(*rest, [0.5] * 4, val_loss=[3.0, 2.0, 1.0, 4.0]).chosen_on_validation == "keep_early_layers"
    assert _outcomes(*rest, [None] * 4).chosen_on_validation is None


def test_an_outcome_is_found_by_the_name_of_its_recipe():
    """A typo gets a suggestion."""
    found = _outcomes([50] * 4, [1.0] * 4, [0.5] * 4)
    assert found["retrain_all"].recipe == "retrain_all"
    assert "retrain_all" in repr(found["retrain_all"])
    with pytest.raises(UnknownNameError, match="Did you mean 'head_only'"):
        found["head"]


def test_outcomes_are_plain_values_for_json():
    """With the ranking, and the lead with its error."""
    found = _outcomes([50, 95, 70, 60], [1.0, 20.0, 10.0, 5.0], [0.9, 0.5, 0.5, None])
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["best"] == "fine_tune_all"
    assert [row["recipe"] for row in values["recipes"]] == [outcome.recipe for outcome in found.ranking]
    assert values["lead"]["standard_error"] > 0
