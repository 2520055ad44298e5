"""Grad-CAM heat maps: which parts of an image support the predicted class."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from strategies.data.decoding import decode_image, decode_images
from strategies.data.encoded import SQUEEZE
from strategies.data.loading import load_images
from strategies.data.resizing import SQUARES, check_resize, cut_around_center, with_resize
from strategies.errors import UserError
from strategies.features.forward import BATCH_SIZE

if TYPE_CHECKING:
    import keras

OPACITY = 0.6  # of the color where the heat is highest


def gradcam(
    model: keras.Model,
    images: Any,
    classes: int | Sequence[int] | None = None,
    *,
    resize: str = SQUEEZE,
    channels: Sequence[int] | None = None,
) -> np.ndarray:
    """Computes Grad-CAM heat maps: which parts of each image support a class.

    Each channel of the last feature map is weighted by the mean gradient of the class's logit with respect to it. The
    weighted channels are summed, and negative values (evidence against the class) are set to zero. Where the classifier
    directly follows the pooling, as in `head_only`, this is the class activation map of Zhou et al. 2016. The map is
    coarse: 7 x 7 cells for most networks at 224 px. A wrong prediction has a heat map too.

    Args:
        model: A functional model that ends in a softmax and takes RGB pixels 0-255, such as `TrainingResult.model` or a
            loaded `model.keras`. The Keras backend may be TensorFlow, PyTorch or JAX.
        images: A folder, a list of files, an array `(num_images, height, width, channels)` of values 0-255, or an
            `ImageDataset`. Images are resized to the model's input.
        classes: Class index for all images, or one per image. Default: the predicted class of each image.
        resize: How images become squares: `"squeeze"`, `"crop"` or `"pad"`, as the plan of the model has it.
        channels: Numbers of the bands of images that the model takes, as its plan has them. Default: those that
            `strategies.load_images` finds.

    Returns:
        Array of shape `(num_images, height, width)` with the size of the model's input, in [0, 1]. The highest value of
        each map is 1; a map is 0 everywhere if nothing in the image supports the class. It covers what the model sees:
        with `"crop"` the center of the image, with `"pad"` also the black beside it.

    Raises:
        UserError: If a class or the way to resize does not exist, if the model has no feature map, or if the backend
            of Keras computes no gradients.

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
    from strategies.networks.backend import keras

    size = int(model.input_shape[1])
    items = with_resize(load_images(images, channels=channels).items, resize)
    pixels = decode_images(items, size, num_channels=int(model.input_shape[-1]))
    chosen = _check_classes(classes, len(pixels), int(model.output_shape[-1]))
    head, tail = _split(model)
    gradient, convert = _gradient(keras.backend.backend()), keras.ops.convert_to_numpy
    heat = np.empty((len(pixels), size, size), dtype="float32")
    for start in range(0, len(pixels), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        # Calls the model instead of model.predict: for a few images, compiling takes longer than computing.
        maps = convert(head(pixels[part].astype("float32"), training=False)).astype("float32")
        logits = convert(tail(maps, training=False))
        one_hot = np.eye(logits.shape[1], dtype="float32")[logits.argmax(axis=1) if chosen is None else chosen[part]]
        weights = gradient(tail, maps, one_hot).mean(axis=(1, 2), keepdims=True)
        coarse = np.maximum((weights * maps).sum(axis=-1), 0.0)
        heat[part] = [_resize(cells, (size, size)) for cells in coarse]
    highest = heat.max(axis=(1, 2), keepdims=True)
    return heat / np.where(highest > 0, highest, 1.0)


def overlay(image: Any, heat: np.ndarray, *, resize: str = SQUEEZE) -> np.ndarray:
    """Draws a heat map over its image, from transparent (no heat) over red to yellow (highest heat).

    Args:
        image: A file, or an array of shape `(height, width, 3)` with values 0-255. Any size.
        heat: One map from `gradcam`, in [0, 1]. It is resized to the part of the image that it covers.
        resize: As given to `gradcam`.

    Returns:
        RGB array of type uint8 and of the image's size.

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
    check_resize(resize)
    choose, values = SQUARES[resize], np.asarray(heat, dtype="float32")
    if choose is None:
        values = _resize(values, (height, width))
    else:
        side = choose((width, height))
        values = np.asarray(cut_around_center(Image.fromarray(_resize(values, (side, side))), width, height))
    warmth = np.clip(values, 0.0, 1.0)[..., np.newaxis]
    color = 255 * np.concatenate([np.ones_like(warmth), np.clip(2 * warmth - 1, 0, 1), np.zeros_like(warmth)], axis=-1)
    return np.rint(pixels + OPACITY * warmth * (color - pixels)).astype("uint8")


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
            f"classes={classes!r}. Leave it out to use the predicted classes."
        )
    return chosen


def _split(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cuts a model at its last feature map of more than one cell on which the whole rest of the model depends.

    The second part ends in logits instead of probabilities.
    """
    from strategies.networks.backend import keras

    last = model.layers[-1]
    if isinstance(last, keras.layers.Dense):
        # Without its activation: the gradient of a probability vanishes where the model is confident.
        linear = keras.layers.Dense(last.units, use_bias=last.use_bias, dtype="float32", name="logits")
        logits = linear(last.input)
        linear.set_weights(last.get_weights())
    else:  # a separate softmax layer
        logits = last.input if isinstance(last, keras.layers.Activation | keras.layers.Softmax) else last.output
    for layer in reversed(model.layers[1:]):
        if _is_map(layer.output):
            with contextlib.suppress(ValueError):  # a branch: the rest also depends on other layers
                return keras.Model(model.input, layer.output), keras.Model(layer.output, logits)
    raise UserError(
        f"Expected a convolutional model with a feature map of more than one cell. Received: {model.name!r} without "
        f"one. Use larger images."
    )


def _is_map(output: Any) -> bool:
    shape: tuple[Any, ...] = getattr(output, "shape", ())
    return len(shape) == 4 and None not in shape[1:] and shape[1] * shape[2] > 1


def _resize(heat: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    return np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))


# The gradient of one logit per image with respect to the feature map. Keras has no function for it.


def _tensorflow(tail: keras.Model, maps: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    values = tf.convert_to_tensor(maps)
    with tf.GradientTape() as tape:
        tape.watch(values)
        score = tf.reduce_sum(tail(values, training=False) * one_hot)
    return tape.gradient(score, values).numpy()


def _torch(tail: keras.Model, maps: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    import torch

    from strategies.networks.backend import keras

    values = keras.ops.convert_to_tensor(maps).requires_grad_()
    score = (tail(values, training=False) * keras.ops.convert_to_tensor(one_hot)).sum()
    return torch.autograd.grad(score, values)[0].cpu().numpy()


def _jax(tail: keras.Model, maps: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    import jax

    return np.asarray(jax.grad(lambda values: (tail(values, training=False) * one_hot).sum())(maps))


_Gradient = Callable[["keras.Model", np.ndarray, np.ndarray], np.ndarray]
_GRADIENTS: dict[str, _Gradient] = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}


def _gradient(backend: str) -> _Gradient:
    if backend not in _GRADIENTS:
        raise UserError(
            f"Expected {', '.join(_GRADIENTS)} as Keras' backend for heat maps. Received: {backend!r}, which computes "
            f"no gradients. Set KERAS_BACKEND."
        )
    return _GRADIENTS[backend]
