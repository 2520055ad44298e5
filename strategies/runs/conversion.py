"""Writes the model of a run in another format, with its class names and a description of its input."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.display.progress import note
from strategies.errors import ExportError, in_a_sentence
from strategies.files import make_folder
from strategies.networks.flattening import copy_layer
from strategies.runs.formats import FORMATS, Format
from strategies.runs.model_card import model_card
from strategies.runs.run_folder import RunFolder
from strategies.startup import start_tensorflow, starting
from strategies.training.embedded import ENTRY, description, embed
from strategies.training.run_files import MODEL

if TYPE_CHECKING:
    import keras

_PARTS = ("config.json", "metadata.json", "model.weights.h5")  # of a .keras file


def write_model(run: RunFolder, row: Format, path: Path, calibration: np.ndarray | None) -> None:
    """Writes the model of a run in a format.

    Args:
        run: The run.
        row: The format.
        path: The file or folder to write.
        calibration: Images on which 8-bit integers are calibrated, or `None`.

    Raises:
        ExportError: If the model cannot be converted.
    """
    if row.name == "keras":
        shutil.copyfile(run.path / MODEL, path)
        return
    if row.name == "hf":
        _write_for_hub(run, path)
        return
    model: keras.Model = run.model
    options = {} if calibration is None else _int8(calibration)
    try:
        with warnings.catch_warnings(), starting():  # converters warn about their own code, and print
            warnings.simplefilter("ignore")
            model = model if row.name == "savedmodel" else _convertible(model)
            model.export(str(path), format=row.keras_name, verbose=False, **options)
            if row.name == "onnx":
                _describe(run, path)
            if row.file.endswith(".tflite"):
                embed(path, _description(run))
    except OSError:  # of the disk
        raise
    except Exception as error:  # converters raise errors of many types
        raise ExportError(
            f"Expected a model that Keras can export as {row.name!r}. Received: {str(run.path)!r} "
            f"({in_a_sentence(error)[:300]}). Choose another format: {', '.join(FORMATS)}."
        ) from error


def _description(run: RunFolder) -> dict[str, Any]:
    return description(run.class_names, run.image_size, run.image_bits, run.resize, run.channels)


def _write_for_hub(run: RunFolder, path: Path) -> None:
    """Writes a folder for the Hugging Face Hub: a model card, and the parts of the `.keras` file, which Keras loads."""
    make_folder(path)
    with zipfile.ZipFile(run.path / MODEL) as archive:
        for name in _PARTS:
            (path / name).write_bytes(archive.read(name))
    (path / ENTRY).write_text(json.dumps(_description(run), ensure_ascii=False, indent=1), encoding="utf-8")
    (path / "README.md").write_text(model_card(run, ENTRY), encoding="utf-8")


def _int8(pixels: np.ndarray) -> dict[str, Any]:
    """Returns the options of the converter for 8-bit integers inside, and float32 as input and output."""
    lite = start_tensorflow("to round to 8 bits").lite
    note(f"Calibrating on {len(pixels):,} training images")
    return {
        "optimizations": [lite.Optimize.DEFAULT],
        "representative_dataset": lambda: ([image[None].astype("float32")] for image in pixels),
        "target_spec": {"supported_ops": [lite.OpsSet.TFLITE_BUILTINS_INT8]},
    }


def _convertible(model: keras.Model) -> keras.Model:
    """Returns the model with two operations of ConvNeXt and of transformers replaced by some that converters support.

    Keras compiles convolutions with one channel per group with XLA; they are replaced by depthwise convolutions.
    TensorFlow computes the exact GELU with `erfc`; it is replaced by the same function with `erf`.
    """
    from strategies.networks.backend import keras

    def is_depthwise(layer: keras.Layer) -> bool:
        grouped = isinstance(layer, keras.layers.Conv2D) and 1 < layer.groups == layer.filters
        return grouped and layer.kernel.shape[2] == 1

    def is_gelu(layer: keras.Layer) -> bool:
        return getattr(layer, "activation", None) is keras.activations.gelu

    def gelu(inputs: Any) -> Any:
        return 0.5 * inputs * (1 + keras.ops.erf(inputs / 2**0.5))

    def copy(layer: keras.Layer) -> keras.Layer:
        if not is_depthwise(layer):
            new = copy_layer(layer)
            if is_gelu(layer):
                new.activation = gelu
            return new
        config = layer.get_config()
        kept = ("name", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "activation", "use_bias")
        return keras.layers.DepthwiseConv2D(**{key: config[key] for key in kept})

    if not any(is_depthwise(layer) or is_gelu(layer) for layer in model.layers):
        return model
    converted = keras.models.clone_model(model, clone_function=copy)
    for layer in [layer for layer in model.layers if layer.weights]:
        weights = layer.get_weights()
        if is_depthwise(layer):
            weights[0] = np.swapaxes(weights[0], 2, 3)
        converted.get_layer(layer.name).set_weights(weights)
    converted(np.zeros((1, *model.input_shape[1:]), dtype="float32"))  # Keras exports only models that have been called
    return converted


def _describe(run: RunFolder, path: Path) -> None:
    """Adds the class names and a description of the input to an ONNX file, and checks the file.

    tf2onnx silently copies operations that it does not know. The checker raises an error for them.
    """
    import onnx

    model = onnx.load(path)
    read = {name for node in model.graph.node for name in node.input}
    for unused in [value for value in model.graph.input if value.name not in read]:
        model.graph.input.remove(unused)  # tf2onnx leaves constants of EfficientNet's scaling behind after folding
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "num_images"
    content = _description(run)
    texts = {
        "class_names": json.dumps(content["class_names"], ensure_ascii=False),
        "input": content["input"],
        "resize": content["resize"],
        **({"channels": json.dumps(run.channels)} if run.channels else {}),
    }
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    onnx.save(model, path)
