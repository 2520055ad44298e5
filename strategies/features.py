"""One frozen forward pass: images in, features at chosen depths out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.backbones import Backbone, get_backbone, stages_at
from strategies.cache import FeatureCache, cached, default_cache, make_key, weights_digest
from strategies.engines import BATCH_SIZE, padded
from strategies.errors import UserError, unknown_name
from strategies.images import load_images
from strategies.pixels import PIXELS_VERSION, Part, Pixels, Shelf, decode_images
from strategies.pretrained import build_backbone
from strategies.progress import track
from strategies.tapped import TappedNetwork
from strategies.weights import native_size

if TYPE_CHECKING:
    import keras

    from strategies.batches import Views


def forward(
    model: keras.Model, inputs: np.ndarray | Pixels | Part | Views, *, description: str = "Frozen pass"
) -> list[np.ndarray]:
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
        size = min(BATCH_SIZE, len(inputs) - start)
        outputs: Any = model.predict_on_batch(padded(inputs[start : start + BATCH_SIZE]))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        parts.append([np.asarray(output, dtype="float32")[:size] for output in outputs])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def frozen_pass(
    model: keras.Model,
    inputs: Pixels | Views,
    cache: FeatureCache | None,
    *,
    backbone: str,
    outputs: Sequence[str],
    precision: str = "float32",
    description: str = "Frozen pass",
) -> list[np.ndarray]:
    """Like `forward`, but reads the outputs from the cache where the same pass was made before, and keeps them there.

    The key of an entry holds the content of every image, how it was decoded, the input size, the backbone (and with it
    the preprocessing), every weight of the model, what comes out, the precision and the Keras backend.

    Args:
        model: A part of a pretrained network.
        inputs: Images.
        cache: `None` keeps nothing and reads nothing.
        backbone: Name of the row that the model was built of.
        outputs: What the outputs of the model are, by names that do not depend on what else was built.
        precision: What the model computes in.
        description: What a progress bar says.
    """
    import keras

    def key() -> str:
        return make_key(
            **inputs.identity(),
            pixels_version=PIXELS_VERSION,
            backbone=backbone,
            outputs=list(outputs),
            weights=weights_digest(model.get_weights()),
            precision=precision,
            backend=keras.backend.backend(),
        )

    return cached(cache, key, len(inputs), lambda: forward(model, inputs, description=description))


def has_gpu() -> bool:
    """Returns whether the Keras backend computes on a GPU."""
    import keras

    if keras.backend.backend() == "torch":  # for which keras.distribution knows no devices
        import torch

        return bool(torch.cuda.is_available())
    return any(device.startswith("gpu") for device in keras.distribution.list_devices())


def use_xla() -> bool:
    """Returns whether Keras should compile with XLA: not for TensorFlow on a CPU, where it is several times slower."""
    import keras

    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and has_gpu())


def extract_features(
    images: Any,
    backbone: str = "MobileNetV2",
    *,
    stages: Sequence[str] | None = None,
    image_size: int | None = None,
    weights: str = "auto",
    pool: bool = True,
    cache: bool = True,
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
        weights: `"auto"` (ImageNet's; for a model of your own: its weights), `"bundled"`, `"random"`, or the path of a
            weights file.
        pool: Average over the image plane; `False` keeps the feature maps.
        cache: Whether pooled features are kept on disk and read from there.

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
    row = get_backbone(backbone)
    size = image_size or native_size(row, weights)
    known = [stage.name for stage in stages_at(row, size, dense=False)]
    wanted = list(stages) if stages is not None else known[-1:]
    for name in wanted:
        if name not in known:
            raise unknown_name(f"stage of {row.name}", name, known)
    items = load_images(images).items
    if pool:
        return pooled_features(items, row.name, wanted, image_size=size, weights=weights, cache=cache)
    import keras

    network = build_backbone(row, image_size=size, weights=weights)
    model = keras.Model(network.input, _maps(network, row, size, wanted))
    values = forward(model, decode_images(items, size), description="Extracting features")
    return dict(zip(wanted, values, strict=True))


def pooled_features(
    items: Sequence[Any],
    backbone: str,
    stages: Sequence[str],
    *,
    image_size: int,
    weights: str,
    cache: bool,
    shelf: Shelf | None = None,
) -> dict[str, np.ndarray]:
    """Returns the features of each stage, averaged over the image plane, by one pass or from the cache.

    Args:
        items: Files or arrays, as `ImageDataset.items` holds them.
        backbone: Name of the backbone.
        stages: Names of stages.
        image_size: Side of the square input in pixels.
        weights: As in `extract_features`.
        cache: Whether the features are kept on disk and read from there.
        shelf: Where some of the images may lie decoded.
    """
    network = stage_network(backbone, stages, image_size=image_size, weights=weights, cache=cache)
    values = network.run(Pixels(items, image_size, shelf), description="Extracting features")
    return dict(zip(stages, values, strict=True))


def stage_network(backbone: str, stages: Sequence[str], *, image_size: int, weights: str, cache: bool) -> TappedNetwork:
    """Returns a network out of which come the features of some stages, averaged over the image plane.

    Args:
        backbone: Name of the backbone.
        stages: Names of stages; the others as in `pooled_features`.
        image_size: Side of the square input in pixels.
        weights: As in `extract_features`.
        cache: Whether network and features are kept on disk and read from there.
    """
    row = get_backbone(backbone)
    return TappedNetwork(
        backbone=row.name,
        image_size=image_size,
        weights=weights,
        taps=(*stages, "pooled"),
        tap=partial(_tap_stages, row=row, image_size=image_size, stages=tuple(stages)),
        cache=default_cache() if cache else None,
    )


def _tap_stages(
    network: keras.Model, row: Backbone, image_size: int, stages: Sequence[str]
) -> tuple[list[Any], list[np.ndarray]]:
    from keras.layers import GlobalAveragePooling2D

    maps = _maps(network, row, image_size, stages)
    return [GlobalAveragePooling2D()(one) if len(one.shape) == 4 else one for one in maps], []


def _maps(network: keras.Model, row: Backbone, image_size: int, stages: Sequence[str]) -> list[Any]:
    """Returns the outputs of some stages of a pretrained network."""
    ends = {stage.name: stage.last_layer for stage in stages_at(row, image_size, dense=False)}
    last = list(ends)[-1]
    return [network.output if name == last else network.get_layer(ends[name]).output for name in stages]
