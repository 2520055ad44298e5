"""One forward pass over images."""

import keras
import numpy as np
import pytest

from strategies.features.forward import BATCH_SIZE, forward


def _model():
    inputs = keras.Input((4, 4, 3))
    maps = keras.layers.Conv2D(2, 3)(inputs)
    return keras.Model(inputs, [keras.layers.GlobalAveragePooling2D()(maps), keras.layers.Flatten()(maps)])


@pytest.mark.parametrize("jit_compile", [True, False, "auto"])
def test_the_callers_model_is_left_as_it_was(jit_compile, monkeypatch):
    """Its `jit_compile` is restored, also where a pass fails."""
    model = _model()
    model.jit_compile = jit_compile
    before = model.jit_compile
    forward(model, np.zeros((2, 4, 4, 3), dtype="uint8"))
    assert model.jit_compile is before

    def fail(batch):
        raise RuntimeError("no pass")

    monkeypatch.setattr(model, "predict_on_batch", fail)
    with pytest.raises(RuntimeError, match="no pass"):
        forward(model, np.zeros((2, 4, 4, 3), dtype="uint8"))
    assert model.jit_compile is before


@pytest.mark.parametrize("num_images", [1, BATCH_SIZE, BATCH_SIZE + 3])
def test_every_image_has_one_row_in_each_output(num_images):
    """However many there are: padding of the last batch does not appear."""
    model = _model()
    images = np.random.default_rng(0).integers(0, 256, (num_images, 4, 4, 3), dtype="uint8")
    outputs = forward(model, images)
    for output, expected in zip(outputs, model(images.astype("float32")), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-3)
