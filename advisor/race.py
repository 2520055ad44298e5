"""A race: recipes are trained briefly on the user's own images, and after each round the worst drops out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from advisor.measure.profile import clusters
from strategies.cluster import map_images, run_all
from strategies.data.dataset import ImageDataset
from strategies.data.digests import content_digest
from strategies.data.splits import components, group_links, split_dataset
from strategies.display.progress import note
from strategies.errors import DatasetError, PlanError, UserError, few
from strategies.networks.backbones import Backbone, get_backbone, know_backbone
from strategies.plans.plan import Plan, check_class_names
from strategies.plans.planning import SHARES, with_budget
from strategies.training.metrics import paired_difference

ROUNDS = 3  # fewer where a class has fewer images or groups
FINALISTS = 2


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of a race: each candidate that is still in is trained, and predicts the images of one fold.

    Attributes:
        num_images: Number of images that were held out.
        accuracy: Accuracy of each candidate on them, a fraction, by the name of its recipe.
        dropped: The candidate that was dropped after the round; `None` if two were left.
    """

    num_images: int
    accuracy: Mapping[str, float]
    dropped: str | None = None


@dataclass(frozen=True, kw_only=True)
class Race:
    """The result of a race, a short comparison of recipes on the user's own images.

    Attributes:
        candidates: Names of the recipes. The first one, the advised one, wins unless another is better by more than one
            standard error.
        rounds: The rounds, in order. Each holds out other images.
        winner: The recipe that won.
        difference: Accuracy of the winner minus that of the other recipe in the last round, on all images.
        standard_error: Standard error of the difference, paired by image. It does not include how much the result of a
            training varies from one run to the next.
        num_images: Number of training and validation images, each held out once. Test images take no part.
        share: Share of its training steps that each plan was given.
        limit: The largest part of the training steps of the first plan that the whole race may take.
        seconds: Wall-clock time of the whole race.

    Example:
        >>> from advisor.race import Race, Round
        >>> race = Race(
        ...     candidates=("retrain_all", "fine_tune_all", "head_only"),
        ...     rounds=(
        ...         Round(num_images=50, accuracy={"retrain_all": 0.7, "fine_tune_all": 0.68, "head_only": 0.6},
        ...               dropped="head_only"),
        ...         Round(num_images=50, accuracy={"retrain_all": 0.72, "fine_tune_all": 0.7})),
        ...     winner="retrain_all", difference=0.02, standard_error=0.015, num_images=100, share=0.11, limit=0.5,
        ...     seconds=60.0)
        >>> race.decided, race.runner_up, {name: round(value, 2) for name, value in race.accuracy.items()}
        (True, 'fine_tune_all', {'retrain_all': 0.71, 'fine_tune_all': 0.69, 'head_only': 0.6})
    """

    candidates: tuple[str, ...]
    rounds: tuple[Round, ...]
    winner: str
    difference: float
    standard_error: float
    num_images: int
    share: float
    limit: float
    seconds: float

    @property
    def decided(self) -> bool:
        """Whether the winner is better than the runner-up by more than one standard error."""
        return self.difference > self.standard_error

    @property
    def runner_up(self) -> str:
        """The recipe that was in the last round beside the winner."""
        (other,) = {*self.rounds[-1].accuracy} - {self.winner, self.rounds[-1].dropped}
        return other

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy of each candidate on the images of all its rounds, a fraction: fewer images where it was dropped."""
        return {name: _mean([each for each in self.rounds if name in each.accuracy], name) for name in self.candidates}

    def __str__(self) -> str:
        reached = [f"{name} {self.accuracy[name]:.1%}" for name in (self.winner, self.runner_up)]
        dropped = [f"{each.dropped} after round {number}" for number, each in enumerate(self.rounds, 1) if each.dropped]
        if self.decided:
            end = f"so {self.winner} wins"
        elif self.winner == self.candidates[0]:
            end = f"too close to call, so {self.winner} stays the choice"
        else:
            end = f"too close to call, so the better of the two, {self.winner}, wins"
        return (
            f"A race trained {len(self.candidates)} recipes with {self.share:.0%} of their steps on "
            f"{self.num_images:,} images, each held out once: {', '.join(reached)}"
            f"{'; dropped: ' if dropped else ''}{', '.join(dropped)}. The difference is "
            f"{100 * self.difference:+.1f} ± {100 * self.standard_error:.1f} points, {end}."
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Race:
        """Reads the race of `plan.json`."""
        read = {item.name: values[item.name] for item in fields(cls)}
        rounds = tuple(Round(**each) for each in read["rounds"])
        return cls(**{**read, "candidates": tuple(read["candidates"]), "rounds": rounds})

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            **asdict(self),
            "candidates": list(self.candidates),
            "rounds": [asdict(each) for each in self.rounds],
            "accuracy": self.accuracy,
            "runner_up": self.runner_up,
            "decided": self.decided,
        }


def run_race(dataset: ImageDataset, plans: Sequence[Plan], *, limit: float = 0.5, cache: bool = True) -> Race:
    """Compares plans by cross-validation with a share of their training steps, and drops the worst after each round.

    The training and validation images are divided into three folds. In each round, every candidate that is still in is
    trained on the other folds and predicts the images of one, without their copies and the other images of their groups
    in training. Then the worst on all images so far is dropped, until two are left. The first candidate is dropped only
    if the best one is better by more than one standard error; otherwise the next worst is. Test images are not used.
    The limit is counted in training steps: building and compiling a model takes some seconds for each training beside.

    Args:
        dataset: The images with their split.
        plans: Two to four plans of different recipes for these classes. The first one wins a draw.
        limit: The largest part of the training steps of the first plan, its refit included, that all trainings of the
            race may take together; see `share_of_steps`.
        cache: Whether frozen features are cached on disk, so that candidates and rounds share them.

    Returns:
        A `Race`.

    Raises:
        DatasetError: If the dataset has no split, or a class has too few images or groups to hold any out.
        PlanError: If the plans are not of two to four different recipes, or a plan is for other classes.
        UserError: If the limit is not above 0, or too low for 1% of the steps.

    Example:
        >>> import keras, numpy as np, strategies
        >>> from advisor.race import run_race
        >>> inputs = keras.Input((32, 32, 3))
        >>> x = keras.layers.Conv2D(4, 3, strides=4, activation="relu", name="edges")(inputs)
        >>> x = keras.layers.Conv2D(8, 3, strides=4, activation="relu", name="parts")(x)
        >>> row = strategies.add_backbone("racer", keras.Model(inputs, x), stages={"early": "edges", "late": "parts"})
        >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype="uint8")
        >>> data = strategies.split_dataset(strategies.load_dataset((images, ["cat", "dog"] * 3)), seed=0)
        >>> plans = [
        ...     strategies.make_plan(recipe, "racer", class_names=data.class_names, num_train=4)
        ...     for recipe in ("head_only", "fine_tune_all")]
        >>> race = run_race(data, plans)
        >>> len(race.rounds), race.num_images
        (2, 4)
    """
    _check(dataset, plans, limit)
    started = time.perf_counter()
    learning = dataset.subset(np.flatnonzero(np.array(dataset.split) != "test"))
    copies = clusters(list(map_images(content_digest, learning.items, "Reading files")))
    units = np.array(components(len(learning), [*copies, *group_links(learning)]))
    seed, advised = plans[0].seed, plans[0].recipe
    folds = _folds(learning, units, seed)
    share = share_of_steps(plans, len(folds), limit)
    short = {plan.recipe: _shortened(plan, share) for plan in plans}
    standing, rounds, seen = list(short), list[Round](), np.zeros(0, dtype=int)
    correct = {name: np.zeros(len(learning), dtype=bool) for name in short}
    for number, held in enumerate(folds, start=1):
        split = np.full(len(learning), "train", dtype=object)
        split[held] = "test"
        # The trainer judges each phase by validation images, which it takes from those not held out.
        fold = split_dataset(replace(learning, split=tuple(split.tolist())), seed=seed, duplicates=copies)
        predict = partial(_predict, fold, get_backbone(plans[0].backbone), cache)
        racing = [short[name] for name in standing]
        for index, predicted in run_all(predict, _noted(racing, number, len(folds)), at_once=len(racing)):
            correct[standing[index]][held] = predicted == learning.labels[held]
        seen = np.concatenate([seen, held])
        accuracy = {name: float(correct[name][held].mean()) for name in standing}
        dropped = None
        if len(standing) > FINALISTS:
            dropped = _worst({name: correct[name][seen] for name in standing}, advised)
            standing.remove(dropped)
        rounds.append(Round(num_images=len(held), accuracy=accuracy, dropped=dropped))
    winner, difference, error = _decide({name: correct[name] for name in standing}, advised)
    return Race(
        candidates=tuple(short),
        rounds=tuple(rounds),
        winner=winner,
        difference=difference,
        standard_error=error,
        num_images=len(learning),
        share=share,
        limit=limit,
        seconds=time.perf_counter() - started,
    )


def share_of_steps(plans: Sequence[Plan], num_rounds: int, limit: float) -> float:
    """Returns the largest share of its steps, in whole percents, that each plan of a race can be given within a limit.

    What is counted is steps times images per step, of all phases that are trained by steps. A plan with a refit takes
    its steps twice; the short runs of a race have no refit. The cheapest candidates are taken to be dropped first, so
    whichever are dropped, the race stays within the limit.

    Args:
        plans: The plans of the race. The limit is a part of what the first one takes; where that takes no steps, of
            what the dearest one takes.
        num_rounds: Number of rounds.
        limit: The part that all runs of the race may take together.

    Raises:
        UserError: If 1% of the steps does not fit.

    Example:
        >>> import strategies
        >>> from advisor.race import share_of_steps
        >>> plans = [
        ...     strategies.make_plan(recipe, class_names=["cat", "dog"], num_train=4000)
        ...     for recipe in ("fine_tune_all", "retrain_all", "head_only")]
        >>> share_of_steps(plans, 3, 0.5), share_of_steps(plans, 3, 0.1)
        (0.08, 0.01)
    """
    allowed = limit * (_work(plans[0]) or max(map(_work, plans)))
    for share in SHARES:
        runs = sorted((_work(_shortened(plan, share)) for plan in plans), reverse=True)
        if sum(sum(runs[: max(FINALISTS, len(runs) - done)]) for done in range(num_rounds)) <= allowed:
            return share
    raise UserError(
        f"Expected a limit that is enough for 1% of the steps of each recipe. Received: limit={limit:g}. "
        f"Give a higher one, or do without a race."
    )


def _work(plan: Plan) -> int:
    """Returns the number of images in all training steps of a plan."""
    steps = sum(phase.steps for phase in plan.trained_by_steps)
    return steps * plan.batch_size * (1 + plan.refit)


def _shortened(plan: Plan, share: float) -> Plan:
    return replace(with_budget(plan, share), refit=False)


def _mean(rounds: Sequence[Round], name: str) -> float:
    return sum(each.num_images * each.accuracy[name] for each in rounds) / sum(each.num_images for each in rounds)


def _worst(correct: Mapping[str, np.ndarray], advised: str) -> str:
    """Returns the candidate to drop. Of equal ones, it is the one that was given last."""
    ranked = sorted(correct, key=lambda name: int(correct[name].sum()), reverse=True)
    if ranked[-1] != advised:
        return ranked[-1]
    difference, error = paired_difference(correct[ranked[0]], correct[advised])
    return ranked[-1] if difference > error else ranked[-2]


def _decide(correct: Mapping[str, np.ndarray], advised: str) -> tuple[str, float, float]:
    """Returns the winner of two, its accuracy minus that of the other, and the standard error of that."""
    first, second = correct
    difference, error = paired_difference(correct[first], correct[second])
    if -difference > (error if first == advised else 0):
        return second, -difference, error
    return first, difference, error


def _check(dataset: ImageDataset, plans: Sequence[Plan], limit: float) -> None:
    names = [plan.recipe for plan in plans]
    if len(set(names)) != len(names) or not 2 <= len(names) <= 4:
        raise PlanError(f"Expected plans of two to four different recipes. Received: {names}. Pass one plan of each.")
    for plan in plans:
        check_class_names(plan.class_names, dataset.class_names)
    if not 0 < limit < math.inf:
        raise UserError(f"Expected a finite limit above 0. Received: limit={limit!r}. Pass 0.5, for example.")
    if dataset.split is None or None in dataset.split:
        raise DatasetError(
            f"Expected every image to be assigned to a split. Received: {dataset.source!r} without a split. "
            f"Use strategies.split_dataset."
        )


def _noted(plans: Sequence[Plan], number: int, num_rounds: int) -> Iterator[Plan]:
    """Yields the plans of a round, and says which one is about to be trained."""
    for plan in plans:
        note(f"Race, round {number} of {num_rounds}: {plan.recipe}")
        yield plan


def _predict(fold: ImageDataset, backbone: Backbone, cache: bool, plan: Plan) -> np.ndarray:
    from strategies.training.trainer import train

    know_backbone(backbone)
    return train(plan, fold, cache=cache, baseline=False).predicted


def _folds(dataset: ImageDataset, units: np.ndarray, seed: int) -> list[np.ndarray]:
    """Returns the indices that each round holds out: as many folds as leave every class among the other images."""
    from strategies.training.head import make_folds

    labels = dataset.labels
    folds = [held for _, held in make_folds(labels, seed, units, most=ROUNDS)]
    if folds and len(np.concatenate(folds)) == len(labels):
        return folds
    counts = [len(np.unique(units[labels == label])) for label in range(len(dataset.class_names))]
    short = [name for name, count in zip(dataset.class_names, counts, strict=True) if count < 2]
    received = f"only one of {few(short)}" if short else "groups that cannot be held out without all images of a class"
    raise DatasetError(
        f"Expected at least two images, or groups of images, of every class for training and validation, so that one "
        f"can be held out. Received: {dataset.source!r} with {received}. Add images, or do without a race."
    )
