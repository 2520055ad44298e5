"""The probe curve and the cut that follows from it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.measure.probes import choose_depth, measure_depth_curve, probe
from strategies.data.loading import load_dataset
from strategies.features.extraction import stage_extractor
from strategies.networks.network import PretrainedNetwork


def _hits(share):
    return np.arange(100) < round(100 * share)


def test_the_shallowest_stage_within_one_standard_error_is_chosen():
    """The best stage reaches 90%. 89% with errors on other images is within a paired standard error; 70% is not."""
    other = _hits(0.89)[::-1]
    curve = choose_depth({"a": _hits(0.7), "b": other, "c": _hits(0.9), "d": _hits(0.8)}, chance=0.5)
    assert (curve.best_stage, curve.chosen_stage, curve.cut("c")) == ("c", "b", "b")
    assert curve.accuracy == (0.7, 0.89, 0.9, 0.8)
    assert curve.standard_error[2] == 0


def test_the_cut_is_never_deeper_than_the_backbone_allows():
    """Where only the last stage separates the classes, the early ones up to the default cut are kept."""
    curve = choose_depth({"a": _hits(0.2), "b": _hits(0.5), "c": _hits(0.9)}, chance=0.5)
    assert (curve.chosen_stage, curve.cut("b")) == ("c", "b")


@given(st.lists(st.lists(st.booleans(), min_size=20, max_size=20), min_size=2, max_size=7))
def test_the_chosen_stage_is_never_deeper_than_the_best(hits):
    """Whatever was measured, it lies within one standard error of the best."""
    curve = choose_depth({f"s{index}": np.array(row) for index, row in enumerate(hits)}, chance=0.5)
    chosen, best = curve.stages.index(curve.chosen_stage), curve.stages.index(curve.best_stage)
    assert chosen <= best
    assert max(curve.accuracy) - curve.accuracy[chosen] <= curve.standard_error[chosen] + 1e-12


def test_color_is_separable_at_the_first_stage_of_a_random_network():
    """Dark and light images need no depth; the only image of a class is left out of the measure."""
    generator = np.random.default_rng(0)
    images = np.concatenate([generator.integers(low, low + 60, (20, 32, 32, 3)) for low in (0, 190)]).astype("uint8")
    labels = np.repeat(["dark", "light"], 20)
    options = {"backbone": "MobileNet-0.25", "image_size": 32, "weights": "random", "cache": False}
    curve = measure_depth_curve((images, labels), **options)
    assert curve.accuracy[0] > 0.9
    assert (curve.chance, curve.num_images) == (0.5, 40)
    assert measure_depth_curve((images, labels), max_images=10, **options).num_images == 10


def test_the_only_image_of_a_class_is_learned_from_and_not_judged():
    """The accuracy is that of the images that could be held out; the class of the other is known to the classifier."""
    generator = np.random.default_rng(0)
    images = np.concatenate([generator.integers(low, low + 60, (12, 32, 32, 3)) for low in (0, 190)]).astype("uint8")
    dataset = load_dataset((images, ["dark"] * 10 + ["rare"] * 2 + ["light"] * 12)).subset(
        [index for index in range(24) if index != 11]
    )
    network = PretrainedNetwork(backbone="MobileNet-0.25", image_size=32, weights="random")
    probed = probe(dataset, stage_extractor(network, ["stem", "stage1"], cache=None), seed=0)
    assert probed.curve.num_images == 22
    assert probed.curve.accuracy[0] > 0.9
    assert probed.probabilities.shape == (23, 3)
    assert not probed.probabilities[10].any()


def test_groups_are_held_out_whole():
    """Where only the group tells the class, an image without its group is judged about as well as by chance."""
    generator = np.random.default_rng(0)
    looks = generator.integers(0, 256, (24, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    group = np.repeat(np.arange(24), 5)
    images = np.clip(looks[group] + generator.integers(-9, 10, (120, 32, 32, 3)), 0, 255).astype("uint8")
    dataset = load_dataset((images, [f"class {number % 2}" for number in group]))
    network = PretrainedNetwork(backbone="MobileNet-0.25", image_size=32, weights="random")
    extractor = stage_extractor(network, ["stem", "stage1"], cache=None)
    mixed = probe(dataset, extractor, seed=0)
    apart = probe(replace(dataset, group=tuple(map(str, group))), extractor, seed=0)
    assert mixed.curve.accuracy[-1] > 0.8
    assert apart.curve.accuracy[-1] < 0.65
    assert apart.curve.num_images == 120


@pytest.mark.parametrize("name", ["flowers5", "skin7"])
def test_later_stages_separate_photos_better_and_lesions_not(name, test_data, imagenet_weights):
    """On flowers the last stage is needed, on skin lesions an early one does as well."""
    curve = measure_depth_curve(test_data / name, backbone="MobileNetV2-0.35", image_size=96, max_images=600)
    first_half = max(curve.accuracy[: len(curve.stages) // 2])
    if name == "flowers5":
        assert curve.accuracy[-1] > first_half + 0.05
    else:
        assert curve.accuracy[-1] < first_half + 0.05
