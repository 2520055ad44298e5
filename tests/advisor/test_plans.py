"""The plan of each recipe for measured images, and what it costs on a machine that is always the same."""

from dataclasses import replace

import pytest

from advisor.measure.probes import DepthCurve
from advisor.plans import cut_stage, estimate_seconds, per_split, plan_for
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.networks.backbones import get_backbone
from strategies.networks.network import PretrainedNetwork
from strategies.recipes import RECIPES

BACKBONE = "MobileNet-0.25"
CURVE = DepthCurve(
    stages=("stage1", "stage2", "stage5"),
    accuracy=(0.8, 0.5, 0.5),
    standard_error=(0.0, 0.01, 0.01),
    chance=0.2,
    best_stage="stage1",
    chosen_stage="stage1",
    num_images=100,
)


@pytest.fixture
def dataset(photos):
    """Photos of two classes with a split."""
    return split_dataset(load_dataset(photos), seed=0)


def test_a_plan_fits_the_images_and_the_depth_at_which_they_separate(dataset):
    """It names their classes, and only `keep_early_layers` cuts where the curve says."""
    network = PretrainedNetwork(backbone=BACKBONE, weights="imagenet", image_size=96)
    for name in RECIPES:
        plan = plan_for(name, network, dataset, CURVE, similarity=0.2, seed=3)
        assert (plan.recipe, plan.class_names, plan.seed) == (name, dataset.class_names, 3)
        assert (cut_stage(name, network.row, CURVE) == "stage1") == (name == "keep_early_layers")
        assert (plan.cut_stage == "stage1") == (name == "keep_early_layers")
    assert cut_stage("keep_early_layers", get_backbone(BACKBONE), None) is None


def test_every_image_is_in_one_split(dataset):
    """And their numbers decide the time: more images to evaluate take longer, and so does a refit."""
    images = per_split(dataset)
    assert sum(images.values()) == len(dataset)
    network = PretrainedNetwork(backbone=BACKBONE, weights="imagenet", image_size=96)
    plans = {"retrain_all": plan_for("retrain_all", network, dataset, None, similarity=0.2, seed=0)}
    plans["refit"] = replace(plans["retrain_all"], refit=True)
    found, more = (estimate_seconds(plans, {**images, "test": count}, cache=None) for count in (10, 1_000))
    assert found["retrain_all"] < more["retrain_all"]
    assert found["retrain_all"] < found["refit"]
