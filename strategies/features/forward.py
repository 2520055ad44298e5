"""Forward passes of a Keras model over images: computed, or read from the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.cluster import is_on_ray, map_parts
from strategies.data.decoding import PIXELS_VERSION
from strategies.data.digests import weights_digest
from strategies.data.pixels import Pixels, PixelSubset
from strategies.display.progress import track
from strategies.errors import UserError
from strategies.features.cache import FeatureCache, cached, make_key
from strategies.networks.backend import first_traces, use_xla

if TYPE_CHECKING:
    import keras

    from strategies.data.batches import AugmentedViews, Views

BATCH_SIZE = 32  # images per forward pass, everywhere
Engine = Callable[..., list[np.ndarray]]  # (inputs, description) -> an array for each output; it can be pickled


def forward(
    model: keras.Model, inputs: np.ndarray | Pixels | PixelSubset | Views, *, description: str = "Frozen pass"
) -> list[np.ndarray]:
    """Runs `model` once over `inputs` and returns its outputs, one array each.

    It is faster than `model.predict`: the last batch is padded, so the model is traced for only one shape.

    Args:
        model: Any Keras model. BatchNormalization runs in inference mode.
        inputs: Images or features of shape `(num_images, ...)`. They are cast to float32 in batches of 32.
        description: Label of the progress bar.

    Returns:
        A list with one float32 array of shape `(num_images, ...)` per output of the model.

    Raises:
        UserError: If there are no images.
    """
    if not len(inputs):
        raise UserError("Expected at least one image for a forward pass. Received: none. Give some images.")
    parts: list[list[np.ndarray]] = []
    jit_compile, model.jit_compile = model.jit_compile, use_xla()
    try:
        with first_traces():
            for start in track(range(0, len(inputs), BATCH_SIZE), description):
                size = min(BATCH_SIZE, len(inputs) - start)
                outputs: Any = model.predict_on_batch(padded(inputs[start : start + BATCH_SIZE]))
                outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
                parts.append([np.asarray(output, dtype="float32")[:size] for output in outputs])
    finally:
        model.jit_compile = jit_compile  # the caller's setting
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def run_pass(engine: Engine, inputs: Any, description: str) -> list[np.ndarray]:
    """Runs a frozen network over images: in this process, or on the workers of a cluster, with the same results.

    On a cluster, each worker gets the engine once, and decodes its parts of the images itself.

    Args:
        engine: A `functools.partial` of `forward` with a model, or an `OpenVino`.
        inputs: Images. Arrays and changed copies are always computed in this process.
        description: Label of the progress bar.
    """
    if not is_on_ray() or not isinstance(inputs, Pixels | PixelSubset) or not len(inputs):
        return engine(inputs, description=description)
    run_part = partial(_run_part, engine, inputs.image_size, inputs.num_channels)
    parts = map_parts(run_part, inputs.items, description, gpu=is_keras(engine))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def is_keras(engine: Engine) -> bool:
    """Returns whether Keras computes, which uses a GPU where there is one: a `functools.partial` of `forward`."""
    return isinstance(engine, partial)


def _run_part(engine: Engine, image_size: int, num_channels: int, items: Sequence[Any]) -> list[np.ndarray]:
    return engine(Pixels(items, image_size, num_channels=num_channels), description="")


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
    """Like `forward`, but stores the outputs in a cache and reads them from there.

    The key of an entry is made from the content of every image, the version of the decoding, the input size, the
    backbone (and thus the preprocessing), every weight of the model, the outputs, the precision and the Keras backend.

    Args:
        model: A part of a pretrained network.
        inputs: The images.
        cache: The cache; `None` stores and reads nothing.
        backbone: Identity of the row that the model was built from.
        outputs: Names of the outputs, for the key. They must not depend on other models in the process.
        precision: Precision that the model computes in.
        description: Label of the progress bar.

    Returns:
        As `forward`.
    """
    from strategies.networks.backend import keras

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
    """Returns a batch of exactly 32 as float32. A shorter batch is filled with copies of its first image."""
    batch = np.asarray(images, dtype="float32")
    missing = BATCH_SIZE - len(batch)
    return np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)]) if missing else batch
