"""Finds BatchNormalization, also within layers that are made of other layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def batch_norms(part: keras.Layer) -> list[keras.layers.BatchNormalization]:
    """Returns the BatchNormalization layers of a model or of a layer, in the order in which they were created.

    Args:
        part: A model, or a layer: the layer itself counts, and so do all layers within it.

    Example:
        >>> import keras
        >>> from strategies.networks.normalization import batch_norms
        >>> norm = keras.layers.BatchNormalization(name="norm")
        >>> [found.name for found in batch_norms(keras.layers.TimeDistributed(norm))]
        ['norm']
    """
    from strategies.networks.backend import keras

    # Keras lists the layers within a layer, which need not be a model, only here.
    return [layer for layer in part._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
