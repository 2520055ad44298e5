"""Grad-CAM: the map that the paper defines, and on real photos the place that is known because we chose it."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from strategies.data.decoding import decode_image
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import UserError
from strategies.plans.planning import make_plan
from strategies.runs.heatmaps import gradcam, overlay
from strategies.training.model import build_model
from strategies.training.trainer import train

SIZE, HALF = 224, 112
CLASSES = ("Faces", "Leopards", "Motorbikes", "airplanes", "dalmatian", "grand_piano", "sunflower", "watch")


def _model(recipe="head_only", backbone="MobileNet-0.25", size=96):
    keras.utils.set_random_seed(0)
    return build_model(
        make_plan(recipe, backbone, class_names=["a", "b", "c"], num_train=80, image_size=size, weights="random")
    )


def _noise(size=96, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype="uint8")


@pytest.mark.parametrize(
    ("backbone", "size"), [("MobileNet-0.25", 96), ("MobileNetV2-0.35", 96), ("InceptionV3", 75), ("VGG16", 64)]
)
def test_maps_have_the_size_of_the_input(backbone, size):
    """In [0, 1], with 1 where the heat is highest; a model with a new stage and one without.

    The last maps of InceptionV3 have one cell at this size, and those before them are branches.
    """
    for recipe in ("head_only", "keep_early_layers"):
        heat = gradcam(_model(recipe, backbone, size), _noise(size))
        assert heat.shape == (3, size, size)
        assert heat.min() >= 0
        highest = heat.max(axis=(1, 2))
        assert np.all(np.isclose(highest, 1, atol=1e-6) | (highest == 0))


def test_behind_the_pooling_it_is_the_class_activation_map():
    """With a classifier on pooled features the gradient is its kernel: Selvaraju et al. 2017, appendix A."""
    model, images = _model(), _noise()
    maps = np.asarray(keras.Model(model.input, model.get_layer("pool").input)(images.astype("float32")))
    kernel = model.get_layer("classifier").get_weights()[0]
    for label in range(3):
        coarse = np.maximum(maps @ kernel[:, label], 0)
        heat = gradcam(model, images, classes=label)
        cells = heat[:, 16::32, 16::32]  # the center of each cell, between two pixels
        assert np.abs(cells - coarse / coarse.max(axis=(1, 2), keepdims=True)).max() < 0.05


def test_a_class_that_does_not_exist_is_refused():
    """And a number of classes that is not the number of images."""
    model = _model()
    for classes in (3, -1, [0, 1], 0.5):
        with pytest.raises(UserError, match="class index from 0 to 2"):
            gradcam(model, _noise(), classes=classes)
    tiny = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 8), keras.layers.Flatten()])
    with pytest.raises(UserError, match="feature map"):
        gradcam(tiny, _noise(8))


def test_the_overlay_has_the_size_of_its_image_and_leaves_cold_places_alone():
    """Also where the map is smaller than the image."""
    image = _noise(96, 1)[0]
    assert np.array_equal(overlay(image, np.zeros((32, 32))), image)
    half = np.zeros((32, 32))
    half[:, 16:] = 1
    picture = overlay(image, half)
    assert picture.shape == (96, 96, 3)
    assert np.array_equal(picture[:, :46], image[:, :46])
    assert (picture[:, 52:, 0] >= image[:, 52:, 0]).all()
    wide = np.concatenate([image, image], axis=1)
    cropped = overlay(wide, np.ones((32, 32)), resize="crop")  # covers the center
    assert np.array_equal(cropped[:, :48], wide[:, :48])
    assert np.array_equal(cropped[:, 48:-48], overlay(wide[:, 48:-48], np.ones((32, 32))))
    padded = overlay(wide, np.eye(32), resize="pad")  # the map is higher than the image: its corners lie beside it
    assert np.array_equal(padded[:, :30], wide[:, :30])
    assert (padded[:, 90:100] != wide[:, 90:100]).any()


def _paste(photo, quadrant, scene=None):
    image = np.full((SIZE, SIZE, 3), 128, dtype="uint8") if scene is None else decode_image(scene, SIZE)
    top, left = HALF * (quadrant // 2), HALF * (quadrant % 2)
    image[top : top + HALF, left : left + HALF] = decode_image(photo, HALF)
    return image


def _found(heat, quadrant):
    """Whether most of the heat lies in the quadrant, and whether the hottest point does."""
    top, left = HALF * (quadrant // 2), HALF * (quadrant % 2)
    inside = heat[top : top + HALF, left : left + HALF]
    return inside.sum() > 0.5 * heat.sum(), inside.max() == heat.max()


def _clear_cases(model, images, labels):
    probabilities = model.predict(images.astype("float32"), verbose=0)
    return np.flatnonzero((probabilities.argmax(axis=1) == labels) & (probabilities.max(axis=1) > 0.5))[:10]


@pytest.mark.parametrize("backbone", ["MobileNetV2-0.35", "MobileNet-0.25"])
def test_the_heat_lies_on_the_object(backbone, test_data, imagenet_weights):
    """An object in one quadrant of gray: most of the heat lies there; of a scene: the hottest point does; 8 of 10."""
    dataset = load_dataset(test_data / "caltech101")
    wanted = [dataset.class_names.index(name) for name in CLASSES]
    order = np.random.default_rng(0).permutation(len(dataset))
    chosen = [index for label in wanted for index in order[dataset.labels[order] == label][:20]]
    labels = np.array([wanted.index(label) for label in dataset.labels[chosen]])
    dataset = replace(dataset.subset(chosen), class_names=CLASSES, labels=labels)
    dataset = split_dataset(dataset, seed=0, val_fraction=0.1, test_fraction=0.3)
    test = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    plan = make_plan("head_only", backbone, class_names=CLASSES, num_train=96, image_size=SIZE)
    model = train(plan, dataset, baseline=False).model
    scenes = sorted((test_data / "flowers5").rglob("*.jpg"))[::50]
    quadrants = np.arange(len(test)) % 4
    for scene, which in ((False, 0), (True, 1)):
        images = np.stack(
            [
                _paste(photo, quadrant, scenes[index % len(scenes)] if scene else None)
                for index, (photo, quadrant) in enumerate(zip(test.items, quadrants, strict=True))
            ]
        )
        clear = _clear_cases(model, images, test.labels)
        assert len(clear) == 10
        heats = gradcam(model, images[clear], classes=test.labels[clear])
        hits = [_found(heat, quadrant)[which] for heat, quadrant in zip(heats, quadrants[clear], strict=True)]
        assert sum(hits) >= 8


SCRIPT = """
import numpy as np
import strategies

plan = strategies.make_plan(
    "retrain_all", "MobileNet-0.25", class_names=["a", "b"], num_train=16, image_size=64, weights="random"
)
images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype="uint8")
model = strategies.build_model(plan)
draw = np.random.default_rng(0).random
model.set_weights([0.1 * draw(weight.shape) for weight in model.weights])
np.save("heat.npy", strategies.gradcam(model, images, classes=0))
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_another_backend_gives_the_same_maps(backend, tmp_path):
    """The gradient is the only operation for which Keras has no function."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    found = []
    for name in ("tensorflow", backend):
        environment = os.environ | {"KERAS_BACKEND": name, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, cwd=tmp_path)
        found.append(np.load(tmp_path / "heat.npy"))
    assert np.abs(found[0] - found[1]).max() < 1e-3
    assert found[0].max() == 1
