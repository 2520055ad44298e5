"""Rows of the study -> cells: what each method reached on a dataset at one size, and what was measured before."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from advisor.rules import Facts
from strategies.errors import UserError
from strategies.recipes import RECIPES


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyCell:
    """A cell of the study: one dataset at one size with one backbone.

    Attributes:
        dataset: Name of the dataset.
        size: Number of training and validation images that was asked for, or `full`.
        backbone: Name of the backbone.
        image_size: Side of its square input in pixels.
        accuracy: Seed -> method -> test accuracy, a fraction.
        seconds: Seed -> method -> seconds of training and evaluation.
        facts: Seed -> measures of the training and validation images.
        images: Number of images in each split.
        trainer_versions: Versions of this package that ran the recipes.
    """

    dataset: str
    size: str
    backbone: str
    image_size: int
    accuracy: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Facts]
    images: Mapping[str, int]
    trainer_versions: frozenset[str] = frozenset()

    @property
    def seeds(self) -> tuple[str, ...]:
        """Returns the seeds that all four recipes were run with."""
        return tuple(self.accuracy)

    @property
    def mean_accuracy(self) -> dict[str, float]:
        """Returns recipe -> test accuracy, mean over seeds."""
        return {name: fmean(row[name] for row in self.accuracy.values()) for name in RECIPES}


def read_cells(rows: Iterable[Mapping[str, str]], *, metric: str = "accuracy") -> list[StudyCell]:
    """Groups rows of the study into cells.

    A seed counts if all four recipes were run with it. Other seeds are named on stderr, since their regret is unknown.
    Of rows with the same key, the first counts.

    Args:
        rows: Rows from `read_results`, of any datasets and backbones.
        metric: `accuracy` or `balanced_accuracy`.

    Raises:
        UserError: If no cell has all four recipes.
    """
    grouped: dict[tuple[str, str, str, str], dict[str, dict[str, Mapping[str, str]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in rows:
        key = (row["backbone"], row["image_size"], row["dataset"], row["size"])
        grouped[key][row["seed"]].setdefault(row["recipe"], row)
    cells = []
    for (backbone, image_size, dataset, size), seeds in grouped.items():
        whole = {seed: methods for seed, methods in seeds.items() if set(RECIPES) <= set(methods)}
        for seed in sorted(set(seeds) - set(whole)):
            if not set(RECIPES) & set(seeds[seed]):
                continue  # only baselines were run
            missing = ", ".join(name for name in RECIPES if name not in seeds[seed])
            print(f"left out: {dataset}, {size} images, seed {seed}, {backbone}: without {missing}", file=sys.stderr)
        if not whole:
            continue
        fingerprints = {
            seed: json.loads(next(iter(methods.values()))["fingerprint"]) for seed, methods in whole.items()
        }
        cells.append(
            StudyCell(
                dataset=dataset,
                size=size,
                backbone=backbone,
                image_size=int(image_size),
                accuracy=_values(whole, metric),
                seconds=_values(whole, "seconds"),
                facts={seed: Facts.from_fingerprint(found) for seed, found in fingerprints.items()},
                images=next(iter(fingerprints.values()))["profile"]["images_per_split"],
                trainer_versions=frozenset(
                    row["trainer_version"] for methods in whole.values() for row in methods.values()
                ),
            )
        )
    if not cells:
        raise UserError(f"Expected rows of all of {', '.join(RECIPES)}. Received: no such cell. Continue the study.")
    return cells


def _values(seeds: Mapping[str, Mapping[str, Mapping[str, str]]], column: str) -> dict[str, dict[str, float]]:
    return {seed: {name: float(row[column]) for name, row in methods.items()} for seed, methods in seeds.items()}


def by_size(size: str) -> tuple[bool, str]:
    """Returns the key that sorts the sizes of cells: numbers first, the smallest at the top, then `full`.

    Example:
        >>> from advisor.evidence.cells import by_size
        >>> sorted(["full", "1000", "300"], key=by_size)
        ['300', '1000', 'full']
    """
    return not size.isdigit(), size.zfill(9)
