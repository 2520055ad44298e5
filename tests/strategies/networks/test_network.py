"""Networks for images of any number of bands."""

import numpy as np
import pytest
from networks import STAGES, small

import strategies
from strategies.data.channels import with_channels
from strategies.networks.backbones import get_backbone
from strategies.networks.network import PretrainedNetwork
from strategies.networks.pretrained import build_backbone, build_network, stage_layers


@pytest.mark.parametrize(("name", "count"), [("small", 1), ("small", 2), ("small", 13), ("EfficientNetB0", 13)])
def test_a_gray_image_is_the_same_in_any_number_of_bands(name, count, own_backbones):
    """Whatever the network begins with: zero padding, layers that scale, several convolutions."""
    strategies.add_backbone("small", small(), stages=STAGES)
    row, channels = get_backbone(name), range(1, count + 1)
    last = row.stages[0].name
    rgb = build_backbone(row, image_size=32, weights="random", last_stage=last)
    many = build_backbone(row, image_size=32, weights="random", last_stage=last, channels=channels)
    mixing, *_others = many.get_weights()
    many.set_weights([mixing, *rgb.get_weights()])
    gray = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype("float32")
    expected = np.asarray(rgb(np.repeat(gray, 3, axis=-1), training=False))
    received = np.asarray(many(np.repeat(gray, count, axis=-1), training=False))
    assert np.allclose(received, expected, atol=1e-5 * np.abs(expected).max())
    assert stage_layers(many, row)[last][0] == "mixing"


def test_a_mixture_is_what_the_network_begins_with(own_backbones):
    """Three bands are red, green and blue, so they need none."""
    strategies.add_backbone("small", small(), stages=STAGES)
    mixing = ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))
    network = PretrainedNetwork(backbone="small", weights="own", image_size=32)
    built = build_network(network.of(with_channels(["field.npy"], (7, 2), mixing)))
    assert built.input_shape == (None, 32, 32, 2)
    assert np.array_equal(built.get_layer("mixing").get_weights()[0][0, 0], np.transpose(mixing))
    three = network.of(with_channels(["field.npy"], (7, 2, 1)))
    assert three.channels == (7, 2, 1)
    assert build_network(three).input_shape == (None, 32, 32, 3)
    assert "mixing" not in [layer.name for layer in build_network(three).layers]
