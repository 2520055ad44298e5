"""The expected and the actual time, in words."""

from dataclasses import asdict, replace

import pytest

from advisor.report.costs import timing_text
from strategies.plans.cost import RecipeCost
from strategies.plans.planning import make_plan

COSTS = {
    "head_only": RecipeCost(seconds=3.63, seconds_per_epoch=None, memory=None),
    "fine_tune_all": RecipeCost(seconds=754.0, seconds_per_epoch=42.4, memory=3 * 2**29),
}


@pytest.mark.parametrize("recipe", ["head_only", "fine_tune_all"])
def test_what_was_expected_stands_beside_what_it_took(recipe):
    """An epoch lasts from one evaluation to the next, at the median; the strings come from a file."""
    plan = make_plan(recipe, "MobileNet-0.25", class_names=["cat", "dog"], num_train=320, image_size=32)
    history = [
        {"phase": "head", "seconds": "2.0"},
        *({"phase": "whole_network", "seconds": str(second)} for second in (50, 90, 130.0, 200)),
    ]
    assert timing_text(plan, history, 250.0) is None
    costs = {name: asdict(cost) for name, cost in COSTS.items()}
    text = timing_text(replace(plan, advice={"costs": costs}), history, 250.0)
    if recipe == "head_only":
        assert text == "Expected 3.6 s in total if no phase ends early; took 4.2 min."
    else:
        assert text == "Expected 13 min in total if no phase ends early, 42 s per epoch; took 4.2 min, 40 s per epoch."
