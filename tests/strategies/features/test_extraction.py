"""Forward passes and feature extraction."""

import keras
import numpy as np
import pytest

from strategies.errors import UnknownNameError, UserError
from strategies.features.extraction import extract_features
from strategies.features.forward import forward
from strategies.networks.backbones import get_backbone
from strategies.networks.pretrained import build_backbone


def test_a_forward_pass_gives_the_output_of_the_model():
    """Also for a last batch that is shorter, and for several outputs."""
    model = build_backbone(get_backbone("MobileNet-0.25"), image_size=32, weights="random")
    images = np.random.default_rng(0).integers(0, 256, (37, 32, 32, 3), dtype="uint8")
    two = keras.Model(model.input, [model.output, keras.ops.mean(model.output, axis=(1, 2))])
    whole, pooled = forward(two, images)
    assert whole.shape[0] == 37
    np.testing.assert_allclose(whole, model.predict(images.astype("float32"), verbose=0), atol=1e-5)
    np.testing.assert_allclose(pooled, whole.mean(axis=(1, 2)), atol=1e-5)


def test_features_come_from_the_named_stages(photos):
    """Pooled to one vector per image, or as maps."""
    options = {"image_size": 32, "weights": "random"}
    pooled = extract_features(photos, "MobileNetV2-0.35", stages=["stem", "stage6"], **options)
    assert {name: value.shape for name, value in pooled.items()} == {"stem": (40, 16), "stage6": (40, 1280)}
    maps = extract_features(photos, "MobileNetV2-0.35", stages=["stem"], pool=False, **options)
    assert maps["stem"].shape == (40, 16, 16, 16)
    assert list(extract_features(photos, "MobileNetV2-0.35", **options)) == ["stage6"]


def test_a_stage_that_does_not_exist_is_refused(photos):
    """The message suggests the nearest name."""
    with pytest.raises(UnknownNameError, match="stage"):
        extract_features(photos, "MobileNetV2-0.35", stages=["stag2"], image_size=32, weights="random")


def test_a_forward_pass_needs_images():
    """Without images, the outputs have no shape."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(UserError, match="none"):
        forward(model, np.zeros((0, 4)))
