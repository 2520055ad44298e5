"""A pilot: two recipes are trained briefly on the user's own images, and the better one wins."""

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
    """The result of a pilot, a short comparison of two recipes on the user's own images.

    Attributes:
        candidates: Names of the two recipes. The first one wins unless the second one is better.
        accuracy: Accuracy of each recipe, a fraction. Every image was held out once.
        difference: Accuracy of the first recipe minus that of the second.
        standard_error: Standard error of the difference, paired by image. It does not include how much the result of
            a training varies from one run to the next.
        num_images: Number of training and validation images. Test images take no part.
        num_folds: Number of folds.
        share: Share of its training steps that each plan was given.
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
        end = f"so {self.winner} wins" if self.decided else f"too close to call, so {self.winner} stays the choice"
        return (
            f"A pilot trained both candidates with {self.share:.0%} of their steps on {self.num_images:,} images, each "
            f"held out once: {reached}. The difference is {100 * self.difference:+.1f} ± "
            f"{100 * self.standard_error:.1f} points, {end}."
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
    """Compares two plans by cross-validation with a share of their training steps.

    The training and validation images are divided into folds. Each image is predicted by models that were trained
    without it, without its copies, and without the images of its group. Test images are not used.

    Args:
        dataset: The images with their split.
        plans: Two plans of different recipes for these classes. The first one wins a draw.
        share: Share of its training steps that each plan is given; see `strategies.with_budget`.
        folds: Number of folds; fewer where a class has fewer images or groups.
        cache: Whether frozen features are cached on disk.

    Returns:
        A `Pilot`.

    Raises:
        DatasetError: If the dataset has no split, or a class has too few images or groups to hold any out.
        PlanError: If the plans are not of two different recipes, or a plan is for other classes.
        UserError: If `folds` is below 2.

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
        # The trainer judges each phase by validation images, which it takes from those not held out.
        fold = split_dataset(replace(learning, split=tuple(split.tolist())), seed=seed, duplicates=copies)
        for candidate, plan in enumerate(plans):
            note(f"Pilot, fold {number} of {len(held_out)}: {plan.recipe}")
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
        raise PlanError(f"Expected plans of two different recipes. Received: {names}. Pass one plan of each.")
    for plan in plans:
        check_class_names(plan.class_names, dataset.class_names)
    if folds < 2:
        raise UserError(f"Expected two folds or more. Received: folds={folds}. Pass a larger number.")
    if dataset.split is None or None in dataset.split:
        raise DatasetError(
            f"Expected every image to be assigned to a split. Received: {dataset.source!r} without a split. "
            f"Use strategies.split_dataset."
        )


def _predict(plan: Plan, fold: ImageDataset, cache: bool) -> np.ndarray:
    from strategies.training.trainer import train

    return train(plan, fold, cache=cache, baseline=False).predicted


def _held_out(dataset: ImageDataset, units: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """Returns the indices that each fold holds out: as many folds as leave every class among the other images."""
    labels = dataset.labels
    counts = [len(np.unique(units[labels == label])) for label in range(len(dataset.class_names))]
    for number in range(min(folds, *counts), 1, -1):
        found = list(_split(labels, units, number, seed))
        if all(len(np.unique(np.delete(labels, held))) == len(counts) for held in found):
            return found
    short = [name for name, count in zip(dataset.class_names, counts, strict=True) if count < 2]
    received = f"only one of {few(short)}" if short else "groups that cannot be held out without all images of a class"
    raise DatasetError(
        f"Expected at least two images, or groups of images, of every class for training and validation, so that one "
        f"can be held out. Received: {dataset.source!r} with {received}. Add images, or do without a pilot."
    )


def _split(labels: np.ndarray, units: np.ndarray, folds: int, seed: int) -> Iterator[np.ndarray]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = len(np.unique(units)) == len(units)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    for _, held in splitter.split(np.zeros(len(labels)), labels, None if alone else units):
        if len(held):
            yield held
