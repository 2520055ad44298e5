"""Advice as a value: what is written to the files is what is read from them."""

import json
from dataclasses import fields

import pytest

import advisor
from advisor.advice import Advice
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import plan_from_dict


@pytest.fixture(scope="module")
def advice(photos, pretrained_weights):
    """Advice on scikit-learn's photos."""
    return advisor.recommend(photos, backbone="MobileNetV2-0.35", image_size=32)


def test_advice_is_read_back_as_it_was(advice):
    """From plain JSON, attribute by attribute; no image is needed."""
    fingerprint = json.loads(json.dumps(advice.fingerprint()))
    plan = plan_from_dict(json.loads(json.dumps(advice.plan.to_dict())))
    found = Advice.from_dicts(fingerprint, plan)
    for item in fields(Advice):
        if item.name != "plan":
            assert getattr(found, item.name) == getattr(advice, item.name), item.name
    assert found.fingerprint() == advice.fingerprint()
    assert json.dumps(found.decision()) == json.dumps(advice.decision())


def test_pilot_and_costs_are_there_if_they_were_requested(advice):
    """Otherwise the plan has no key for them."""
    from dataclasses import replace

    assert not {"pilot", "costs"} & set(advice.decision())
    costs = {"head_only": RecipeCost(seconds=1.0, seconds_per_epoch=None, memory=None)}
    decided = replace(advice, costs=costs).decision()
    assert decided["costs"]["head_only"]["seconds"] == 1.0
    found = Advice.from_dicts(advice.fingerprint(), replace(advice.plan, advice=decided))
    assert found.costs == costs
