"""The study: each recipe on each dataset, at several sizes and seeds; a row for each finished run."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from advisor.measure.probes import DepthCurve, measure_depth_curve
from advisor.measure.profile import profile_dataset
from advisor.measure.similarity import measure_similarity
from advisor.plans import plan_for
from advisor.results import (
    NO_REFIT,
    VARIANT,
    append_rows,
    known_keys,
    make_fingerprint,
    make_row,
    metrics_of,
    read_results,
)
from strategies.cluster import run_all
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset, with_groups
from strategies.errors import DatasetError, UserError, unknown_name
from strategies.networks.network import PretrainedNetwork
from strategies.plans.plan import Plan
from strategies.plans.planning import with_batch_norm, with_rates
from strategies.recipes import RECIPES

TEST_SHARE, MOST_TEST_IMAGES = 0.4, 1_000
BASELINES = ("keras_guide", "keras_guide_held", "logistic_regression")
METHODS = (*RECIPES, *BASELINES)
# How a variant of a recipe changes its plan, by the part of its name after the colon.
CHANGES: dict[str, Callable[[Plan], Plan]] = {
    **{mode: partial(with_batch_norm, mode=mode) for mode in ("inference", "train")},
    **{f"x{factor:g}": partial(with_rates, factor=factor) for factor in (0.1, 0.3, 3, 10)},
    "end": lambda plan: replace(plan, phases=tuple(replace(phase, blend=1.0) for phase in plan.phases)),
    NO_REFIT.removeprefix(VARIANT): lambda plan: replace(plan, refit=False),
}
VARIANTS = tuple(f"{name}{VARIANT}{change}" for name in RECIPES if name != "head_only" for change in CHANGES)
DEFAULT_METHODS = (*RECIPES, "keras_guide")  # what the score needs


def read_datasets(folder: Path) -> dict[str, ImageDataset]:
    """Lists the datasets below a folder; a file `datasets.csv` there may name groups that must stay in one split.

    Its columns are `name` and `group_by`, a regular expression on the path below the dataset; files with the same match
    are one group. Folders that are not classification datasets (fewer than two classes or two images per class) are
    named on stderr.
    """
    patterns: dict[str, str] = {}
    table = folder / "datasets.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            patterns = {row["name"]: row.get("group_by") or "" for row in csv.DictReader(file)}
    found = {}
    for path in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
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


def choose_datasets(folder: Path, only: Sequence[str] = ()) -> dict[str, ImageDataset]:
    """Lists datasets below a folder: those that are named, in this order, or all in the order of their names.

    Raises:
        UnknownNameError: If there is no such dataset. The message suggests the nearest name.
    """
    datasets = read_datasets(folder)
    for name in only:
        if name not in datasets:
            raise unknown_name("dataset", name, datasets)
    return {name: datasets[name] for name in only or datasets}


def draw(dataset: ImageDataset, size: int | None, seed: int) -> ImageDataset | None:
    """Returns the images of one cell, split, or `None` if the dataset is too small for it.

    The test split is the same for all sizes and seeds. From the other images, `size` are drawn for training and
    validation.

    Args:
        dataset: The whole dataset.
        size: Number of training and validation images; `None` takes all.
        seed: Seed of the draw.
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
    """Draws at random in the proportions of the classes, but at least two images per class."""
    order = np.random.default_rng(seed).permutation(len(pool))
    rank = np.empty(len(pool))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        # The i-th image of a class of m is ranked i / m: any prefix holds the classes in proportion.
        rank[members] = np.where(np.arange(len(members)) < 2, -1, (np.arange(len(members)) + 0.5) / len(members))
    return pool[order[np.argsort(rank[order], kind="stable")][:size]]


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredImages:
    """The images of one cell, split, and the measures of its training and validation images."""

    data: ImageDataset
    curve: DepthCurve | None
    similarity: float | None
    fingerprint: str


def measure_images(data: ImageDataset, network: PretrainedNetwork, seed: int) -> MeasuredImages:
    """Measures the training and validation images of one cell, as the advice does."""
    profile, profiled = profile_dataset(data, seed=seed)
    learning = profiled.subset(np.flatnonzero(np.array(profiled.split) != "test")).without_copies()
    similarity = measure_similarity(learning, seed=seed, cache=False)
    curve = measure_depth_curve(
        learning,
        backbone=network.backbone,
        image_size=network.image_size,
        weights=network.weights,
        seed=seed,
        cache=False,
    )
    return MeasuredImages(
        data=data,
        curve=curve,
        similarity=similarity.score,
        fingerprint=make_fingerprint(profile, similarity, curve),
    )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the study: the images that are drawn for one dataset, size and seed."""

    folder: Path
    dataset: str
    size: str
    seed: int
    network: PretrainedNetwork
    data: ImageDataset = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method on one cell, and the key of its row."""

    key: tuple[str, ...]
    cell: Cell
    method: str


def carry_out(run: Run) -> dict[str, Any]:
    """Carries out a run and returns its row. The cell is measured once for the runs that follow each other."""
    measured = _measured(run.cell)
    metrics = run_method(run.method, measured, run.cell.network, run.cell.seed)
    num_images = sum(name != "test" for name in measured.data.split or ())
    return make_row(run.key, metrics, num_images=num_images, fingerprint=measured.fingerprint)


