"""One frozen forward pass: images in, features at chosen depths out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.backbones import get_backbone, stages_at
from strategies.errors import UserError, unknown_name
from strategies.images import load_images
from strategies.pixels import decode_images
from strategies.pretrained import build_backbone
from strategies.progress import track

if TYPE_CHECKING:
    import keras

    from strategies.batches import Pixels

BATCH_SIZE = 32


def forward(model: keras.Model, inputs: np.ndarray | Pixels, *, description: str = "Frozen pass") -> list[np.ndarray]:
    """Runs `model` once over `inputs` and returns its outputs, one array each.

    Faster than `model.predict` on the same batches: the last batch is padded, so the compiled function is traced once.

    Args:
        model: Any Keras model; its BatchNormalization works in inference mode.
        inputs: Array of shape `(num_images, ...)`; batches of 32 are cast to float32.
        description: What a progress bar says.

    Returns:
        A list with one array of shape `(num_images, ...)` per output of the model.
    """
    model.jit_compile = use_xla()
    if not len(inputs):
        raise UserError("Expected at least one image for a forward pass. Received none.")
    parts: list[list[np.ndarray]] = []
    for start in track(range(0, len(inputs), BATCH_SIZE), description):
        batch = np.asarray(inputs[start : start + BATCH_SIZE], dtype="float32")
        size = len(batch)
        if size < BATCH_SIZE:
            batch = np.concatenate([batch, np.repeat(batch[:1], BATCH_SIZE - size, axis=0)])
        outputs: Any = model.predict_on_batch(batch)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        parts.append([np.asarray(output)[:size] for output in outputs])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def use_xla() -> bool:
    """Returns whether Keras should compile with XLA: not for TensorFlow on a CPU, where it is several times slower."""
    import keras

    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and bool(keras.distribution.list_devices("gpu")))


def extract_features(
    images: Any,
    backbone: str = "MobileNetV2",
    *,
    stages: Sequence[str] | None = None,
    image_size: int | None = None,
    weights: str = "imagenet",
    pool: bool = True,
) -> dict[str, np.ndarray]:
    """Takes features out of a pretrained backbone at chosen stages, to be used in a model of your own.

    The second of the two ways to use pretrained knowledge: instead of freezing layers and training the others, compute
    what the frozen layers say once and train anything on it.

    Args:
        images: A folder, a list of files, an array `(num_images, height, width, channels)` of values 0-255, a
            `tf.data.Dataset` or an `ImageDataset`; labels are not needed.
        backbone: A name that `advisor backbones` lists.
        stages: Names of stages; default: the last convolutional one.
        image_size: Side of the square input in pixels; default: the backbone's own.
        weights: `"imagenet"` (for a model of your own: its weights), `"random"`, or the path of a weights file.
        pool: Average over the image plane; `False` keeps the feature maps.

    Returns:
        `{stage: array}`, shape `(num_images, channels)` when pooled, else `(num_images, height, width, channels)`.

    Raises:
        UnknownNameError: If the backbone or a stage does not exist.
        WeightsError: If the weights cannot be had.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> photos = np.zeros((4, 32, 32, 3), dtype="uint8")
        >>> features = strategies.extract_features(
        ...     photos, "MobileNetV2-0.35", stages=["stem"], image_size=32, weights="random")
        >>> features["stem"].shape
        (4, 16)
    """
    import keras

    row = get_backbone(backbone)
    size = image_size or row.image_size
    known = {stage.name: stage for stage in stages_at(row, size) if not stage.dense}
    wanted = list(stages) if stages is not None else [list(known)[-1]]
    for name in wanted:
        if name not in known:
            raise unknown_name(f"stage of {row.name}", name, known)
    pixels = decode_images(load_images(images).items, size)
    network = build_backbone(row, image_size=size, weights=weights)
    last = list(known)[-1]
    outputs = [network.output if name == last else network.get_layer(known[name].last_layer).output for name in wanted]
    if pool:
        pooling = keras.layers.GlobalAveragePooling2D()
        outputs = [pooling(output) if len(output.shape) == 4 else output for output in outputs]
    values = forward(keras.Model(network.input, outputs), pixels, description="Extracting features")
    return dict(zip(wanted, values, strict=True))
