"""A short head-to-head of two recipes on the training images: which of them is better, and by how much."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from advisor.measure.profile import clusters
from strategies.data.dataset import ImageDataset
from strategies.data.digests import content_digest
from strategies.data.splits import components, group_links, split_dataset
from strategies.display.progress import note
from strategies.errors import DatasetError, PlanError, UserError, few
from strategies.plans.plan import Plan, check_class_names
from strategies.plans.planning import with_budget
from strategies.training.metrics import paired_difference


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What a short head-to-head of two recipes found.

    Attributes:
        candidates: Names of the two recipes; the first is what is done unless the second is better.
        accuracy: Of each on all images, each image held out once; fractions.
        difference: Accuracy of the first minus that of the second.
        standard_error: Of the difference, image by image; how training itself varies is not in it.
        num_images: Training and validation images; the test split has no part in it.
        num_folds: How many parts the images were held out in.
        share: Share of its steps that each plan was carried out with.
        seconds: Wall-clock time of all trainings.

    Example:
        >>> from advisor.pilot import Pilot
        >>> pilot = Pilot(
        ...     candidates=("retrain_all", "fine_tune_all"), accuracy=(0.71, 0.683), difference=0.027,
        ...     standard_error=0.019, num_images=300, num_folds=3, share=0.2, seconds=60.0)
        >>> pilot.winner, pilot.decided
        ('retrain_all', True)
    """

    candidates: tuple[str, str]
    accuracy: tuple[float, float]
    difference: float
    standard_error: float
    num_images: int
    num_folds: int
    share: float
    seconds: float

    @property
    def decided(self) -> bool:
        """Whether one candidate is better by more than one standard error."""
        return abs(self.difference) > self.standard_error

    @property
    def winner(self) -> str:
        """The candidate that is better by more than one standard error; the first if neither is."""
        return self.candidates[1] if self.decided and self.difference < 0 else self.candidates[0]

    def __str__(self) -> str:
        reached = ", ".join(f"{name} {value:.1%}" for name, value in zip(self.candidates, self.accuracy, strict=True))
        return (
            f"Pilot at {self.share:.0%} of the steps on {self.num_images:,} images, each held out once: {reached}, "
            f"difference {100 * self.difference:+.1f} ± {100 * self.standard_error:.1f} points: "
            f"{'' if self.decided else 'too close to tell, so '}{self.winner}."
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pilot:
        """Reads the pilot of `plan.json`."""
        read = {item.name: values[item.name] for item in fields(cls)}
        return cls(**{**read, "candidates": tuple(read["candidates"]), "accuracy": tuple(read["accuracy"])})

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            **asdict(self),
            "candidates": list(self.candidates),
            "accuracy": list(self.accuracy),
            "winner": self.winner,
            "decided": self.decided,
        }


def run_pilot(
    dataset: ImageDataset, plans: Sequence[Plan], *, share: float = 0.2, folds: int = 3, cache: bool = True
) -> Pilot:
    """Carries out a short version of two plans on folds of the training and validation images, and compares them.

    Every image is held out once and judged by models that were trained without it, its copies and its group. Images of
    the test split are not looked at.

    Args:
        dataset: The images with their split.
        plans: Two plans of different recipes for these classes; the first one wins a draw.
        share: Share of each plan's steps; see `strategies.with_budget`.
        folds: How many parts the images are held out in; fewer where a class has fewer images or groups.
        cache: Whether frozen features are kept on disk and read from there.

    Returns:
        A `Pilot`.

    Raises:
        DatasetError: If the dataset has no split, or a class has too few images or groups to hold one out.
        PlanError: If there are not two different recipes, or one is for other classes.

    Example:
        >>> import numpy as np
        >>> import strategies
        >>> from advisor.pilot import run_pilot
        >>> images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype="uint8")
        >>> data = strategies.split_dataset(strategies.load_dataset((images, ["cat", "dog"] * 8)), seed=0)
        >>> plans = [
        ...     strategies.make_plan(recipe, "MobileNet-0.25", class_names=data.class_names, num_train=12,
        ...         image_size=32, weights="random")
        ...     for recipe in ("head_only", "fine_tune_all")]
        >>> run_pilot(data, plans, share=0.01, folds=2, cache=False).num_images
        14
    """
    _check(dataset, plans, folds)
    started = time.perf_counter()
    learning = dataset.subset(np.flatnonzero(np.array(dataset.split) != "test"))
    copies = clusters([content_digest(item) for item in learning.items])
    units = np.array(components(len(learning), [*copies, *group_links(learning)]))
    seed = plans[0].seed
    held_out = _held_out(learning, units, folds, seed)
    correct = np.zeros((len(plans), len(learning)), dtype=bool)
    for number, held in enumerate(held_out, start=1):
        split = np.full(len(learning), "train", dtype=object)
        split[held] = "test"
        # The trainer selects weights on validation images of its own, taken from what is not held out.
        fold = split_dataset(replace(learning, split=tuple(split.tolist())), seed=seed, duplicates=copies)
        for candidate, plan in enumerate(plans):
            note(f"Pilot, part {number} of {len(held_out)}: {plan.recipe}")
            correct[candidate, held] = _predict(with_budget(plan, share), fold, cache) == learning.labels[held]
    difference, error = paired_difference(*correct)
    first, second = correct.mean(axis=1).tolist()
    return Pilot(
        candidates=(plans[0].recipe, plans[1].recipe),
        accuracy=(first, second),
        difference=difference,
        standard_error=error,
        num_images=len(learning),
        num_folds=len(held_out),
        share=share,
        seconds=time.perf_counter() - started,
    )


def _check(dataset: ImageDataset, plans: Sequence[Plan], folds: int) -> None:
    names = [plan.recipe for plan in plans]
    if len(set(names)) != 2 or len(names) != 2:
        raise PlanError(f"Expected plans of two different recipes. Received: {names}. Give two to choose from.")
    for plan in plans:
        check_class_names(plan.class_names, dataset.class_names)
    if folds < 2:
        raise UserError(f"Expected two folds or more. Received: folds={folds}. Give more: one trains, one is held out.")
    if dataset.split is None or None in dataset.split:
        raise DatasetError(
            f"Expected a split of every image. Received: {dataset.source!r} without. Use strategies.split_dataset."
        )


def _predict(plan: Plan, fold: ImageDataset, cache: bool) -> np.ndarray:
    from strategies.training.trainer import train

    return train(plan, fold, cache=cache, baseline=False).predicted


def _held_out(dataset: ImageDataset, units: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """Returns the indices that each fold holds out, with every class among the others: as many folds as that allows."""
    labels = dataset.labels
    counts = [len(np.unique(units[labels == label])) for label in range(len(dataset.class_names))]
    for number in range(min(folds, *counts), 1, -1):
        found = list(_split(labels, units, number, seed))
        if all(len(np.unique(np.delete(labels, held))) == len(counts) for held in found):
            return found
    short = [name for name, count in zip(dataset.class_names, counts, strict=True) if count < 2]
    received = f"one of {few(short)}" if short else "groups that cannot be held out without all images of a class"
    raise DatasetError(
        f"Expected two or more images, or groups, of every class for training and validation, to hold one out. "
        f"Received: {dataset.source!r} with {received}. Add images, or do without a pilot."
    )


def _split(labels: np.ndarray, units: np.ndarray, folds: int, seed: int) -> Iterator[np.ndarray]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = len(np.unique(units)) == len(units)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    for _, held in splitter.split(np.zeros(len(labels)), labels, None if alone else units):
        if len(held):
            yield held
