"""Importing Keras, with what its backend prints below Python kept off stderr."""

from __future__ import annotations

import os
import sys


def start_keras() -> None:
    """Imports Keras where that was not done yet; TensorFlow's messages at start-up do not reach stderr."""
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        import keras

        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import keras

        keras.ops.zeros(1)  # the first operation looks for devices
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
