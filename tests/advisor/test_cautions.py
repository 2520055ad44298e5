"""Cautions of the advice."""

import math

import pytest

from advisor.calibration import StudiedRange
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
    "head_accuracy": 0.8,
    "backbone": "MobileNet-0.25",
    "has_tokens": False,
    "num_images_measured": 300,
    "studied": StudiedRange(
        backbones=("MobileNet-0.25",), num_datasets=9, images=(100.0, 1000.0), similarity=(0.1, 0.9)
    ),
    "networks": "MobileNet-0.25",
    "network_note": "",
    "ruler": PretrainedNetwork(backbone="MobileNetV2-0.35", weights="imagenet", image_size=128),
}
# For each caution, what makes it appear in an otherwise unremarkable dataset.
TRIGGERS = {
    "other_network": {"network_note": "There is no network connection."},
    "bundled_ruler": {"ruler": PretrainedNetwork(backbone="MobileNetV2-0.35", weights="bundled", image_size=64)},
    "few_images_for_similarity": {"num_images_measured": 63},
    "beyond_study": {"effective_num_images": 2001},
    "network_not_studied": {"backbone": "VGG16"},
    "transformer": {"has_tokens": True},
    "no_depth_curve": {"head_accuracy": math.nan},
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
