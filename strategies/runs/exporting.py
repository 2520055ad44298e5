"""A run's model in the formats that other software reads, each checked in a fresh process against the model itself."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.decoding import decode_readable, to_pixels
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import ExportError, in_a_sentence, unknown_name
from strategies.features.forward import BATCH_SIZE, forward
from strategies.files import check_output, write_json
from strategies.plans.plan import check_class_names
from strategies.runs.run_folder import RunFolder, read_run
from strategies.training.run_files import CLASS_NAMES, MODEL

if TYPE_CHECKING:
    import keras

EXPORT_VERSION = 1
FOLDER = "export"  # within a run folder
MOST_IMAGES = 1_000
MADE_UP = 64


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format, the file or folder that it is, and what writing and reading it takes.

    Attributes:
        packages: Name of each package that is needed beside TensorFlow, by the name that it is imported by.
        runtime: The package that runs the exported model.
    """

    name: str
    file: str
    runtime: str
    packages: dict[str, str]


FORMATS = {
    row.name: row
    for row in (
        Format(name="keras", file=MODEL, runtime="keras", packages={}),
        Format(name="savedmodel", file="saved_model", runtime="tensorflow", packages={}),
        Format(
            name="onnx",
            file="model.onnx",
            runtime="onnxruntime",
            packages={"onnx": "onnx", "tf2onnx": "tf2onnx", "onnxruntime": "onnxruntime"},
        ),
        Format(
            name="litert", file="model.tflite", runtime="ai-edge-litert", packages={"ai_edge_litert": "ai-edge-litert"}
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported model, and how it compares with the model of the run; the content of `export/<format>.json`.

    Attributes:
        format: One of `FORMATS`.
        path: The file, or the folder of a SavedModel; `class_names.json` lies beside it.
        num_bytes: Its size.
        images: What it was checked on, in words.
        num_images: How many images these are; `num_unreadable` more could not be decoded.
        top1_agreement: Share of them to which both give the same class.
        largest_difference: Largest absolute difference of any probability.
        runtime: The package that ran the exported model, with its version.
        model_digest: SHA-256 of the run's `model.keras`: the figures hold for no other model.
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
) -> Export:
    """Exports the model of a run, loads the result in a fresh process and compares the two on images.

    Every format takes what the model takes: RGB pixels 0-255 as float32 of shape `(num_images, image_size, image_size,
    3)`; scaling is part of the model. It gives probabilities in the order of `class_names.json`, which is put beside
    it; an ONNX file holds the names in its metadata too.

    Args:
        run: A run folder.
        format: `"keras"`; `"savedmodel"` (TensorFlow, TensorFlow Serving); `"onnx"` (needs onnx, tf2onnx and
            onnxruntime); `"litert"` (a `.tflite` file; needs ai-edge-litert).
        out: Folder to write to; default: `export/<format>` within the run folder.
        data: What the model was trained on, as `strategies.train` takes it; its test images, those of the plan's seed
            where it has no split of its own, are what is compared on, at most 1,000 of them. Default: 64 made-up
            images, which say less.
        overwrite: Whether the output folder may hold files already.

    Returns:
        An `Export`; the same figures stand in `export/<format>.json` within the run folder.

    Raises:
        ExportError: If a package is missing, or the format cannot express the model.
        OutputError: If the folder holds files and `overwrite` is false.
        PlanError: If the data has other classes than the run.
        RunError: If `run` is no run folder.
        UnknownNameError: If the format does not exist.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> strategies.export("run/", "tflite")
        Traceback (most recent call last):
        ...
        strategies.errors.UnknownNameError: Unknown format 'tflite'... Known: keras, litert, onnx, savedmodel.
    """
    row, run = check_format(format), read_run(run)
    folder = check_output(run.path / FOLDER / row.name if out is None else out, overwrite=overwrite)
    pixels, images, num_unreadable = _pixels(run, data)
    expected = _probabilities(run, pixels)
    with tempfile.TemporaryDirectory(prefix="advisor-export-") as made:
        path = Path(made, row.file)
        _write(run, row, path)
        received = _reloaded(row, path, pixels)
        write_json(path.with_name(CLASS_NAMES), {"version": 1, "class_names": list(run.class_names)})
        num_bytes = sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())
        # Only what was checked reaches the folder.
        shutil.copytree(made, folder, dirs_exist_ok=True)
    result = Export(
        format=row.name,
        path=str(folder / row.file),
        num_bytes=num_bytes,
        images=images,
        num_images=len(pixels),
        num_unreadable=num_unreadable,
        top1_agreement=float((expected.argmax(axis=1) == received.argmax(axis=1)).mean()),
        largest_difference=float(np.abs(expected - received).max()),
        runtime=f"{row.runtime} {version(row.runtime)}",
        model_digest=_digest(run),
    )
    (run.path / FOLDER).mkdir(exist_ok=True)
    write_json(run.path / FOLDER / f"{row.name}.json", result.to_dict())
    return result


def check_format(name: str) -> Format:
    """Returns the row of a format if it exists and all that it needs is installed.

    Raises:
        ExportError: Naming the packages that are missing and how to install them.
        UnknownNameError: If there is no such format.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    row = FORMATS[name]
    missing = [package for module, package in row.packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ExportError(
            f"Expected {', '.join(row.packages.values())} for the format {name!r}. Received: an environment without "
            f"{', '.join(missing)}. Run: pip install {' '.join(missing)}"
        )
    return row


def read_exports(run: str | Path | RunFolder) -> list[Export]:
    """Returns the exports of a run that were made of the model that is there now, in the order of `FORMATS`."""
    run = read_run(run)
    digest, found = _digest(run), []
    for name in FORMATS:
        path = run.path / FOLDER / f"{name}.json"
        if path.is_file():
            values = json.loads(path.read_text(encoding="utf-8"))
            values.pop("version")
            found.append(Export(**values))
    return [one for one in found if one.model_digest == digest]


def _digest(run: RunFolder) -> str:
    return hashlib.sha256((run.path / MODEL).read_bytes()).hexdigest()


def _pixels(run: RunFolder, data: Any) -> tuple[np.ndarray, str, int]:
    """Returns the images to compare on, what they are in words, and how many more cannot be decoded."""
    if data is None:
        return _made_up(run.image_size), f"{MADE_UP} made-up images: noise, coarse and fine", 0
    dataset = load_dataset(data)
    check_class_names(run.class_names, dataset.class_names)
    if dataset.split is None or None in dataset.split:
        dataset = split_dataset(dataset, seed=run.seed)
    chosen = np.flatnonzero(np.array(dataset.split) == "test")
    chosen = np.sort(np.random.default_rng(run.seed).permutation(chosen)[:MOST_IMAGES])
    pixels, unreadable = decode_readable(dataset.subset(chosen).items, run.image_size)
    if not len(pixels):
        raise ExportError(
            f"Expected test images that can be decoded. Received none in {dataset.source!r}. Add some, or leave the "
            f"data out."
        )
    return pixels, f"test images of {dataset.source}", len(unreadable)


def _made_up(image_size: int) -> np.ndarray:
    """Returns noise at every scale from one colour per image to one per pixel: alike for everyone, like no photo."""
    from PIL import Image

    generator = np.random.default_rng(0)
    images = []
    for index in range(MADE_UP):
        side = min(2 ** (index % 8), image_size)
        noise = Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype="uint8"))
        images.append(to_pixels(noise, image_size))
    return np.stack(images)


def _probabilities(run: RunFolder, pixels: np.ndarray) -> np.ndarray:
    (probabilities,) = forward(run.model, pixels, description="The model")
    return probabilities


def _write(run: RunFolder, row: Format, path: Path) -> None:
    import keras

    model: keras.Model = run.model
    if row.name == "keras":
        model.save(path)
        return
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Expected TensorFlow as Keras' backend for the format {row.name!r}. Received: "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow; the run folder is the same for every backend."
        )
    kind = "tf_saved_model" if row.name == "savedmodel" else row.name
    try:
        with warnings.catch_warnings():  # of the converters, about themselves
            warnings.simplefilter("ignore")
            (model if row.name == "savedmodel" else _convertible(model)).export(str(path), format=kind, verbose=False)
            if row.name == "onnx":
                _describe(run, path)
    except Exception as error:  # converters raise whatever they meet
        raise ExportError(
            f"Expected a model that Keras can export as {row.name!r}. Received: {str(run.path)!r} "
            f"({in_a_sentence(error)[:300]}). Choose another format: {', '.join(FORMATS)}."
        ) from error


def _convertible(model: keras.Model) -> keras.Model:
    """Returns the model with two kinds of layers, both of ConvNeXt, written in operations that the converters know.

    Keras compiles convolutions of one channel per group with XLA, where they are depthwise ones; TensorFlow computes
    the exact GELU by `erfc`, where `erf` says the same.
    """
    import keras

    def is_depthwise(layer: keras.Layer) -> bool:
        grouped = isinstance(layer, keras.layers.Conv2D) and 1 < layer.groups == layer.filters
        return grouped and layer.kernel.shape[2] == 1

    def is_gelu(layer: keras.Layer) -> bool:
        return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.gelu

    def gelu(inputs: Any) -> Any:
        return 0.5 * inputs * (1 + keras.ops.erf(inputs / 2**0.5))

    def copy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if is_gelu(layer):
            return keras.layers.Activation(gelu, name=layer.name)
        if not is_depthwise(layer):
            return type(layer).from_config(config)
        kept = ("name", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "activation", "use_bias")
        return keras.layers.DepthwiseConv2D(**{key: config[key] for key in kept})

    if not any(is_depthwise(layer) or is_gelu(layer) for layer in model.layers):
        return model
    converted = keras.models.clone_model(model, clone_function=copy)
    for layer in filter(lambda one: one.weights, model.layers):
        weights = layer.get_weights()
        if is_depthwise(layer):
            weights[0] = np.swapaxes(weights[0], 2, 3)
        converted.get_layer(layer.name).set_weights(weights)
    converted(np.zeros((1, *model.input_shape[1:]), dtype="float32"))  # Keras exports only what has been called
    return converted


def _describe(run: RunFolder, path: Path) -> None:
    """Writes into an ONNX file what it takes and what its outputs are called; raises if it is none.

    tf2onnx leaves what it does not know as it is, without a word: the checker finds that.
    """
    import onnx

    model = onnx.load(path)
    read = {name for node in model.graph.node for name in node.input}
    for unused in [one for one in model.graph.input if one.name not in read]:
        model.graph.input.remove(unused)  # constants of EfficientNet's scaling that tf2onnx leaves behind, once folded
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "num_images"
    texts = {
        "class_names": json.dumps(run.class_names, ensure_ascii=False),
        "input": f"RGB pixels 0-255, float32, (num_images, {run.image_size}, {run.image_size}, 3)",
    }
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _reloaded(row: Format, path: Path, pixels: np.ndarray) -> np.ndarray:
    """Returns the probabilities that the exported model gives in a process of its own, which knows nothing of ours."""
    script = Path(__file__).with_name("runtimes.py")
    inputs, outputs = path.with_name("pixels.npy"), path.with_name("probabilities.npy")
    np.save(inputs, pixels)
    command: Sequence[Any] = (sys.executable, "-P", script, row.name, path, BATCH_SIZE, inputs, outputs)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ExportError(
                f"Expected an exported model that {row.runtime} can run. Received: {path.name!r}, which it refuses "
                f"({last[:300]}). Choose another format: {', '.join(FORMATS)}."
            )
        received: np.ndarray = np.load(outputs)
    finally:
        inputs.unlink()
        outputs.unlink(missing_ok=True)
    return received
