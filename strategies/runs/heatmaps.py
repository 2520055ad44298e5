"""Where a model looks: Grad-CAM heat maps of its answers, and pictures of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from strategies.data.decoding import decode_image, decode_images
from strategies.data.loading import load_images
from strategies.errors import UserError
from strategies.features.forward import BATCH_SIZE

if TYPE_CHECKING:
    import keras

STRENGTH = 0.6  # how much of the colour covers the image where the heat is highest


def gradcam(model: keras.Model, images: Any, classes: int | Sequence[int] | None = None) -> np.ndarray:
    """Returns where in each image the model finds what speaks for a class.

    The channels of the last convolutional map are added up, each weighted by how much the logit of the class grows
    with it; what speaks against the class is left out. With a classifier right behind the pooling, as `head_only` has
    it, this is the class activation map of Zhou et al. 2016. The map is coarse, 7 x 7 cells for most networks at 224
    px, and a model that answers wrongly has a map too.

    Args:
        model: A functional model that ends in a softmax, such as `TrainingResult.model` or a loaded `model.keras`;
            RGB pixels 0-255 in. Its backend may be TensorFlow, PyTorch or JAX.
        images: A folder, a list of files, an array `(num_images, height, width, channels)` of values 0-255, or an
            `ImageDataset`; they are resized to the model's input.
        classes: Class index for all images, or one for each. Default: the class that the model gives each image.

    Returns:
        Array of shape `(num_images, height, width)` of the model's input, in [0, 1]: 1 where the heat is highest, and 0
        everywhere if nothing in the image speaks for the class.

    Raises:
        UserError: If a class does not exist, or the model has no feature map.

    Reference:
        Selvaraju et al. 2017, Grad-CAM (arXiv:1610.02391), equations 1 and 2.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> plan = strategies.make_plan("head_only", "MobileNet-0.25", class_names=["cat", "dog"], num_train=80,
        ...                             image_size=64, weights="random")
        >>> photos = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype="uint8")
        >>> strategies.gradcam(strategies.build_model(plan), photos, classes=1).shape
        (2, 64, 64)
    """
    import keras

    size = int(model.input_shape[1])
    pixels = decode_images(load_images(images).items, size)
    chosen = _check_classes(classes, len(pixels), int(model.output_shape[-1]))
    head, tail = _split(model)
    gradient, convert = _GRADIENTS[keras.backend.backend()], keras.ops.convert_to_numpy
    heat = np.empty((len(pixels), size, size), dtype="float32")
    for start in range(0, len(pixels), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        # Called, not predicted: for a few images, compiling takes longer than computing.
        maps = convert(head(pixels[part].astype("float32"), training=False)).astype("float32")
        logits = convert(tail(maps, training=False))
        one_hot = np.eye(logits.shape[1], dtype="float32")[logits.argmax(axis=1) if chosen is None else chosen[part]]
        weights = gradient(tail, maps, one_hot).mean(axis=(1, 2), keepdims=True)
        coarse = np.maximum((weights * maps).sum(axis=-1), 0.0)
        heat[part] = [_resize(one, (size, size)) for one in coarse]
    highest = heat.max(axis=(1, 2), keepdims=True)
    return heat / np.where(highest > 0, highest, 1.0)


def overlay(image: Any, heat: np.ndarray) -> np.ndarray:
    """Lays a heat map over its image: red where it is warm, yellow where it is hottest.

    Args:
        image: A file, or an array of shape `(height, width, 3)` and values 0-255; of any size.
        heat: One map of `gradcam`, in [0, 1]; it is resized to the image.

    Returns:
        uint8 RGB of the image's size.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> gray = np.full((4, 4, 3), 100, dtype="uint8")
        >>> picture = strategies.overlay(gray, np.eye(4))
        >>> picture[0, 0].tolist(), picture[0, 3].tolist()
        ([193, 193, 40], [100, 100, 100])
    """
    pixels = decode_image(image).astype("float32")
    height, width = pixels.shape[:2]
    warmth = np.clip(_resize(np.asarray(heat, dtype="float32"), (height, width)), 0.0, 1.0)[..., np.newaxis]
    colour = 255 * np.concatenate([np.ones_like(warmth), np.clip(2 * warmth - 1, 0, 1), np.zeros_like(warmth)], axis=-1)
    return np.rint(pixels + STRENGTH * warmth * (colour - pixels)).astype("uint8")


def _check_classes(classes: int | Sequence[int] | None, num_images: int, num_classes: int) -> np.ndarray | None:
    if classes is None:
        return None
    chosen = np.asarray(classes)
    if chosen.ndim == 0:
        chosen = np.full(num_images, chosen)
    if (
        chosen.shape != (num_images,)
        or chosen.dtype.kind not in "iu"
        or not ((chosen >= 0) & (chosen < num_classes)).all()
    ):
        raise UserError(
            f"Expected one class index from 0 to {num_classes - 1}, or one for each of {num_images} images. Received: "
            f"classes={classes!r}. Leave it out for the classes that the model answers."
        )
    return chosen


def _split(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cuts a model at its last feature map of more than one cell that all of the rest stands on.

    The second part ends in logits, not probabilities.
    """
    import keras

    last = model.layers[-1]
    if isinstance(last, keras.layers.Dense):
        # Without its activation: the gradient of a probability vanishes where the model is sure.
        linear = keras.layers.Dense(last.units, use_bias=last.use_bias, dtype="float32", name="logits")
        logits = linear(last.input)
        linear.set_weights(last.get_weights())
    else:  # a softmax of its own, as in Keras' networks with their top
        logits = last.input if isinstance(last, keras.layers.Activation | keras.layers.Softmax) else last.output
    for layer in reversed(model.layers[1:]):
        if _is_map(layer.output):
            with contextlib.suppress(ValueError):  # a branch: the rest stands on others too
                return keras.Model(model.input, layer.output), keras.Model(layer.output, logits)
    raise UserError(
        f"Expected a convolutional model, with a feature map of more than one cell. Received: {model.name!r} with "
        f"none. Use larger images."
    )


def _is_map(output: Any) -> bool:
    shape: tuple[Any, ...] = getattr(output, "shape", ())
    return len(shape) == 4 and None not in shape[1:] and shape[1] * shape[2] > 1


def _resize(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    return np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))


# The gradient of the logits, one chosen for each image, by the feature map; Keras has none of its own.


def _tensorflow(tail: keras.Model, maps: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    values = tf.convert_to_tensor(maps)
    with tf.GradientTape() as tape:
        tape.watch(values)
        score = tf.reduce_sum(tail(values, training=False) * one_hot)
    return tape.gradient(score, values).numpy()


def _torch(tail: keras.Model, maps: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    import keras
    import torch

    values = keras.ops.convert_to_tensor(maps).requires_grad_()
    score = (tail(values, training=False) * keras.ops.convert_to_tensor(one_hot)).sum()
    return torch.autograd.grad(score, values)[0].cpu().numpy()


def _jax(tail: keras.Model, maps: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    import jax

    return np.asarray(jax.grad(lambda values: (tail(values, training=False) * one_hot).sum())(maps))


_GRADIENTS: dict[str, Callable[[keras.Model, np.ndarray, np.ndarray], np.ndarray]] = {
    "tensorflow": _tensorflow,
    "torch": _torch,
    "jax": _jax,
}