@lru_cache(maxsize=1)
def _measured(cell: Cell) -> MeasuredImages:
    return measure_images(cell.data, cell.network, cell.seed)


def run_method(name: str, cell: MeasuredImages, network: PretrainedNetwork, seed: int) -> dict[str, Any]:
    """Runs one recipe or baseline on one cell and returns its metrics."""
    if name in BASELINES:
        from advisor.evidence import baselines

        started = time.perf_counter()
        test = getattr(baselines, name)(
            cell.data, backbone=network.backbone, image_size=network.image_size, weights=network.weights, seed=seed
        )
        return {
            "accuracy": test.accuracy,
            "balanced_accuracy": test.balanced_accuracy,
            "val_accuracy": None,
            "val_loss": None,
            "num_test": test.num_images,
            "seconds": time.perf_counter() - started,
        }
    from strategies.training.trainer import train

    recipe, _, change = name.partition(VARIANT)
    plan = plan_for(recipe, network, cell.data, cell.curve, similarity=cell.similarity, seed=seed)
    if change:
        plan = CHANGES[change](plan)
    return metrics_of(train(plan, cell.data, cache=False, baseline=False))


def planned_runs(
    datasets: Mapping[str, ImageDataset], sizes: Sequence[str], seeds: int, methods: Sequence[str]
) -> Iterator[tuple[str, str, int, str]]:
    """Yields dataset, size, seed and method of each run; all datasets at one seed and size before the next size."""
    for seed in range(seeds):
        for size in sizes:
            for dataset in datasets:
                for method in methods:
                    yield dataset, size, seed, method


def missing_runs(
    planned: Iterable[tuple[str, str, int, str]],
    chosen: Mapping[str, ImageDataset],
    network: PretrainedNetwork,
    is_missing: Callable[[tuple[str, ...]], bool],
    budget_minutes: float | None,
    clock: Callable[[], float],
) -> Iterator[tuple[tuple[str, ...], ImageDataset]]:
    """Yields the key and the drawn images of each run that is missing, and says on stderr that it starts.

    Args:
        planned: From `planned_runs`.
        chosen: The datasets, by name. Runs on more images than a dataset has are left out.
        network: The pretrained network that every run transfers.
        is_missing: Whether a run is to be started, given its key.
        budget_minutes: No run starts after this time; `None` for no limit.
        clock: Returns the time in seconds.
    """
    started = clock()
    place: tuple[str, ...] = ()
    data: ImageDataset | None = None
    for dataset, size, seed, method in planned:
        if budget_minutes is not None and clock() - started > budget_minutes * 60:
            return
        key = (dataset, size, str(seed), network.backbone, str(network.image_size), method)
        if not is_missing(key):
            continue
        if place != key[:3]:
            place, data = key[:3], draw(chosen[dataset], None if size == "full" else int(size), seed)
        if data is not None:
            print(f"{dataset}, {size} images, seed {seed}: {method}", file=sys.stderr, flush=True)
            yield key, data


def run_study(
    folder: Path,
    out: Path,
    network: PretrainedNetwork,
    *,
    sizes: Sequence[str] = ("100", "300", "1000", "full"),
    seeds: int = 2,
    methods: Sequence[str] = DEFAULT_METHODS,
    only: Sequence[str] = (),
    part: tuple[int, int] = (1, 1),
    budget_minutes: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Runs what is missing in `out`, appends a row for each finished run, and returns the number of runs.

    It can be stopped and continued at any time: a run whose row is in the file is not run again.

    Args:
        folder: A folder of class folders.
        out: CSV file; it is created with its header if it does not exist.
        network: The pretrained network that every run transfers.
        sizes: Numbers of training and validation images, or `full`.
        seeds: Number of seeds, from 0 on.
        methods: Names of recipes, variants and baselines.
        only: Names of datasets below the folder; default: all.
        part: `(k, n)` runs the k-th of n parts, divided by dataset, size and seed, so that several processes or
            machines can work at the same time, each with its own file.
        budget_minutes: No run starts after this time; default: no limit.
        clock: Returns the time in seconds; for tests.
    """
    for method in methods:
        if method not in (*METHODS, *VARIANTS):
            known = ", ".join((*METHODS, *VARIANTS))
            raise UserError(f"Expected methods among {known}. Received: {method!r}. Correct it.")
    chosen = choose_datasets(folder, sorted(only))
    done = known_keys(read_results(out))
    places: dict[tuple[str, ...], int] = {}

    def is_missing(key: tuple[str, ...]) -> bool:
        in_part = places.setdefault(key[:3], len(places)) % part[1] == part[0] - 1
        return in_part and key not in done

    def runs() -> Iterator[Run]:
        planned = planned_runs(chosen, sizes, seeds, methods)
        for key, data in missing_runs(planned, chosen, network, is_missing, budget_minutes, clock):
            dataset, size, seed, *_, method = key
            cell = Cell(folder=folder, dataset=dataset, size=size, seed=int(seed), network=network, data=data)
            yield Run(key=key, cell=cell, method=method)

    count = 0
    try:
        for _, row in run_all(carry_out, runs()):
            append_rows(out, [row])
            count += 1
    finally:
        _measured.cache_clear()
    return count
