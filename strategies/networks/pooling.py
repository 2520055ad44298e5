"""Pools the output of a stage, a feature map or tokens, to one vector per image. No other module does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strategies.networks.backbones import POOLING, TOKENS, Backbone

if TYPE_CHECKING:
    import keras

Crop = tuple[int, int]  # how many tokens at the start and at the end do not count


def pool(
    value: keras.KerasTensor, crop: Crop, *, name: str | None = None, dtype: str | None = None
) -> keras.KerasTensor:
    """Pools the output of a stage to one vector per image.

    Args:
        value: A feature map `(batch, height, width, channels)` or tokens `(batch, tokens, channels)`, which are
            averaged; or a vector per image, which is returned as it is.
        crop: Which tokens do not count, from `crop_of` or `crop_in`.
        name: Name of the layer that averages. Default: Keras numbers it.
        dtype: Type of its output. Default: that of `value`, by the policy of Keras.

    Returns:
        Shape `(batch, channels)`.

    Example:
        >>> import keras
        >>> from strategies.networks.pooling import pool
        >>> pool(keras.Input((17, 8)), (1, 0)).shape
        (None, 8)
    """
    from strategies.networks.backend import keras

    if len(value.shape) == 4:
        return keras.layers.GlobalAveragePooling2D(name=name, dtype=dtype)(value)
    if len(value.shape) == 2:
        return value
    if any(crop):
        value = keras.layers.Cropping1D(crop, name=name and TOKENS, dtype=dtype)(value)
    return keras.layers.GlobalAveragePooling1D(name=name, dtype=dtype)(value)


def crop_of(backbone: Backbone, network: keras.Model) -> Crop:
    """Returns which tokens of a network do not count: those that its row says, `(0, 0)` if it has no tokens at its end.

    Args:
        backbone: The row of the network.
        network: From `build_backbone`, up to any stage.
    """
    shape = network.output.shape
    return POOLING[backbone.pooling](shape[1], backbone.prefix_tokens) if len(shape) == 3 else (0, 0)


def crop_in(model: keras.Model) -> Crop:
    """Returns which tokens did not count when a model was given its classifier: a saved model needs no row."""
    names = {layer.name for layer in model.layers}
    return tuple(model.get_layer(TOKENS).cropping) if TOKENS in names else (0, 0)
