"""One frozen forward pass: images in, outputs of a Keras model out, computed once or read from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.decoding import PIXELS_VERSION
from strategies.data.digests import weights_digest
from strategies.data.pixels import Pixels, PixelSubset
from strategies.display.progress import track
from strategies.errors import UserError
from strategies.features.cache import FeatureCache, cached, make_key
from strategies.networks.backend import use_xla

if TYPE_CHECKING:
    import keras

    from strategies.data.batches import AugmentedViews

BATCH_SIZE = 32  # images per forward pass, everywhere


def forward(
    model: keras.Model, inputs: np.ndarray | Pixels | PixelSubset | AugmentedViews, *, description: str = "Frozen pass"
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
    if not len(inputs):
        raise UserError("Expected at least one image for a forward pass. Received none.")
    parts: list[list[np.ndarray]] = []
    jit_compile, model.jit_compile = model.jit_compile, use_xla()
    try:
        for start in track(range(0, len(inputs), BATCH_SIZE), description):
            size = min(BATCH_SIZE, len(inputs) - start)
            outputs: Any = model.predict_on_batch(padded(inputs[start : start + BATCH_SIZE]))
            outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
            parts.append([np.asarray(output, dtype="float32")[:size] for output in outputs])
    finally:
        model.jit_compile = jit_compile  # the model is the caller's
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def cached_forward(
    model: keras.Model,
    inputs: Pixels | AugmentedViews,
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


def padded(images: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Returns a batch of 32 as float32; a shorter one is filled up with its first image, so shapes stay the same."""
    batch = np.asarray(images, dtype="float32")
    missing = BATCH_SIZE - len(batch)
    return np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]) if missing else batch
