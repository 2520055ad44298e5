"""Evaluates a saved run on other images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dataset import ImageDataset, check_unreadable
from strategies.data.decoding import decode_image
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset
from strategies.data.pixels import PixelCache, Pixels
from strategies.data.resizing import as_planned
from strategies.display.progress import track
from strategies.errors import DatasetError, few
from strategies.features.forward import forward
from strategies.processes import num_cores
from strategies.runs.run_folder import RunFolder, read_metrics, read_run
from strategies.training.metrics import Evaluation, evaluate_predictions
from strategies.training.run_files import METRICS

EVALUATION_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunEvaluation:
    """The metrics of a saved run on labeled images.

    Attributes:
        source: Where the images come from, in a few words.
        images: `"test"` if the data has a test split (only that split is evaluated), else `"all"`.
        evaluation: The metrics. The temperature was fitted on the validation images of the run, and the majority class
            is that of its training images.
        unreadable: `path` and `reason` of every file that was left out.
    """

    source: str
    images: str
    evaluation: Evaluation
    unreadable: tuple[dict[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `evaluation.json`."""
        found = self.evaluation.to_dict()
        return {
            "version": EVALUATION_VERSION,
            "source": self.source,
            "images": self.images,
            "baseline": {key: found.pop(key) for key in ("majority_class", "majority_accuracy")},
            "evaluation": found,
            "unreadable": list(self.unreadable),
        }


def evaluate_run(
    run: str | Path | RunFolder, data: Any, *, max_unreadable: float = 0.05, **columns: Any
) -> RunEvaluation:
    """Evaluates a saved run on labeled images, which are decoded and resized as in training.

    Args:
        run: The run folder, or a `RunFolder`. The temperature and the majority class are read from its `metrics.json`,
            if there is one.
        data: Anything that `strategies.load_dataset` takes, with one or more images of all or some of the run's
            classes. If it has a test split, only that split is evaluated.
        max_unreadable: Largest allowed share of unreadable files, as a fraction. Unreadable files are left out.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`, `encoding`.

    Raises:
        RunError: If a file of the run is missing or cannot be read.
        DatasetError: If the data has classes that the run does not have, no labeled image, or too many unreadable
            files.

    Example:
        >>> import strategies
        >>> found = strategies.evaluate_run("run/", "new_photos/")  # doctest: +SKIP
        >>> found.evaluation.accuracy  # doctest: +SKIP
        0.93
    """
    folder = read_run(run)
    names = folder.class_names
    metrics = read_metrics(folder.path, names) if (folder.path / METRICS).is_file() else None
    dataset = load_dataset(data, channels=folder.channels, for_training=False, **columns)
    items = as_planned(dataset.items, folder.image_bits, folder.resize, folder.channels)
    dataset = replace(dataset, items=items)
    tested = dataset.split is not None and "test" in dataset.split
    if tested:
        dataset = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    labels = _labels_of_run(dataset, names)
    model = folder.model  # a model that cannot be loaded is refused before any image is decoded
    pixel_cache = PixelCache([folder.image_size], len(dataset))
    dataset, labels, unreadable = _without_unreadable(dataset, labels, max_unreadable, folder, pixel_cache)
    pixels = Pixels(dataset.items, folder.image_size, pixel_cache, folder.num_channels)
    (probabilities,) = forward(model, pixels, description="Evaluating")
    majority = None if metrics is None else names.index(metrics["baseline"]["majority_class"])
    return RunEvaluation(
        source=dataset.source,
        images="test" if tested else "all",
        evaluation=evaluate_predictions(
            probabilities,
            labels,
            labels if majority is None else np.array([majority]),
            names,
            temperature=None if metrics is None else metrics["test"]["reliability"]["temperature"],
            names=dataset.names,
        ),
        unreadable=unreadable,
    )


def _labels_of_run(dataset: ImageDataset, class_names: tuple[str, ...]) -> np.ndarray:
    """Returns the class index of each image in the order of the run's classes."""
    unknown = [name for name in dataset.class_names if name not in class_names]
    if unknown:
        raise DatasetError(
            f"Expected images of the run's classes, {few(class_names)}. Received: {dataset.source!r} with "
            f"{few(unknown)}. Rename these classes or remove them."
        )
    index_of = np.array([class_names.index(name) for name in dataset.class_names], dtype="int64")
    if not len(dataset) or (dataset.labels < 0).any():
        raise DatasetError(
            f"Expected labeled images. Received: {dataset.source!r} without any. Put the images of each class into a "
            f"folder of its own."
        )
    return index_of[dataset.labels]


def _without_unreadable(
    dataset: ImageDataset, labels: np.ndarray, max_unreadable: float, run: RunFolder, pixel_cache: PixelCache
) -> tuple[ImageDataset, np.ndarray, tuple[dict[str, str], ...]]:
    with ThreadPoolExecutor(num_cores()) as pool:
        found = pool.map(lambda item: _why_unreadable(item, run, pixel_cache), dataset.items)
        reasons = list(track(found, "Reading images", total=len(dataset)))
    unreadable = tuple(
        {"path": name, "reason": reason} for name, reason in zip(dataset.names, reasons, strict=True) if reason
    )
    why = {row["path"]: row["reason"] for row in unreadable}
    check_unreadable(why, len(dataset), source=dataset.source, max_unreadable=max_unreadable)
    kept = np.flatnonzero([reason is None for reason in reasons])
    return dataset.subset(kept), labels[kept], unreadable


def _why_unreadable(item: Any, run: RunFolder, pixel_cache: PixelCache) -> str | None:
    try:
        pixels = decode_image(item, run.image_size, run.num_channels)
    except UnreadableImage as error:
        return error.reason
    if pixel_cache.sizes and not isinstance(item, np.ndarray):
        pixel_cache.put(item, run.image_size, pixels)  # the evaluation reads it next
    return None
