"""The head alone beside a recipe: the same as the recipe head_only, and free where its features are cached."""

import json
from dataclasses import replace

import numpy as np
import pytest

from strategies.data.loading import load_dataset
from strategies.files import check_schema
from strategies.plans.planning import make_plan
from strategies.training.trainer import train

SMALL = {"backbone": "MobileNet-0.25", "weights": "random", "image_size": 32, "num_train": 28}


def _plan(recipe, dataset, **given):
    return make_plan(recipe, class_names=dataset.class_names, budget=0.02, **{**SMALL, **given})


@pytest.mark.parametrize("recipe", ["fine_tune_all", "keep_early_layers"])
def test_the_head_alone_is_the_recipe_head_only(recipe, photos):
    """The same accuracy on the same images, and the gain is the difference between the two trainings."""
    dataset = load_dataset(photos)
    result = train(_plan(recipe, dataset), dataset)
    alone = train(_plan("head_only", dataset), dataset)
    assert result.head.accuracy == alone.test.accuracy
    assert result.head.gain == pytest.approx(result.test.accuracy - alone.test.accuracy)
    assert result.head.extra_seconds == pytest.approx(result.seconds - result.head.seconds)
    assert (result.head.low, result.head.high) == (alone.test.low, alone.test.high)
    differ = (result.predicted != alone.predicted).any()
    assert (result.head.standard_error > 0) == differ


def test_head_only_has_no_gain_over_itself(photos):
    """Nothing is fitted a second time."""
    dataset = load_dataset(photos)
    result = train(_plan("head_only", dataset), dataset)
    assert (result.head.gain, result.head.standard_error, result.head.extra_seconds) == (0, 0, 0)
    assert result.head.accuracy == result.test.accuracy


def test_it_can_be_left_out_and_both_follow_the_schema(photos, tmp_path):
    """metrics.json says null then."""
    dataset = load_dataset(photos)
    plan = _plan("fine_tune_all", dataset)
    plan = replace(plan, phases=plan.phases[:1])
    for baseline in (True, False):
        train(plan, dataset, tmp_path / str(baseline), baseline=baseline)
        metrics = json.loads((tmp_path / str(baseline) / "metrics.json").read_text())
        check_schema(metrics, "metrics", package="strategies")
        assert (metrics["baseline"]["head"] is not None) == baseline


def test_its_features_come_from_the_cache(photos, capfd, tmp_path, monkeypatch):
    """Those of the training images are what the first phase of fine_tune_all has kept; the second time all are read."""
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path))
    dataset = load_dataset(photos)
    plan = _plan("fine_tune_all", dataset)
    plan = replace(plan, phases=plan.phases[:1])
    said = []
    for _ in range(2):
        train(plan, dataset)
        said.append(capfd.readouterr().err)
    assert said[0].count("Kept features of 28 images") == 1
    assert said[0].count("Read features of 28 images") == 1
    assert said[1].count("Kept features") == 0


def test_on_real_images_a_small_network_learns_more_than_its_head(test_data, imagenet_weights):
    """On blood cells, far from ImageNet, training all of it gains many points over its head, by the paired error."""
    dataset = load_dataset(test_data / "wbc4_test")
    chosen = np.random.default_rng(0).permutation(len(dataset))[:120]
    dataset = dataset.subset(np.sort(chosen))
    given = {"weights": "imagenet", "image_size": 96, "num_train": 84}
    plan = make_plan("retrain_all", "MobileNet-0.25", class_names=dataset.class_names, budget=0.3, **given)
    result = train(plan, dataset)
    assert result.head.gain > 0
    assert result.head.standard_error > 0
    assert result.head.extra_seconds > 0
