"""Inference engines: which one is chosen, and that OpenVINO gives the output of Keras."""

from functools import partial

import numpy as np
import pytest
from support import deep_are_slow, needs_openvino

from strategies.data.decoding import decode_images
from strategies.errors import UserError
from strategies.features import engines
from strategies.features.background import BackgroundJob
from strategies.features.cache import FeatureCache
from strategies.features.engines import OpenVino, choose_engine
from strategies.features.extraction import stage_extractor
from strategies.features.extractor import _convert
from strategies.features.forward import forward, padded
from strategies.networks.backbones import get_backbone
from strategies.networks.backend import keras_backend
from strategies.networks.network import PretrainedNetwork
from strategies.networks.pretrained import build_backbone


def test_a_short_batch_is_filled_with_its_first_image():
    """So that every batch has the same shape."""
    images = np.arange(6, dtype="uint8").reshape(2, 1, 1, 3)
    batch = padded(images)
    assert (batch.shape, batch.dtype) == ((32, 1, 1, 3), np.dtype("float32"))
    assert (batch[:2] == images).all()
    assert (batch[2:] == images[0]).all()
    assert padded(batch) is batch


@needs_openvino
@pytest.mark.parametrize(
    "backbone", deep_are_slow(["MobileNetV2-0.35", "MobileNetV3Small-0.75", "EfficientNetV2B0", "DenseNet121"])
)
def test_openvino_gives_the_output_of_keras(backbone, photos, tmp_path):
    """At every stage, also where the last batch is not full; to a ten-thousandth of the largest value."""
    row, weights = get_backbone(backbone), tmp_path / "random.weights.h5"
    build_backbone(row, image_size=64, weights="random").save_weights(weights)
    images = decode_images(sorted(photos.rglob("*.png"))[:35], 64)
    stages = [stage.name for stage in row.stages if not stage.dense]
    network = PretrainedNetwork(backbone=backbone, weights=str(weights), image_size=64)
    extractor = stage_extractor(network, stages, cache=None)
    convert = partial(_convert, network, None, extractor.select)
    job = BackgroundJob(key="network", cache=FeatureCache(tmp_path, 2**30), make=convert)
    structure, values, widths, *_ = job.arrays()[0]
    runner = OpenVino(structure, values, widths)
    layers = [str(node.get_rt_info()["layerType"].value) for node in runner._network.get_runtime_model().get_ops()]
    assert layers.count("Transpose") <= 1  # of the images, as they come in
    model, _ = extractor._built
    found = runner(images, "Frozen pass")
    for expected, output in zip(forward(model, images), found, strict=True):
        assert output.shape == expected.shape
        assert np.abs(output - expected).max() < 1e-4 * np.abs(expected).max()


@needs_openvino
def test_openvino_is_chosen_if_it_is_installed_and_can_be_turned_off(monkeypatch):
    """With any Keras backend."""
    monkeypatch.setattr(engines, "GPU_DEVICES", ())
    monkeypatch.delenv("ADVISOR_ENGINE", raising=False)
    assert choose_engine() == "openvino"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert choose_engine() == "openvino"
    monkeypatch.setenv("ADVISOR_ENGINE", "keras")
    assert choose_engine() == "keras"


def test_without_openvino_keras_computes_and_requiring_it_is_an_error(monkeypatch):
    """The message says what to install."""
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    monkeypatch.delenv("ADVISOR_ENGINE", raising=False)
    assert choose_engine() == "keras"
    monkeypatch.setenv("ADVISOR_ENGINE", "openvino")
    with pytest.raises(UserError, match=r"without it.*\[openvino\]"):
        choose_engine()
    monkeypatch.setenv("ADVISOR_ENGINE", "torch")
    with pytest.raises(UserError, match=r"auto, keras, openvino.*'torch'"):
        choose_engine()


def test_the_backend_is_known_without_keras(monkeypatch, tmp_path):
    """From the environment, otherwise from Keras' settings, as Keras itself reads it."""
    monkeypatch.delitem(engines.sys.modules, "keras")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert keras_backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert keras_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert keras_backend() == "torch"
