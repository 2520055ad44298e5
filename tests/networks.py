"""A small network for tests of what does not depend on the network: a recipe is carried out on it in a second."""

import keras
import numpy as np
from keras import layers

STAGES = {"stem": "relu0", "middle": "add", "late": "relu2", "end": "pool"}


def small(size=32, *, scaled=True):
    """A functional network with scaling, BatchNorm, an operation, and a last layer named like one of a plan."""
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs) if scaled else inputs
    x = _block(x, 8, 0)
    x = _block(x, 16, 1)
    x = layers.Add(name="add")([x, keras.ops.sigmoid(x) * 0.5])
    x = _block(x, 24, 2)
    return shaken(keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x)))


def _block(x, filters, index):
    conv = layers.Conv2D(
        filters,
        3,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.GlorotUniform(seed=index),
        name=f"conv{index}",
    )
    return layers.ReLU(name=f"relu{index}")(layers.BatchNormalization(name=f"bn{index}")(conv(x)))


def shaken(model):
    """Moves biases, scales and statistics away from their initial 0 and 1."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([weight + rng.uniform(0, 0.1, weight.shape) for weight in layer.get_weights()])
    return model
