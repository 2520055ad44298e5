"""Reads a run folder: its classes, its model and its results. Every file that is read from it is checked here."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.channels import Mixing, check_channels, num_channels
from strategies.data.digests import file_digest
from strategies.data.encoded import SQUEEZE
from strategies.data.resizing import SQUARES
from strategies.data.value_range import FULL_RANGE, RANGES
from strategies.display.progress import note
from strategies.errors import RunError, UserError, few, in_a_sentence
from strategies.features.background import BackgroundJob
from strategies.features.cache import default_cache, make_key
from strategies.features.conversion import convert_model
from strategies.features.engines import OpenVino, choose_engine
from strategies.features.extractor import NETWORK_VERSION
from strategies.features.forward import Engine, forward
from strategies.files import load_json, open_regular, read_json
from strategies.networks.backbones import BACKBONES
from strategies.networks.backend import start_keras, usual_settings
from strategies.training.model import with_features
from strategies.training.novelty import FEWEST_IMAGES, Novelty, load_novelty
from strategies.training.run_files import CLASS_NAMES, HISTORY, MEASURES, METRICS, MODEL, NOVELTY, PLAN, UNFINISHED

if TYPE_CHECKING:
    import keras

_MOST = {"image_size": 8192, "seed": 2**63}  # a larger image would not fit into memory


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder, as `TrainingResult.save` writes it.

    Attributes:
        path: The folder.
        class_names: Names of the classes, in the order of the model's outputs.
        image_size: Side of the model's square input in pixels.
        image_bits: How many bits the values of 16-bit images have.
        resize: How images become squares; see `strategies.data.resizing`.
        channels: Numbers of the bands of images that the model takes; see `strategies.data.channels`.
        mixing: How they are seen as red, green and blue; likewise.
        seed: Seed of the plan.
        convertible: Whether OpenVINO may compute the model: its network is not one of the user's own.
    """

    path: Path
    class_names: tuple[str, ...]
    image_size: int
    seed: int
    image_bits: int = FULL_RANGE
    resize: str = SQUEEZE
    channels: tuple[int, ...] = ()
    mixing: Mixing = ()
    convertible: bool = False

    @property
    def num_channels(self) -> int:
        """Number of channels of the model's input: 3 for RGB."""
        return num_channels(self.channels)

    @cached_property
    def engine(self) -> Engine:
        """The fastest function that computes the probabilities of images: `engine(images, description=...)`.

        With OpenVINO, the model is converted once, in a background process, and kept in the cache. This process then
        imports neither Keras nor its backend.

        Raises:
            RunError: As `model`.
        """
        return self._engine(())

    @cached_property
    def engine_with_features(self) -> Engine:
        """Like `engine`, but also computes the features that `novelty` measures: one more array for each of its layers.

        Raises:
            RunError: As `model` and `novelty`.
        """
        return self._engine(self.novelty.layers)

    def _engine(self, layers: Sequence[str]) -> Engine:
        converted = self._converted(layers) if self.convertible and choose_engine() == "openvino" else None
        return partial(forward, with_features(self.model, layers)) if converted is None else OpenVino(*converted)

    def _converted(self, layers: Sequence[str]) -> list[np.ndarray] | None:
        """Returns the arguments of `OpenVino`, or `None` if nothing is cached or the model cannot be converted."""
        cache = default_cache()
        if not cache.max_bytes:
            return None
        shape = [self.image_size, len(self.class_names)]  # of which `model` makes sure
        versions = {"network_version": NETWORK_VERSION, "converted_by": version("openvino")}
        try:
            key = make_key(model=self.digest, shape=shape, layers=list(layers), **versions)
            arrays, new = BackgroundJob(key=key, cache=cache, make=partial(_convert, self.path, layers)).arrays()
        except (OSError, RuntimeError):  # Keras computes, or says what is wrong with the model
            return None
        if new:
            note(f"Converted the model of {self.path} for OpenVINO and kept it in the cache ({cache.folder})")
        return arrays

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model file."""
        return file_digest(self.path / MODEL)

    @cached_property
    def novelty(self) -> Novelty:
        """What says whether an image is probably none of the classes.

        Raises:
            RunError: If the run has none, or if its file is damaged or belongs to another model.
        """
        path = self.path / NOVELTY
        if not path.is_file():
            raise RunError(
                f"Expected {NOVELTY}, which says from where on an image is none of the classes. Received: "
                f"{str(self.path)!r} without it: the run is of an earlier release, or has too few images. Train again, "
                f"on at least {FEWEST_IMAGES} training images, and with validation images."
            )
        try:
            return load_novelty(path, model=self.digest)
        except Exception as error:  # a damaged archive raises errors of a dozen types
            raise RunError(
                f"Expected {NOVELTY} as a run writes it, for the {MODEL} next to it. Received: {str(path)!r} "
                f"({in_a_sentence(error)[:200]}). Restore the files of the run, or train again."
            ) from error

    @cached_property
    def model(self) -> keras.Model:
        """The trained model, which takes pixels 0-255 and returns probabilities. It is loaded on first use.

        Raises:
            RunError: If Keras cannot load the model, or if it does not fit the plan of the run.
        """
        start_keras()
        from strategies.networks.backend import keras

        path = self.path / MODEL
        try:
            model: keras.Model = keras.models.load_model(path, compile=False)
        except Exception as error:  # a broken file, an unknown layer, or code that Keras refuses to run
            raise RunError(
                f"Expected a model that Keras {keras.__version__} can load. Received: {str(path)!r} "
                f"({in_a_sentence(error)[:300]}). Train again, or register your own layers with Keras."
            ) from error
        shapes = (model.input_shape[1:], model.output_shape[1:])
        if shapes != ((self.image_size, self.image_size, self.num_channels), (len(self.class_names),)):
            raise RunError(
                f"Expected a model for {len(self.class_names)} classes at {self.image_size} px, according to {PLAN} in "
                f"the same folder. Received: {str(path)!r}, which maps {shapes[0]} to {shapes[1]}. Keep the files of a "
                f"run together."
            )
        return model


@usual_settings()
def _convert(path: Path, layers: Sequence[str]) -> list[np.ndarray]:
    return convert_model(with_features(read_run(path).model, layers))


def read_run(folder: str | Path | RunFolder) -> RunFolder:
    """Reads a run folder that `advisor train --out` or `strategies.train(..., run=...)` has written.

    The model is loaded only when it is used. If the plan names a backbone of your own, you do not have to add that
    backbone again.

    Args:
        folder: The run folder. A `RunFolder` is returned unchanged, so that its model is loaded only once.

    Raises:
        RunError: If it is not a run folder.

    Example:
        >>> from strategies.runs.run_folder import read_run
        >>> read_run("photos/")
        Traceback (most recent call last):
        ...
        strategies.errors.RunError: Expected a run folder, as 'advisor train --out' writes it. Received: 'photos/', ...
    """
    if isinstance(folder, RunFolder):
        return folder
    path = Path(folder)
    missing = [name for name in (MODEL, PLAN, CLASS_NAMES) if not (path / name).is_file()]
    if missing:
        what = f"without {few(missing)}" if path.is_dir() else "which is not a folder"
        todo = f"Continue the run in it with --resume, since it has {UNFINISHED}"
        raise RunError(
            f"Expected a run folder, as 'advisor train --out' writes it. Received: {str(folder)!r}, {what}. "
            f"{todo if (path / UNFINISHED).is_file() else 'Name such a folder'}."
        )
    plan = load_json(path / PLAN, error=RunError)
    names = tuple(read_json(path / CLASS_NAMES, "class_names", package="strategies", error=RunError)["class_names"])
    wrong = [name for name, most in _MOST.items() if not (isinstance(plan, dict) and _is_whole(plan.get(name), most))]
    if not wrong:  # earlier releases did not write these
        known = {"image_bits": (RANGES, FULL_RANGE), "resize": ([*SQUARES], SQUEEZE)}
        wrong = [name for name, (values, default) in known.items() if plan.get(name, default) not in values]
    if not wrong:
        try:
            channels = check_channels(plan.get("channels", ()))
            mixing = tuple(tuple(map(float, row)) for row in plan.get("mixing", ()))
        except (UserError, TypeError, ValueError):
            wrong = ["channels or mixing"]
    if wrong:
        raise RunError(
            f"Expected {few(wrong)} in a plan as a run writes it. Received: {str(path / PLAN)!r}, where it is "
            f"missing or wrong. Restore the file."
        )
    if plan.get("class_names") != list(names):
        raise RunError(
            f"Expected the same classes in {PLAN} and {CLASS_NAMES}. Received: others than {few(names)} in "
            f"{str(path / PLAN)!r}. Keep the files of a run together."
        )
    row = BACKBONES.get(plan.get("backbone"))
    return RunFolder(
        path=path,
        class_names=names,
        image_size=plan["image_size"],
        seed=plan["seed"],
        image_bits=int(plan.get("image_bits", FULL_RANGE)),
        resize=plan.get("resize", SQUEEZE),
        channels=channels,
        mixing=mixing,
        convertible=row is not None and not row.is_own,
    )


def _is_whole(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def read_metrics(folder: Path, class_names: Sequence[str]) -> Any:
    """Returns the content of the `metrics.json` of a run folder, checked against its schema and the classes of the run.

    Raises:
        RunError: If the file does not follow its schema, contradicts itself or is for other classes.
    """
    path = folder / METRICS
    metrics = read_json(path, "metrics", package="strategies", error=RunError)
    test, names = metrics["test"], set(class_names)
    counts = [row["num_images"] for row in test["per_class"].values()]
    rows = {
        "per_class": list(test["per_class"]) == list(class_names),
        "majority_class": metrics["baseline"]["majority_class"] in names,
        "confusion": [len(row) for row in test["confusion"]] == [len(names)] * len(names)
        and np.array(test["confusion"]).sum(axis=1).tolist() == counts,
        "num_images": sum(counts) == test["num_images"],
        "mistakes": {mistake[part] for mistake in test["mistakes"] for part in ("true", "predicted")} <= names,
    }
    wrong = [name for name, fits in rows.items() if not fits]
    if wrong:
        raise RunError(
            f"Expected the metrics of a run with the classes {few(class_names)}. Received: {str(path)!r}, where "
            f"{few(wrong)} does not fit them. Restore the file."
        )
    return metrics


def read_history(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of the `history.csv` of a run folder as text, checked.

    Raises:
        RunError: If the file cannot be read, lacks a column, or has a value that is no number.
    """
    path = folder / HISTORY
    try:
        with open_regular(path) as file:
            reader = csv.DictReader(io.StringIO(file.read().decode("utf-8"), newline=""), strict=True)
            rows = list(reader)
        if missing := {*_HISTORY, *MEASURES} - set(reader.fieldnames or ()):
            raise ValueError(f"no column {few(sorted(missing))}")
        wrong = [number for number, row in enumerate(rows, start=1) if not _is_evaluation(row)]
        if wrong or not rows:
            raise ValueError(f"a wrong value in row {wrong[0]}" if wrong else "no row")
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"Expected the training history. Received: {str(path)!r} ({in_a_sentence(error)}). Restore the file."
        ) from error
    return rows


_HISTORY = ("phase", "step", "seconds")


def _is_evaluation(row: Mapping[str | None, str | None]) -> bool:
    """Returns whether a row of the history is complete; its numbers have the range that training gives them."""
    if None in row or None in row.values():
        return False
    cells = {name: text or "" for name, text in row.items()}
    if not (re.fullmatch("[0-9]{1,15}", cells["step"]) and cells["seconds"]):
        return False
    try:
        numbers = {name: float(cells[name] or 0) for name in (*MEASURES, "seconds")}
    except ValueError:
        return False
    shares = [numbers[name] for name in MEASURES if name.endswith("accuracy")]
    return all(number >= 0 for number in numbers.values()) and max(shares) <= 1 and math.isfinite(numbers["seconds"])
