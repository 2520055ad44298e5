"""The study: every recipe on every dataset, at several sizes and seeds, one row per finished run."""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor._version import __version__
from advisor.profiling import profile_dataset
from advisor.similarity import measure_similarity
from strategies.errors import DatasetError, UserError
from strategies.images import ImageDataset, load_dataset
from strategies.plan import make_plan
from strategies.recipes import RECIPES
from strategies.splits import split_dataset

TEST_SHARE, MOST_TEST_IMAGES = 0.4, 1_000
BASELINES = ("keras_guide", "logistic_regression")
METHODS = (*RECIPES, *BASELINES)
KEY = ("dataset", "size", "seed", "backbone", "image_size", "recipe")
COLUMNS = (
    *KEY,
    "num_images",
    "accuracy",
    "balanced_accuracy",
    "val_accuracy",
    "num_test",
    "seconds",
    "trainer_version",
    "device",
    "fingerprint",
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all cells of one study share."""

    backbone: str
    image_size: int
    weights: str = "imagenet"


def read_datasets(folder: Path) -> dict[str, ImageDataset]:
    """Lists the datasets below a folder; `datasets.csv` may name, in `group_by`, what must stay in one split.

    `group_by` is a regular expression on the path relative to the dataset; files with the same match are one group.
    Folders with fewer than two classes or two images a class are no classification dataset and are named on stderr.
    """
    patterns: dict[str, str] = {}
    table = folder / "datasets.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            patterns = {row["name"]: row.get("group_by") or "" for row in csv.DictReader(file)}
    found = {}
    for path in sorted(one for one in folder.iterdir() if one.is_dir()):
        try:
            dataset = load_dataset(path)
        except DatasetError as error:
            print(f"left out: {path.name}: {error}", file=sys.stderr)
            continue
        if pattern := patterns.get(path.name):
            matches = [re.search(pattern, name) for name in dataset.names]
            group = tuple(match[0] if match else name for match, name in zip(matches, dataset.names, strict=True))
            dataset = replace(dataset, group=group)
        found[path.name] = replace(dataset, split=None)
    if not found:
        raise DatasetError(f"Expected a folder of datasets, each a class folder. Received: {str(folder)!r}. Add one.")
    return found


def draw(dataset: ImageDataset, size: int | None, seed: int) -> ImageDataset | None:
    """Returns the images of one cell with their split, or `None` where the dataset is too small for it.

    The test split is the same for every size and seed; of the others, `size` are drawn for training and validation.

    Args:
        dataset: The whole dataset.
        size: Training and validation images; `None` takes all.
        seed: Of the draw.
    """
    fraction = min(TEST_SHARE, MOST_TEST_IMAGES / len(dataset))
    whole = split_dataset(replace(dataset, split=None), seed=0, val_fraction=0, test_fraction=fraction)
    is_test = np.array(whole.split) == "test"
    pool = np.flatnonzero(~is_test)
    if size is not None:
        if size > len(pool) or size < 2 * len(dataset.class_names):
            return None
        pool = np.sort(_draw_by_class(dataset.labels[pool], size, seed, pool))
    chosen = whole.subset(np.sort([*pool, *np.flatnonzero(is_test)]))
    return split_dataset(chosen, seed=seed)


def _draw_by_class(labels: np.ndarray, size: int, seed: int, pool: np.ndarray) -> np.ndarray:
    """Draws in the classes' own proportions, at least two of each; a random order decides who is left over."""
    order = np.random.default_rng(seed).permutation(len(pool))
    rank = np.empty(len(pool))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        # The i-th of a class of m comes at place i / m: any prefix holds the classes in proportion.
        rank[members] = np.where(np.arange(len(members)) < 2, -1, (np.arange(len(members)) + 0.5) / len(members))
    return pool[order[np.argsort(rank[order], kind="stable")][:size]]


def run_method(name: str, data: ImageDataset, setting: Setting, seed: int) -> dict[str, Any]:
    """Runs one recipe or baseline on one cell and returns its metrics."""
    started = time.perf_counter()
    val_accuracy: float | None = None
    if name in BASELINES:
        from advisor.evidence import baselines

        test = getattr(baselines, name)(
            data, backbone=setting.backbone, image_size=setting.image_size, weights=setting.weights, seed=seed
        )
    else:
        from strategies.training import train

        plan = make_plan(
            name,
            setting.backbone,
            class_names=data.class_names,
            num_train=(data.split or ()).count("train"),
            image_size=setting.image_size,
            weights=setting.weights,
            seed=seed,
        )
        result = train(plan, data)
        test = result.test
        if result.history["val_accuracy"].notna().any():
            val_accuracy = float(result.history["val_accuracy"].max())
    return {
        "accuracy": test.accuracy,
        "balanced_accuracy": test.balanced_accuracy,
        "val_accuracy": val_accuracy,
        "num_test": test.num_images,
        "seconds": time.perf_counter() - started,
    }


def cells(
    datasets: Mapping[str, ImageDataset], sizes: Sequence[str], seeds: int, methods: Sequence[str]
) -> Iterator[tuple[str, str, int, str]]:
    """Yields dataset, size, seed and method; all datasets at one seed and size before the next, so slices are fair."""
    for seed in range(seeds):
        for size in sizes:
            for dataset in datasets:
                for method in methods:
                    yield dataset, size, seed, method


def run_study(
    folder: Path,
    out: Path,
    setting: Setting,
    *,
    sizes: Sequence[str] = ("100", "300", "1000", "full"),
    seeds: int = 2,
    methods: Sequence[str] = METHODS,
    budget_minutes: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Runs what is missing in `out`, appends one row per finished run, and returns how many it ran.

    It stops and continues at will: a run that is in the file is not run again.

    Args:
        folder: A folder of class folders.
        out: CSV file; made with its header where it is not there.
        setting: Backbone, input size and weights.
        sizes: Training and validation images, or `full`.
        seeds: Number of seeds, from 0 on.
        methods: Recipes and baselines.
        budget_minutes: Start no run after this time.
        clock: Seconds; for tests.
    """
    for method in methods:
        if method not in METHODS:
            raise UserError(f"Expected methods among {', '.join(METHODS)}. Received: {method!r}. Correct it.")
    datasets = read_datasets(folder)
    done = {tuple(row[name] for name in KEY) for row in read_results(out)}
    started, count = clock(), 0
    prepared: tuple[tuple[str, str, int], ImageDataset | None, str] | None = None
    for dataset, size, seed, method in cells(datasets, sizes, seeds, methods):
        if budget_minutes is not None and clock() - started > budget_minutes * 60:
            break
        key = (dataset, size, str(seed), setting.backbone, str(setting.image_size), method)
        if key in done:
            continue
        if prepared is None or prepared[0] != (dataset, size, seed):
            data = draw(datasets[dataset], None if size == "full" else int(size), seed)
            prepared = ((dataset, size, seed), data, json.dumps(_fingerprint(data, seed)) if data else "")
        if prepared[1] is None:
            continue
        print(f"{dataset}, {size} images, seed {seed}: {method}", file=sys.stderr, flush=True)
        row = dict(zip(KEY, key, strict=True)) | run_method(method, prepared[1], setting, seed)
        row |= {
            "num_images": sum(part != "test" for part in prepared[1].split or ()),
            "trainer_version": __version__,
            "device": _device(),
            "fingerprint": prepared[2],
        }
        _append(out, row)
        count += 1
    return count


def read_results(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a results file; none if it is not there."""
    if not path.is_file():
        return []
    csv.field_size_limit(2**24)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _fingerprint(data: ImageDataset, seed: int) -> dict[str, Any]:
    profile, _ = profile_dataset(data, seed=seed)
    learning = data.subset(np.flatnonzero(np.array(data.split) != "test"))
    facts = profile.to_dict()
    kept = {name: facts[name] for name in facts if name not in ("images_per_class", "class_names", "duplicates")}
    return {"profile": kept, "similarity": measure_similarity(learning, seed=seed).to_dict()}


def _append(path: Path, row: Mapping[str, Any]) -> None:
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _device() -> str:
    import platform

    import keras

    return f"{platform.machine()}, {keras.backend.backend()}"
