"""Keras and its backend: how to import it quietly, its name and settings, and whether it uses a GPU and XLA."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.errors import UserError, in_a_sentence
from strategies.startup import starting, use_threads

if TYPE_CHECKING:
    import keras as keras  # other modules import it from here


TRAINING = ("tensorflow", "jax", "torch")  # backends that compute gradients


def __getattr__(name: str) -> Any:
    """Returns Keras, so that whichever module imports it first does so quietly."""
    if name != "keras":
        raise AttributeError(name)
    return _import_keras()


def start_keras() -> None:
    """Imports Keras and runs a first operation. TensorFlow's start-up messages do not reach stderr.

    Raises:
        UserError: If Keras or its backend cannot be imported, or if the process was forked after Keras was used.
    """
    if keras_backend() != "torch":  # PyTorch works in a forked process
        use_threads()
    _import_keras()
    _search_devices()


@cache
def _search_devices() -> None:
    """Runs a first operation: it searches for devices, which prints messages too."""
    with starting():
        _import_keras().ops.zeros(1)


def _import_keras() -> Any:
    if "keras" in sys.modules:
        import keras  # waits until another thread has imported it

        return keras
    with starting():
        try:
            import keras
        except Exception as error:  # an unknown backend, or any error of an installed one
            source = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else _settings_file()
            raise UserError(
                f"Expected a backend of Keras that can be imported. Received: {keras_backend()!r}, from {source} "
                f"({in_a_sentence(error)}). Install it, or set the environment variable KERAS_BACKEND to tensorflow."
            ) from error
    return keras


@contextmanager
def usual_settings() -> Iterator[None]:
    """Uses channels last and float32 for what is built or computed inside, whatever the user's settings of Keras are.

    They come from `keras.json`, or from `keras.config`. Afterward they are as before. As a decorator, it does the same
    for a function.

    Example:
        >>> import keras
        >>> from strategies.networks.backend import usual_settings
        >>> keras.config.set_image_data_format("channels_first")
        >>> with usual_settings():
        ...     layer = keras.layers.Conv2D(8, 3)
        >>> layer.data_format, keras.config.image_data_format()
        ('channels_last', 'channels_first')
        >>> keras.config.set_image_data_format("channels_last")
    """
    start_keras()
    from keras import config

    data_format, floatx, policy = config.image_data_format(), config.floatx(), config.dtype_policy()
    config.set_image_data_format("channels_last")
    config.set_floatx("float32")
    if policy.name == floatx:  # a policy of mixed precision was chosen on purpose
        config.set_dtype_policy("float32")
    try:
        yield
    finally:
        config.set_image_data_format(data_format)
        config.set_floatx(floatx)
        config.set_dtype_policy(policy)


@contextmanager
def first_traces() -> Iterator[None]:
    """Hides TensorFlow's warning that a function is traced again and again.

    It tells functions apart by their address in memory, which those of later models often share, so the first traces of
    five models can be enough for it.
    """
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_about_something_else)
    try:
        yield
    finally:
        logger.removeFilter(_is_about_something_else)


def _is_about_something_else(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in str(record.msg)


def keras_backend() -> str:
    """Returns the name of the Keras backend without importing Keras."""
    if "keras" in sys.modules:
        import keras

        return str(keras.backend.backend())
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    try:
        return str(json.loads(_settings_file().read_text(encoding="utf-8")).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def check_trains() -> None:
    """Refuses a backend that computes no gradients. It can predict, and solve a new head.

    Raises:
        UserError: If the Keras backend is none of `TRAINING`.
    """
    if (backend := keras_backend()) not in TRAINING:
        raise UserError(
            f"Expected {', '.join(TRAINING)} as Keras' backend to train more than a new head. Received: {backend!r}, "
            f"which computes no gradients. Set KERAS_BACKEND, or choose the recipe head_only."
        )


def _settings_file() -> Path:
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras.json"


def devices() -> list[str]:
    """Returns the devices on which the Keras backend computes, such as `cpu:0` and `gpu:0`."""
    import keras

    backend = keras.backend.backend()
    if backend in ("tensorflow", "jax"):
        return [str(device) for device in keras.distribution.list_devices()]
    if backend == "torch":  # Keras lists no devices for it, nor for the others
        import torch

        return ["cpu:0", *(f"gpu:{number}" for number in range(torch.cuda.device_count()))]
    return ["cpu:0"]


def has_gpu() -> bool:
    """Returns whether the Keras backend computes on a GPU."""
    return any(device.startswith("gpu") for device in devices())


def use_xla() -> bool:
    """Returns whether Keras should compile with XLA. For TensorFlow on a CPU, XLA is several times slower."""
    import keras

    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and has_gpu())
