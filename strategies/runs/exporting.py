"""Exports the model of a run to other formats, and checks each in a new process against the original model."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import numpy as np

from strategies.data.channels import RGB
from strategies.data.dataset import ImageDataset
from strategies.data.decoding import decode_readable, to_pixels
from strategies.data.loading import load_dataset
from strategies.data.resizing import as_planned, image_of
from strategies.data.splits import split_dataset
from strategies.errors import ExportError, RunError
from strategies.features.forward import BATCH_SIZE, forward
from strategies.files import check_output, check_writable, filling, make_folder, read_json, write_json
from strategies.plans.plan import check_class_names
from strategies.processes import start_python
from strategies.runs.conversion import write_model
from strategies.runs.formats import FORMATS, Format, check_format
from strategies.runs.run_folder import RunFolder, read_run
from strategies.training.run_files import CLASS_NAMES, MODEL
from strategies.training.run_images import splits_in

EXPORT_VERSION = 1
FOLDER = "export"  # within a run folder
MOST_IMAGES = 1_000  # for the check
NUM_CALIBRATION = 200  # training images; TensorFlow's guide to int8 recommends 100 to 500
NUM_SYNTHETIC = 64


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
        write_model(run, row, path, calibration)
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
