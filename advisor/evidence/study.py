"""The study: every recipe on every dataset, at several sizes and seeds, one row per finished run."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor._version import __version__
from advisor.probes import DepthCurve, measure_depth_curve
from advisor.profiling import DatasetProfile, profile_dataset
from advisor.recommendation import plan_for
from advisor.similarity import Similarity, measure_similarity
from strategies.errors import DatasetError, OutputError, UserError, in_a_sentence, unknown_name
from strategies.images import ImageDataset, few, load_dataset
from strategies.planning import with_batch_norm, with_rates
from strategies.recipes import RECIPES
from strategies.splits import split_dataset, with_groups

if TYPE_CHECKING:
    from strategies.training import TrainingResult

TEST_SHARE, MOST_TEST_IMAGES = 0.4, 1_000
BASELINES = ("keras_guide", "keras_guide_held", "logistic_regression")
METHODS = (*RECIPES, *BASELINES)
# `retrain_all:inference` is that recipe with this BatchNorm policy wherever pretrained stages train, and
# `retrain_all:x0.3` with three tenths of its learning rates there.
VARIANT = ":"
FACTORS = ("x0.1", "x0.3", "x3", "x10")
CHANGES = ("inference", "train", *FACTORS)
VARIANTS = tuple(f"{name}{VARIANT}{change}" for name in RECIPES if name != "head_only" for change in CHANGES)
# What the fit and the score need: the recipes, `fine_tune_all` at three times its rates, and Keras' loop.
DEFAULT_METHODS = (*RECIPES, f"fine_tune_all{VARIANT}x3", "keras_guide")
KEY = ("dataset", "size", "seed", "backbone", "image_size", "recipe")
COLUMNS = (
    *KEY,
    "num_images",
    "accuracy",
    "balanced_accuracy",
    "val_accuracy",
    "val_loss",
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
            dataset = with_groups(dataset, pattern)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """The images of one cell, split, and what was measured on those that training sees."""

    data: ImageDataset
    curve: DepthCurve | None
    fingerprint: str


def measure(data: ImageDataset, setting: Setting, seed: int) -> Cell:
    """Measures what the advice would measure on the training and validation images of one cell."""
    profile, profiled = profile_dataset(data, seed=seed)
    learning = profiled.subset(np.flatnonzero(np.array(profiled.split) != "test")).without_copies()
    similarity = measure_similarity(learning, seed=seed, cache=False)
    curve = measure_depth_curve(
        learning,
        backbone=setting.backbone,
        image_size=setting.image_size,
        weights=setting.weights,
        seed=seed,
        cache=False,
    )
    return make_cell(data, profile, similarity, curve)


def make_cell(data: ImageDataset, profile: DatasetProfile, similarity: Similarity, curve: DepthCurve | None) -> Cell:
    """Returns a cell of what was measured before; names of classes and files are left out of its fingerprint."""
    left_out = (
        "images_per_class",
        "class_names",
        "duplicates",
        "duplicates_across_classes",
        "ignored",
        "source",
        "findings",
    )
    fingerprint = {
        "profile": {name: value for name, value in profile.to_dict().items() if name not in left_out},
        "similarity": similarity.to_dict(),
        "depth_curve": None if curve is None else curve.to_dict(),
    }
    return Cell(data=data, curve=curve, fingerprint=json.dumps(fingerprint))


def run_method(name: str, cell: Cell, setting: Setting, seed: int) -> dict[str, Any]:
    """Runs one recipe or baseline on one cell and returns its metrics."""
    if name in BASELINES:
        from advisor.evidence import baselines

        started = time.perf_counter()
        test = getattr(baselines, name)(
            cell.data, backbone=setting.backbone, image_size=setting.image_size, weights=setting.weights, seed=seed
        )
        return {
            "accuracy": test.accuracy,
            "balanced_accuracy": test.balanced_accuracy,
            "val_accuracy": None,
            "val_loss": None,
            "num_test": test.num_images,
            "seconds": time.perf_counter() - started,
        }
    from strategies.training import train

    recipe, _, change = name.partition(VARIANT)
    plan = plan_for(
        recipe,
        setting.backbone,
        cell.data,
        cell.curve,
        image_size=setting.image_size,
        weights=setting.weights,
        seed=seed,
    )
    if change in FACTORS:
        plan = with_rates(plan, float(change[1:]))
    elif change:
        plan = with_batch_norm(plan, change)
    return metrics_of(train(plan, cell.data, cache=False, baseline=False))


def metrics_of(result: TrainingResult) -> dict[str, Any]:
    """Returns the columns that say what a training reached, on validation with the weights that were kept."""
    kept = result.history.query("phase == @result.best_phase and step == @result.best_step")
    judged = {
        name: float(kept[name].iloc[-1]) if kept[name].notna().any() else None for name in ("val_accuracy", "val_loss")
    }
    return {
        "accuracy": result.test.accuracy,
        "balanced_accuracy": result.test.balanced_accuracy,
        **judged,
        "num_test": result.test.num_images,
        "seconds": result.seconds,
    }


def make_row(key: Sequence[str], metrics: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Returns a row of a results file.

    Args:
        key: Values of the columns `KEY`.
        metrics: What `run_method` or `metrics_of` returned.
        cell: What it was run on.
    """
    return {
        **dict(zip(KEY, key, strict=True)),
        **metrics,
        "num_images": sum(part != "test" for part in cell.data.split or ()),
        "trainer_version": __version__,
        "device": _device(),
        "fingerprint": cell.fingerprint,
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
    methods: Sequence[str] = DEFAULT_METHODS,
    only: Sequence[str] = (),
    part: tuple[int, int] = (1, 1),
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
        methods: Recipes, as they are and as variants, and baselines.
        only: Names of datasets below the folder; default: all.
        part: `(k, n)` runs the k-th of n shares, by dataset, size and seed, so that several processes or machines
            can work at once, each with a file of its own.
        budget_minutes: Start no run after this time.
        clock: Seconds; for tests.
    """
    for method in methods:
        if method not in (*METHODS, *VARIANTS):
            known = ", ".join((*METHODS, *VARIANTS))
            raise UserError(f"Expected methods among {known}. Received: {method!r}. Correct it.")
    datasets = read_datasets(folder)
    for name in only:
        if name not in datasets:
            raise unknown_name("dataset", name, datasets)
    chosen = {name: dataset for name, dataset in datasets.items() if name in only or not only}
    done = {tuple(row[name] for name in KEY) for row in read_results(out)}
    places: dict[tuple[str, str, int], int] = {}
    started, count = clock(), 0
    cell: Cell | None = None
    place: tuple[str, str, int] | None = None
    for dataset, size, seed, method in cells(chosen, sizes, seeds, methods):
        if budget_minutes is not None and clock() - started > budget_minutes * 60:
            break
        key = (dataset, size, str(seed), setting.backbone, str(setting.image_size), method)
        mine = places.setdefault((dataset, size, seed), len(places)) % part[1] == part[0] - 1
        if key in done or not mine:
            continue
        if place != (dataset, size, seed):
            place, data = (dataset, size, seed), draw(chosen[dataset], None if size == "full" else int(size), seed)
            cell = None if data is None else measure(data, setting, seed)
        if cell is None:
            continue
        print(f"{dataset}, {size} images, seed {seed}: {method}", file=sys.stderr, flush=True)
        append_rows(out, [make_row(key, run_method(method, cell, setting, seed), cell)])
        count += 1
    return count


def read_results(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a results file; none if it is not there."""
    if not path.is_file():
        return []
    csv.field_size_limit(2**24)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_results(path: Path, keys: Iterable[Sequence[Any]] = ()) -> None:
    """Refuses a file that rows cannot be appended to; one that is not there, or empty, is as good as any.

    Args:
        path: Of a results file.
        keys: Values of the columns `KEY` of the rows that are to come.

    Raises:
        OutputError: If it is a folder, cannot be written, has other columns, or holds one of those rows already.
    """
    if path.is_dir() or not path.parent.is_dir():
        problem = "a folder" if path.is_dir() else "whose folder does not exist"
        raise OutputError(f"Expected a CSV file to append to. Received: {str(path)!r}, {problem}. Name a file.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"Expected a file that can be written. Received: {str(path)!r}. Grant access to it.")
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file))
        rows = read_results(path)
    except (OSError, ValueError, csv.Error) as error:
        raise OutputError(
            f"Expected a results file in CSV. Received: {str(path)!r} ({in_a_sentence(error)}). Name another file."
        ) from error
    if tuple(header) != COLUMNS:
        raise OutputError(
            f"Expected a results file with the columns {', '.join(COLUMNS)}. Received: {str(path)!r} with "
            f"{few(header, 20)}. Name another file."
        )
    if not path.read_bytes().endswith(b"\n"):
        raise OutputError(f"Expected a file of whole lines. Received: {str(path)!r}, cut in its last. Mend the file.")
    there = {tuple(row[name] for name in KEY) for row in rows}
    known = [key for key in (tuple(map(str, key)) for key in keys) if key in there]
    if known:
        shared = ", ".join(f"{name} {value}" for name, value in zip(KEY[:-1], known[0], strict=False))
        raise OutputError(
            f"Expected a file without the results of this run. Received: {str(path)!r}, which holds "
            f"{', '.join(key[-1] for key in known)} for {shared}. Name another file, or another seed."
        )


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows to a results file; makes it with its header where it is not there."""
    new = not path.is_file() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _device() -> str:
    import platform

    import keras

    return f"{platform.machine()}, {keras.backend.backend()}"
