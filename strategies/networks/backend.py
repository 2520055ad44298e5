"""Keras and its backend: how to import it quietly, its name, and whether it uses a GPU and XLA."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def start_keras() -> None:
    """Imports Keras if it is not imported yet. TensorFlow's start-up messages do not reach stderr."""
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # the process has no stderr
        import keras

        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        import keras

        keras.ops.zeros(1)  # the first operation searches for devices, which prints messages too
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


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
        settings = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras.json"
        return str(json.loads(settings.read_text(encoding="utf-8")).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def has_gpu() -> bool:
    """Returns whether the Keras backend computes on a GPU."""
    import keras

    if keras.backend.backend() == "torch":  # keras.distribution lists no devices for it
        import torch

        return bool(torch.cuda.is_available())
    return any(device.startswith("gpu") for device in keras.distribution.list_devices())


def use_xla() -> bool:
    """Returns whether Keras should compile with XLA. For TensorFlow on a CPU, XLA is several times slower."""
    import keras

    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and has_gpu())
