"""What computes a frozen pass: the choice, and that OpenVINO says what Keras says."""

import numpy as np
import pytest
from conftest import needs_openvino

from strategies import engines
from strategies.engines import OpenVino, choose_engine, convert, keras_backend, padded
from strategies.errors import UserError
from strategies.features import forward, stage_network
from strategies.pixels import decode_images


def test_a_short_batch_is_filled_up_with_its_first_image():
    """So that every batch has the same shape."""
    images = np.arange(6, dtype="uint8").reshape(2, 1, 1, 3)
    batch = padded(images)
    assert (batch.shape, batch.dtype) == ((32, 1, 1, 3), np.dtype("float32"))
    assert (batch[:2] == images).all()
    assert (batch[2:] == images[0]).all()
    assert padded(batch) is batch


@needs_openvino
def test_openvino_says_what_keras_says(photos, pretrained_weights):
    """At every stage, for a number of images that does not fill the last batch, to a ten-thousandth of the largest."""
    images = decode_images(sorted(photos.rglob("*.png")), 64)
    stages = ["stem", "stage2", "stage6"]
    network = stage_network("MobileNetV2-0.35", stages, image_size=64, weights="auto", cache=False)
    model, _ = network._built
    for expected, found in zip(forward(model, images), OpenVino(*convert(model))(images, "Frozen pass"), strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-4 * expected.max()


@needs_openvino
def test_openvino_is_chosen_where_it_is_and_can_be_turned_off(monkeypatch):
    """Not with another backend of Keras, which does not convert."""
    monkeypatch.setattr(engines, "GPU_DEVICES", ())
    monkeypatch.delenv("ADVISOR_ENGINE", raising=False)
    assert choose_engine() == "openvino"
    monkeypatch.setattr(engines, "keras_backend", lambda: "torch")
    assert choose_engine() == "keras"
    monkeypatch.setenv("ADVISOR_ENGINE", "openvino")
    with pytest.raises(UserError, match="torch as Keras' backend"):
        choose_engine()
    monkeypatch.undo()
    monkeypatch.setenv("ADVISOR_ENGINE", "keras")
    assert choose_engine() == "keras"


def test_without_openvino_keras_computes_and_asking_for_it_is_a_mistake(monkeypatch):
    """The sentence says what to install."""
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
    """From the environment, else from Keras' file, as Keras itself does."""
    monkeypatch.delitem(engines.sys.modules, "keras")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert keras_backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert keras_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert keras_backend() == "torch"
