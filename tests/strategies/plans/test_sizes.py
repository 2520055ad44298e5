"""What the stages of a network hold and compute, counted from the shapes of their layers."""

import keras
import pytest

import strategies
from strategies.features.cache import FeatureCache
from strategies.features.engines import choose_engine
from strategies.plans.planning import make_plan
from strategies.plans.sizes import count_job, count_parameters, count_stages

# Multiply-adds of one image in millions. We count 385 of EfficientNet-Lite0 and 386 of B0, from which it differs only
# in small layers; so its published number counts more than convolutions and fully connected layers.
PUBLISHED = {"MobileNet-0.25": 41, "MobileNetV2-0.35": 59, "EfficientNetB0": 390, "EfficientNetLite0": 407}


def _plan(backbone, image_size=None, classes=3, recipe="head_only"):
    names = [f"class {number}" for number in range(classes)]
    return make_plan(recipe, backbone, class_names=names, num_train=50, image_size=image_size, weights="random")


@pytest.mark.parametrize("backbone", PUBLISHED)
def test_multiply_adds_are_those_of_the_paper(backbone):
    """At the network's own input size, with the 1,000 classes of ImageNet."""
    sizes = count_stages(_plan(backbone, 224, classes=1000))
    assert sum(size.multiply_adds for size in sizes.values()) == pytest.approx(PUBLISHED[backbone] * 1e6, rel=0.055)


def test_every_kind_of_layer_is_counted_by_its_kernel_and_its_output():
    """Groups divide a convolution; a separable one has two kernels; layers without a kernel only write values."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="plain")(inputs)
    x = keras.layers.Conv2D(8, 3, padding="same", groups=4, name="grouped")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = keras.layers.SeparableConv2D(8, 3, padding="same", name="separable")(x)
    x = keras.layers.Dense(5, name="dense")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    names = [layer.name for layer in keras.Model(inputs, x).layers[1:]]
    strategies.add_backbone("counted", keras.Model(inputs, x), stages=[(name, name) for name in names])
    sizes = count_stages(_plan("counted"))
    places = 4 * 4
    assert {name: size.multiply_adds for name, size in sizes.items()} == {
        "plain": places * 9 * 3 * 8,
        "grouped": places * 9 * 2 * 8,
        "depthwise": places * 9 * 16,
        "separable": places * (9 * 16 + 16 * 8),
        "dense": places * 8 * 5,
        "norm": 0,
        "classifier": 5 * 3,
    }
    assert [size.activations // places for size in sizes.values()] == [8, 8, 16, 8, 5, 5, 0]
    assert {size.layers for size in sizes.values()} == {1}


def test_a_model_of_the_same_name_is_counted_again():
    """A user's own backbone can be replaced within a process."""
    counts = []
    for width in (2, 4):
        inputs = keras.Input((8, 8, 3))
        early = keras.layers.Conv2D(width, 3, name="early")(inputs)
        model = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="late")(early))
        strategies.add_backbone("replaced", model, stages={"early": "early", "late": "late"})
        counts.append(count_parameters(_plan("replaced"))["early"])
    assert counts == [27 * width + width for width in (2, 4)]


def test_cached_counts_need_no_network(tmp_path, monkeypatch):
    """Once the background job has counted, nothing is built; another input size is counted on its own."""
    cache = FeatureCache(tmp_path, 10**6)
    plan = _plan("MobileNet-0.25", 32)
    counted = count_stages(plan)
    monkeypatch.setenv("ADVISOR_ENGINE", "keras")  # the job then runs in this process
    assert choose_engine() == "keras"
    assert count_stages(plan, cache) == counted
    monkeypatch.setattr("strategies.plans.sizes.build_backbone", None)
    assert count_stages(plan, cache) == counted
    assert not cache.holds(count_job(plan.network.at(64), dense=False, cache=cache).key)
