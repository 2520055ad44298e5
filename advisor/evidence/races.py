"""Races of all recipes on the cells of the study; a row for each finished race."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from advisor._version import __version__
from advisor.evidence.cells import StudyCell
from advisor.evidence.study import choose_datasets, measure_images, missing_runs, planned_runs
from advisor.plans import plan_for
from advisor.race import Race, run_race
from advisor.results import KEY, append_rows, known_keys, read_results
from strategies.cluster import run_all
from strategies.data.dataset import ImageDataset
from strategies.errors import DatasetError
from strategies.networks.network import PretrainedNetwork
from strategies.recipes import RECIPES

CELL = KEY[:-1]  # all but the recipe
COLUMNS = (
    *CELL,
    "winner",
    "decided",
    "accuracies",
    "difference",
    "standard_error",
    "share",
    "race_seconds",
    "trainer_version",
)
ADVISED = "retrain_all"  # takes the place of the advised recipe: the default that the study found
ORDER = (ADVISED, *(name for name in RECIPES if name != ADVISED))


def run_races(
    folder: Path,
    out: Path,
    network: PretrainedNetwork,
    *,
    rows: Iterable[Mapping[str, str]] | None = None,
    sizes: Sequence[str] = ("100", "300", "1000", "full"),
    seeds: int = 1,
    only: Sequence[str] = (),
    limit: float = 0.5,
    budget_minutes: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Runs the races that are missing in `out`, appends a row for each, and returns their number.

    It can be stopped and continued at any time: a race whose row is in the file is not run again.

    Args:
        folder: A folder of class folders.
        out: CSV file; it is created with its header if it does not exist.
        network: The pretrained network that is transferred.
        rows: Rows of the study: a cell that none of them belongs to is left out. Default: none is.
        sizes: Numbers of training and validation images, or `full`.
        seeds: Number of seeds, from 0 on.
        only: Names of datasets below the folder, in the order of the races; default: all.
        limit: As in `run_race`.
        budget_minutes: No race starts after this time; default: no limit.
        clock: Returns the time in seconds; for tests.
    """
    chosen = choose_datasets(folder, only)
    done = known_keys(read_results(out), CELL)
    studied = None if rows is None else known_keys(rows, CELL)
    cells: list[tuple[str, ...]] = []  # those that were started, in the order of their numbers

    def is_missing(key: tuple[str, ...]) -> bool:
        return key[:-1] not in done and (studied is None or key[:-1] in studied)

    def missing() -> Iterator[tuple[ImageDataset, int]]:
        planned = planned_runs(chosen, sizes, seeds, ("race",))
        for key, data in missing_runs(planned, chosen, network, is_missing, budget_minutes, clock):
            cells.append(key[:-1])
            yield data, int(key[2])

    count = 0
    for number, race in run_all(partial(_race, network, limit), missing()):
        if isinstance(race, DatasetError):  # a class with a single image
            print(f"left out: {race}", file=sys.stderr)
            continue
        append_rows(out, [_row(cells[number], race)], COLUMNS)
        count += 1
    return count


def race_worth(rows: Iterable[Mapping[str, str]], cells: Sequence[StudyCell]) -> list[dict[str, Any]]:
    """Returns what each race would have gained: how much more accurate its winner is than `retrain_all`, in points.

    Args:
        rows: Rows of a file of races.
        cells: Cells of the study. A race whose cell they do not hold is left out.

    Returns:
        For each race: `dataset`, `size`, `winner`, whether it was `decided`, `gain`, and `share_of_time`: the time of
        the race divided by the median training time of `retrain_all` with its network.
    """
    known = {(cell.dataset, cell.size, seed, cell.backbone): cell for cell in cells for seed in cell.seeds}
    # Other programs ran beside some trainings.
    usual = {network: _median_seconds(cells, network) for network in {cell.backbone for cell in cells}}
    found = []
    for row in rows:
        cell = known.get((row["dataset"], row["size"], row["seed"], row["backbone"]))
        if cell is not None:
            reached = cell.accuracy[row["seed"]]
            found.append(
                {
                    "dataset": row["dataset"],
                    "size": row["size"],
                    "winner": row["winner"],
                    "decided": row["decided"] == "True",
                    "gain": 100 * (reached[row["winner"]] - reached[ADVISED]),
                    "share_of_time": float(row["race_seconds"]) / usual[cell.backbone],
                }
            )
    return found


def _median_seconds(cells: Sequence[StudyCell], network: str) -> float:
    return median(row[ADVISED] for cell in cells if cell.backbone == network for row in cell.seconds.values())


def _race(network: PretrainedNetwork, limit: float, task: tuple[ImageDataset, int]) -> Race | DatasetError:
    data, seed = task
    try:
        measured = measure_images(data, network, seed)
        plans = [
            plan_for(name, network, data, measured.curve, similarity=measured.similarity, seed=seed) for name in ORDER
        ]
        return run_race(data, plans, limit=limit)
    except DatasetError as error:
        return error


def _row(cell: Sequence[str], race: Race) -> dict[str, Any]:
    return {
        **dict(zip(CELL, cell, strict=True)),
        "winner": race.winner,
        "decided": race.decided,
        "accuracies": json.dumps(race.accuracy),
        "difference": race.difference,
        "standard_error": race.standard_error,
        "share": race.share,
        "race_seconds": race.seconds,
        "trainer_version": __version__,
    }
