"""Advice as a value: what is written to the files is what is read from them."""

import json
from dataclasses import fields, replace

import pytest

import advisor
from advisor.advice import Advice
from advisor.race import Race, Round
from strategies.files import check_schema
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


def test_a_fingerprint_of_an_earlier_release_says_nothing_of_mirroring(advice):
    """It is read, and was not measured."""
    fingerprint = json.loads(json.dumps(advice.fingerprint()))
    check_schema(fingerprint, "fingerprint", package="advisor")
    assert fingerprint.pop("mirroring")["num_images"] == 34
    check_schema(fingerprint, "fingerprint", package="advisor")
    assert Advice.from_dicts(fingerprint, advice.plan).mirroring is None


def test_what_was_decided_follows_its_schema(advice):
    """As part of the plan, with and without a race."""
    check_schema(json.loads(json.dumps(advice.plan.to_dict())), "plan", package="strategies")
    assert advice.decision()["race"] is None
    race = Race(
        candidates=("fine_tune_all", "head_only"),
        rounds=(Round(num_images=9, accuracy={"fine_tune_all": 0.7, "head_only": 0.6}),),
        winner="fine_tune_all",
        difference=0.1,
        standard_error=0.05,
        num_images=9,
        share=0.2,
        limit=0.5,
        seconds=1.0,
    )
    decided = replace(advice, race=race).decision()
    plan = replace(advice.plan, advice=decided)
    check_schema(json.loads(json.dumps(plan.to_dict())), "plan", package="strategies")
    assert Advice.from_dicts(advice.fingerprint(), plan).race == race
