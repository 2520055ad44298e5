"""The formats that models are exported to, as rows, and what each needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from strategies.errors import ExportError, unknown_name
from strategies.networks.backend import keras_backend
from strategies.training.run_files import MODEL


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format that models can be exported to.

    Attributes:
        name: Name of the format.
        file: Name of the exported file or folder.
        runtime: The package that runs the exported model.
        backends: Backends of Keras that write the format; empty for all.
        packages: Packages needed in addition to Keras and its backend: import name -> package name.
        keras_name: What Keras calls the format.
        converters: Further packages that a backend needs: backend -> import names, which are the package names too.
        int8: Whether weights and activations are rounded to 8-bit integers. That takes images: the range of every
            activation is measured on them.
    """

    name: str
    file: str
    runtime: str
    backends: tuple[str, ...]
    packages: dict[str, str]
    keras_name: str
    converters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    int8: bool = False


_LITERT: dict[str, Any] = {
    "file": "model.tflite",
    "runtime": "ai-edge-litert",
    "backends": ("tensorflow",),
    "packages": {"ai_edge_litert": "ai-edge-litert"},
    "keras_name": "litert",
}


FORMATS = {
    row.name: row
    for row in (
        Format(name="keras", file=MODEL, runtime="keras", backends=(), packages={}, keras_name="keras"),
        Format(name="hf", file="model", runtime="keras", backends=(), packages={}, keras_name="keras"),
        Format(
            name="savedmodel",
            file="saved_model",
            runtime="tensorflow",
            backends=("tensorflow",),
            packages={},
            keras_name="tf_saved_model",
        ),
        Format(
            name="onnx",
            file="model.onnx",
            runtime="onnxruntime",
            backends=("tensorflow", "torch"),
            packages={"onnx": "onnx", "onnxruntime": "onnxruntime"},
            keras_name="onnx",
            converters={"tensorflow": ("tf2onnx",)},
        ),
        Format(
            name="openvino",
            file="model.xml",
            runtime="openvino",
            backends=("tensorflow", "torch", "openvino"),
            packages={"openvino": "openvino"},
            keras_name="openvino",
        ),
        Format(name="litert", **_LITERT),
        Format(name="litert-int8", **_LITERT, int8=True),
    )
}


def check_format(name: str, data: Any) -> Format:
    """Returns the row of a format, after checking that what it needs is there.

    Args:
        name: Name of the format.
        data: As for `export`; only whether it is there is looked at.

    Raises:
        ExportError: If the backend of Keras does not write it, or if packages are missing, or images for int8; the
            message says what to do.
        UnknownNameError: If the format does not exist.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    row = FORMATS[name]
    if row.backends and (backend := keras_backend()) not in row.backends:
        raise ExportError(
            f"Expected {' or '.join(row.backends)} as Keras' backend for the format {name!r}. Received: {backend!r}. "
            f"Set KERAS_BACKEND={row.backends[0]}; the run folder is the same for every backend."
        )
    packages = row.packages | {name: name for name in row.converters.get(keras_backend(), ())}
    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ExportError(
            f"Expected {', '.join(packages.values())} for the format {name!r}. Received: an environment without "
            f"{', '.join(missing)}. Run: pip install {' '.join(missing)}"
        )
    if row.int8 and data is None:
        raise ExportError(
            f"Expected images for the calibration of the format {name!r}. Received: none. Give the images that the "
            f"model was trained on: --data DATA, or data= in Python."
        )
    return row
