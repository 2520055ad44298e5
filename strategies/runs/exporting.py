"""Exports the model of a run to other formats, and checks each in a new process against the original model."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.channels import RGB
from strategies.data.dataset import ImageDataset
from strategies.data.decoding import decode_readable, to_pixels
from strategies.data.loading import load_dataset
from strategies.data.resizing import as_planned, image_of
from strategies.data.splits import split_dataset
from strategies.display.progress import note
from strategies.errors import ExportError, RunError, in_a_sentence, unknown_name
from strategies.features.forward import BATCH_SIZE, forward
from strategies.files import check_output, check_writable, filling, make_folder, read_json, write_json
from strategies.networks.backend import keras_backend
from strategies.networks.flattening import copy_layer
from strategies.plans.plan import check_class_names
from strategies.processes import start_python
from strategies.runs.model_card import model_card
from strategies.runs.run_folder import RunFolder, read_run
from strategies.startup import start_tensorflow, starting
from strategies.training.embedded import ENTRY, description, embed
from strategies.training.run_files import CLASS_NAMES, MODEL
from strategies.training.run_images import splits_in

if TYPE_CHECKING:
    import keras

EXPORT_VERSION = 1
FOLDER = "export"  # within a run folder
MOST_IMAGES = 1_000  # for the check
NUM_CALIBRATION = 200  # training images; TensorFlow's guide to int8 recommends 100 to 500
NUM_SYNTHETIC = 64
_PARTS = ("config.json", "metadata.json", "model.weights.h5")  # of a .keras file


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


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported model, and how it compares with the original model: the content of `export/<format>.json`.

    Attributes:
        format: Name of the format, a key of `FORMATS`.
        path: The exported file, or the folder of a SavedModel. `class_names.json` is in the same folder, and so are the
            weights of OpenVINO.
        num_bytes: Its size in bytes.
        images: Description of the images used for the check.
        num_images: Number of these images.
        num_unreadable: Number of further images that could not be decoded.
        top1_agreement: Share of the images for which both models predict the same class.
        largest_difference: Largest absolute difference between probabilities of the two models.
        runtime: The package that ran the exported model, with its version.
        model_digest: SHA-256 of the run's `model.keras`, the model to which the results apply.
        accuracy: Share of the images whose class the exported model predicts; `None` for synthetic images.
        model_accuracy: The same of the original model.
    """

    format: str
    path: str
    num_bytes: int
    images: str
    num_images: int
    num_unreadable: int
    top1_agreement: float
    largest_difference: float
    runtime: str
    model_digest: str
    accuracy: float | None = None
    model_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {"version": EXPORT_VERSION, **asdict(self)}


def export(
    run: str | Path | RunFolder,
    format: str,  # noqa: A002 - as Keras calls it
    out: str | Path | None = None,
    *,
    data: Any = None,
    overwrite: bool = False,
    on_end: Callable[[Export], None] | None = None,
) -> Export:
    """Exports the model of a run, loads the exported model in a new process, and compares the two on images.

    In every format, the model takes RGB pixels 0-255 as float32 of shape `(num_images, image_size, image_size, 3)`, or
    as many bands as the plan names in `channels`, and scales them itself. It returns probabilities in the order of
    `class_names.json`, which is written to the same folder. The metadata of an ONNX file also hold the class names, the
    channels, and how images become squares: `resize`.

    Args:
        run: The run folder, or a `RunFolder`.
        format: `"keras"`; `"savedmodel"` (TensorFlow, TensorFlow Serving); `"onnx"` (needs onnx, onnxruntime
            and, with TensorFlow, tf2onnx); `"openvino"` (needs openvino); `"hf"` (a folder for the Hugging Face Hub);
            `"litert"` (a `.tflite` file; needs ai-edge-litert); `"litert-int8"` (the same with weights and activations
            of 8 bits, about a third of the size; needs `data`).
        out: Folder to write to. Default: `export/<format>` within the run folder.
        data: The dataset that the model was trained on, as for `strategies.train`. At most 1,000 of its test images are
            used for the check, and for `"litert-int8"`, 200 of its training images for calibration. Images of the run
            have the split of the run; others have their own, or are split with the plan's seed. Default: 64 synthetic
            images, which are a weaker check.
        overwrite: Whether the output folder may hold files already.
        on_end: Called with the result when all files are written, before the export counts as finished. An export that
            is interrupted earlier can be begun again.

    Returns:
        An `Export`. The same results are written to `export/<format>.json` within the run folder.

    Raises:
        ExportError: If a package or `data` is missing, or if the model cannot be expressed in the format.
        OutputError: If the folder holds files and `overwrite` is false.
        PlanError: If the classes of the data are not those of the run.
        RunError: If `run` is not a run folder.
        UnknownNameError: If the format does not exist.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> strategies.export("run/", "tflite")
        Traceback (most recent call last):
        ...
        strategies.errors.UnknownNameError: Unknown format 'tflite'... Known: hf, keras, litert...
    """
    row, run = check_format(format, data), read_run(run)
    folder = check_output(run.path / FOLDER / row.name if out is None else out, overwrite=overwrite)
    record = run.path / FOLDER / f"{row.name}.json"
    check_writable(record)
    _ = run.model  # a model that cannot be loaded is refused before any image is decoded
    if data is None:
        images, calibration = _synthetic_images(run.image_size, run.num_channels), None
    else:
        dataset = _split(run, data)
        images = _images(run, dataset, "test", MOST_IMAGES)
        calibration = _images(run, dataset, "train", NUM_CALIBRATION).pixels if row.int8 else None
    (expected,) = forward(run.model, images.pixels, description="Original model")

    def finish() -> None:
        make_folder(record.parent)
        write_json(record, result.to_dict())
        if on_end is not None:
            on_end(result)

    with filling(folder, on_placed=finish) as temporary:  # only a checked export reaches the folder
        path = temporary / row.file
        _write(run, row, path, calibration)
        received = _reloaded(row, path, images.pixels)
        num_bytes = sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file())
        write_json(path.with_name(CLASS_NAMES), {"version": 1, "class_names": list(run.class_names)})
        result = Export(
            format=row.name,
            path=str(folder / row.file),
            num_bytes=num_bytes,
            images=images.description,
            num_images=len(images.pixels),
            num_unreadable=images.num_unreadable,
            top1_agreement=float((expected.argmax(axis=1) == received.argmax(axis=1)).mean()),
            largest_difference=float(np.abs(expected - received).max()),
            runtime=f"{row.runtime} {version(row.runtime)}",
            model_digest=_digest(run),
            accuracy=images.accuracy(received),
            model_accuracy=images.accuracy(expected),
        )
        record.unlink(missing_ok=True)
    return result


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


