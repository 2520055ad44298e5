"""A saved run evaluated on other images."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dataset import ImageDataset, check_unreadable
from strategies.data.decoding import decode_image
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset
from strategies.data.pixels import PixelCache, Pixels
from strategies.display.progress import track
from strategies.errors import DatasetError, few
from strategies.features.forward import forward
from strategies.files import read_json
from strategies.runs.run_folder import RunFolder, read_run
from strategies.training.metrics import Evaluation, evaluate_predictions

EVALUATION_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunEvaluation:
    """What a saved run reaches on labelled images.

    Attributes:
        source: What the images come from, in a few words.
        images: `"test"` where the data has a test split, which alone was taken, else `"all"`.
        evaluation: The metrics; the temperature is the one that the run's validation images asked for, the majority
            class that of the images that it was trained on.
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
    """Evaluates a saved run on labelled images, which take the same way through the pixels as in training.

    Args:
        run: Folder that training wrote: its model, plan and classes; from `metrics.json`, where it is there, come the
            temperature and the majority class.
        data: Anything `strategies.load_dataset` takes, with all or some of the run's classes, one image or more. Where
            it has a test split, that alone is evaluated, else all of it.
        max_unreadable: Largest share of files that may be unreadable; these are left out.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`.

    Raises:
        RunError: If a file of the run is missing or cannot be read.
        DatasetError: If the data has other classes, no image, or too many unreadable ones.

    Example:
        >>> import strategies
        >>> found = strategies.evaluate_run("run/", "new_photos/")  # doctest: +SKIP
        >>> found.evaluation.accuracy  # doctest: +SKIP
        0.93
    """
    folder = read_run(run)
    names = folder.class_names
    dataset = load_dataset(data, for_training=False, **columns)
    tested = dataset.split is not None and "test" in dataset.split
    if tested:
        dataset = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    labels = _labels_of_run(dataset, names)
    pixel_cache = PixelCache([folder.image_size], len(dataset))
    dataset, labels, unreadable = _without_unreadable(dataset, labels, max_unreadable, folder.image_size, pixel_cache)
    metrics = _read_metrics(folder.path)
    (probabilities,) = forward(
        folder.model, Pixels(dataset.items, folder.image_size, pixel_cache), description="Evaluating"
    )
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
    strange = [name for name in dataset.class_names if name not in class_names]
    if strange:
        raise DatasetError(
            f"Expected images of the run's classes, {few(class_names)}. Received: {dataset.source!r} with "
            f"{few(strange)}. Rename these classes or remove them."
        )
    index_of = np.array([class_names.index(name) for name in dataset.class_names], dtype="int64")
    if not len(dataset) or (dataset.labels < 0).any():
        raise DatasetError(
            f"Expected labelled images. Received: {dataset.source!r} with none. Put each class into a folder of its "
            f"own."
        )
    return index_of[dataset.labels]


def _without_unreadable(
    dataset: ImageDataset, labels: np.ndarray, max_unreadable: float, image_size: int, pixel_cache: PixelCache
) -> tuple[ImageDataset, np.ndarray, tuple[dict[str, str], ...]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda item: _why_unreadable(item, image_size, pixel_cache), dataset.items)
        reasons = list(track(found, "Reading images", total=len(dataset)))
    unreadable = tuple(
        {"path": name, "reason": reason} for name, reason in zip(dataset.names, reasons, strict=True) if reason
    )
    why = {one["path"]: one["reason"] for one in unreadable}
    check_unreadable(why, len(dataset), source=dataset.source, max_unreadable=max_unreadable)
    kept = np.flatnonzero([reason is None for reason in reasons])
    return dataset.subset(kept), labels[kept], unreadable


def _why_unreadable(item: Any, image_size: int, pixel_cache: PixelCache) -> str | None:
    try:
        pixels = decode_image(item, image_size)
    except UnreadableImage as error:
        return error.reason
    if pixel_cache.sizes and not isinstance(item, np.ndarray):
        pixel_cache.put(item, image_size, pixels)  # it is asked for again at once
    return None


def _read_metrics(folder: Path) -> Any:
    path = folder / "metrics.json"
    return read_json(path, "metrics", package="strategies") if path.is_file() else None
