"""Cautions of the advice."""

import math

import pytest

from advisor.cautions import CAUTIONS, find_cautions
from advisor.quality.checks import Finding
from strategies.networks.network import PretrainedNetwork

FACTS = {
    "effective_num_images": 300,
    "num_images": 350,
    "min_images_per_class": 40,
    "imbalance_ratio": 1.0,
    "num_grayscale": 0,
    "num_looked_at": 350,
    "median_short_side": 200,
    "image_size": 128,
    "similarity": 0.9,
    "late_gain": 0.1,
    "low": 0.88,
    "high": 0.92,
    "num_images_measured": 300,
    "similarity_threshold": 0.5,
    "domain": "similar to ImageNet",
    "domain_by_evidence": False,
    "calibrated_range": [100, 5000],
    "runner_up": "fine_tune_all",
    "confidence": 0.8,
    "borderline": False,
    "depths_disagree": False,
    "late_gain_points": 10.0,
    "network_note": "",
    "ruler": PretrainedNetwork(backbone="MobileNetV2-0.35", weights="imagenet", image_size=128),
}
# For each caution, what makes it appear in an otherwise unremarkable dataset.
TRIGGERS = {
    "borderline": {"borderline": True, "confidence": 0.5},
    "depths_disagree": {"depths_disagree": True},
    "other_network": {"network_note": "There is no network connection."},
    "bundled_ruler": {"ruler": PretrainedNetwork(backbone="MobileNetV2-0.35", weights="bundled", image_size=64)},
    "similarity_near_threshold": {"similarity": 0.5, "low": 0.4, "high": 0.6},
    "few_images_for_similarity": {"num_images_measured": 63},
    "beyond_calibration": {"effective_num_images": 5001},
    "no_depth_curve": {"late_gain": math.nan},
    "few_images_per_class": {"min_images_per_class": 9},
    "imbalance": {"imbalance_ratio": 3.1},
    "rare_class": {"min_images_per_class": 2, "imbalance_ratio": 400.0},
    "upscaling": {"median_short_side": 80},
    "grayscale": {"num_grayscale": 200},
    "sampled": {"num_looked_at": 300},
}


def test_an_unremarkable_dataset_has_no_cautions():
    """Cautions are for what is unusual."""
    assert find_cautions(FACTS, ()) == ()


@pytest.mark.parametrize("code", [row.code for row in CAUTIONS])
def test_every_caution_appears_when_its_condition_holds(code):
    """Each row fires on its own trigger and its message can be written."""
    found = {caution.code: caution.message for caution in find_cautions(FACTS | TRIGGERS[code], ())}
    assert code in found
    assert "{" not in found[code]


def test_findings_follow_the_cautions_with_what_they_do_to_the_advice():
    """A finding becomes a caution under its own code: what was found, then its effect."""
    finding = Finding(code="blank", count=1, total=9, message="One is blank.", effect="It is kept.", source="pixels")
    *cautions, last = find_cautions(FACTS | TRIGGERS["imbalance"], [finding])
    assert [caution.code for caution in cautions] == ["imbalance"]
    assert (last.code, last.message, last.source) == ("blank", "One is blank. It is kept.", "pixels")
