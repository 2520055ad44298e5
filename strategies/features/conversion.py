"""Converts Keras models for OpenVINO. Runs in a process with Keras' OpenVINO backend: see `background`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from strategies.features.engines import IMAGES_PER_REQUEST, import_openvino
from strategies.features.transposes import sink_transposes

if TYPE_CHECKING:
    import keras


def convert_model(model: keras.Model) -> list[np.ndarray]:
    """Converts a model of images, in float32 and for `IMAGES_PER_REQUEST` images.

    Args:
        model: A Keras model of one or more outputs, one vector per image each.

    Returns:
        The arguments of `strategies.features.engines.OpenVino`: structure, weights and widths.
    """
    openvino = import_openvino()
    from strategies.networks.backend import keras

    widths = np.array([output.shape[-1] for output in model.outputs])
    # The outputs are joined, since OpenVINO does not guarantee the order of several.
    joined = model.outputs[0] if len(widths) == 1 else keras.ops.concatenate(model.outputs, axis=1)
    signature = [keras.InputSpec(shape=(IMAGES_PER_REQUEST, *model.input.shape[1:]), dtype="float32")]
    with tempfile.TemporaryDirectory(prefix="advisor-openvino-") as folder:
        exported, path = Path(folder, "exported.xml"), Path(folder, "network.xml")
        whole = keras.Model(model.input, joined)
        whole.export(str(exported), format="openvino", verbose=False, input_signature=signature)
        graph = openvino.Core().read_model(exported)
        sink_transposes(graph)
        openvino.save_model(graph, path, compress_to_fp16=False)
        structure, weights = (np.fromfile(file, dtype="uint8") for file in (path, path.with_suffix(".bin")))
    return [structure, weights, widths]