def read_exports(run: str | Path | RunFolder) -> list[Export]:
    """Returns the exports of the current model of a run, in the order of `FORMATS`."""
    run = read_run(run)
    digest, found = _digest(run), []
    for name in FORMATS:
        path = run.path / FOLDER / f"{name}.json"
        if path.is_file():
            values = read_json(path, "export", package="strategies", error=RunError)
            values.pop("version")
            found.append(Export(**values))
    return [exported for exported in found if exported.model_digest == digest]


def _digest(run: RunFolder) -> str:
    return hashlib.sha256((run.path / MODEL).read_bytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Images:
    """Images for the check or the calibration.

    Attributes:
        pixels: uint8 of shape `(num_images, image_size, image_size, num_channels)`.
        labels: Their classes; `None` for synthetic images.
        description: What they are.
        num_unreadable: Number of further images that could not be decoded.
    """

    pixels: np.ndarray
    labels: np.ndarray | None
    description: str
    num_unreadable: int

    def accuracy(self, probabilities: np.ndarray) -> float | None:
        """Returns the share of the images whose class has the largest probability."""
        return None if self.labels is None else float((probabilities.argmax(axis=1) == self.labels).mean())


def _split(run: RunFolder, data: Any) -> ImageDataset:
    """Returns the images with the split that they have in the run, or if they are not of the run, with their own."""
    dataset = load_dataset(data, channels=run.channels)
    check_class_names(run.class_names, dataset.class_names)
    items = as_planned(dataset.items, run.image_bits, run.resize, run.channels, run.mixing)
    known = splits_in(run.path, run.class_names, items)
    if "test" in known:
        return replace(dataset, split=tuple(known))
    if dataset.split is None or None in dataset.split:
        return split_dataset(dataset, seed=run.seed)
    return dataset


def _images(run: RunFolder, dataset: ImageDataset, part: str, most: int) -> _Images:
    """Returns images of one part of the split, a random sample if there are more than `most`."""
    chosen = np.flatnonzero(np.array(dataset.split) == part)
    chosen = np.sort(np.random.default_rng(run.seed).permutation(chosen)[:most])
    items = as_planned(dataset.subset(chosen).items, run.image_bits, run.resize, run.channels)
    pixels, unreadable = decode_readable(items, run.image_size, run.num_channels)
    if not len(pixels):
        raise ExportError(
            f"Expected {part} images that can be decoded. Received: none in {dataset.source!r}. Repair them, or "
            f"add some."
        )
    return _Images(
        pixels=pixels,
        labels=np.delete(dataset.labels[chosen], list(unreadable)),
        description=f"{part} images of {dataset.source}",
        num_unreadable=len(unreadable),
    )


def _synthetic_images(image_size: int, num_channels: int = RGB) -> _Images:
    """Returns noise at every scale, from one color per image to one per pixel. It is the same on every machine."""
    generator = np.random.default_rng(0)
    images = []
    for index in range(NUM_SYNTHETIC):
        side = min(2 ** (index % 8), image_size)
        noise = generator.integers(0, 256, (side, side, num_channels), dtype="uint8")
        parts = [noise] if num_channels == RGB else np.split(noise, num_channels, axis=2)
        images.append(np.dstack([to_pixels(image_of(part), image_size)[..., : part.shape[2]] for part in parts]))
    description = "synthetic images: noise, coarse and fine"
    return _Images(pixels=np.stack(images), labels=None, description=description, num_unreadable=0)


def _write(run: RunFolder, row: Format, path: Path, calibration: np.ndarray | None) -> None:
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


_RUN_SCRIPT = """
import runpy, sys
from strategies.processes import end_with_parent
end_with_parent()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _reloaded(row: Format, path: Path, pixels: np.ndarray) -> np.ndarray:
    """Returns the probabilities of the exported model, computed in a new process that needs nothing of this package."""
    script = Path(__file__).with_name("runtimes.py")
    inputs, outputs = path.with_name("pixels.npy"), path.with_name("probabilities.npy")
    np.save(inputs, pixels)
    arguments = (script, row.name, path, BATCH_SIZE, inputs, outputs)
    try:
        with (
            tempfile.TemporaryFile() as errors,
            start_python(_RUN_SCRIPT, *arguments, stdout=DEVNULL, stderr=errors) as child,
        ):
            failed = child.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        if failed:
            last = (said or [f"exit code {failed}"])[-1]
            raise ExportError(
                f"Expected an exported model that {row.runtime} can run. Received: {path.name!r}, which it cannot run "
                f"({last[:300]}). Choose another format: {', '.join(FORMATS)}."
            )
        received: np.ndarray = np.load(outputs)
    finally:
        inputs.unlink()
        outputs.unlink(missing_ok=True)
    return received
