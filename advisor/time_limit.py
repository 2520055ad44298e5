"""A number of minutes, and the plans and shares of their steps that fit into what is left of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from strategies.data.dataset import SPLITS, ImageDataset
from strategies.display.progress import note
from strategies.errors import UserError
from strategies.features.cache import FeatureCache
from strategies.networks.backend import start_keras
from strategies.plans.cost import PlanCost, estimate_parts
from strategies.plans.plan import Plan
from strategies.plans.planning import SHARES

MARGIN = 0.75  # share of the time left that is planned for: what a few timed steps tell is up to 40% too little
AMPLE = 3.0  # an estimate is not checked by a timed run if the time left is this many times as long
# With less than this share of its steps, a recipe may be worse than a new head alone: by up to 18.5 points in what
# benchmarks/steps.py found. With a quarter it was at most 1.6 points worse, where all of its steps did not help either.
LEAST_SHARE = 0.25


@dataclass(frozen=True)
class TimeLimit:
    """A number of minutes that begins when it is made.

    Attributes:
        minutes: Number of minutes, above 0.
        clock: Returns the time in seconds.
        started: When the minutes began.

    Raises:
        UserError: If the number of minutes is not finite and above 0.

    Example:
        >>> from advisor.time_limit import TimeLimit
        >>> limit = TimeLimit(5, clock=iter([100.0, 160.0]).__next__)
        >>> limit.seconds_left
        240.0
    """

    minutes: float
    clock: Callable[[], float] = time.perf_counter
    started: float = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.minutes < math.inf:
            raise UserError(
                f"Expected a finite number of minutes above 0. Received: minutes={self.minutes!r}. Give more, or leave "
                f"it out."
            )
        object.__setattr__(self, "started", self.clock())

    def __str__(self) -> str:
        return f"{self.minutes:g} minute{'s' * (self.minutes != 1)}"

    @property
    def seconds_left(self) -> float:
        """Seconds until the minutes are over; negative afterwards."""
        return 60 * self.minutes - (self.clock() - self.started)


def begin(minutes: float | TimeLimit) -> TimeLimit:
    """Returns a limit that begins now, or one that has begun already, as it is."""
    return minutes if isinstance(minutes, TimeLimit) else TimeLimit(minutes)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The plans that fit into a time limit.

    Attributes:
        costs: What each plan is expected to cost with all of its steps, in the order of the choice that fits.
        share: Share of its steps that each plan is given.
        left_out: Names of the recipes of the first choice that do not fit.
    """

    costs: tuple[PlanCost, ...]
    share: float
    left_out: tuple[str, ...]

    def sentence(self, limit: TimeLimit) -> str:
        """Returns what was decided in one sentence."""
        trained = [cost.plan.recipe for cost in self.costs if cost.plan.trained_by_steps]
        part = "all" if self.share == 1 else f"{self.share:.0%}"
        gets = f"{trained[0] if len(trained) == 1 else 'each recipe'} gets {part} of its steps"
        if self.share < LEAST_SHARE:
            gets += ", too few to judge it by"
        if not trained:
            gets = f"{self.costs[0].plan.recipe} is trained"
        if self.left_out:
            names = " and ".join(self.left_out)
            gets = f"there is no time for {LEAST_SHARE:.0%} of the steps of {names}: {gets}"
        return f"With {limit}, {gets}."


def fit(
    choices: Sequence[Sequence[Plan]], dataset: ImageDataset, limit: TimeLimit, *, cache: FeatureCache | None = None
) -> Fit:
    """Returns the first choice of which a quarter of the steps fits into the time left, with all steps that fit.

    The costs are estimated. Unless the estimate leaves ample time, a few steps of the longest plan of the first choice
    are timed, and all estimates are corrected by what that gives.

    Args:
        choices: Choices in the order of preference. Each consists of plans of different recipes that are carried out
            one after the other. The last choice is taken if no other one fits, even if the time is over.
        dataset: The images of the plans, with their split.
        limit: The time, part of which may be over.
        cache: Where the sizes of the stages are stored, as in `estimate_cost`.
    """
    start_keras()  # which takes some of the time
    split = np.array(dataset.split)
    images = {name: int((split == name).sum()) for name in SPLITS}
    plans = {plan.recipe: plan for choice in choices for plan in choice}
    costs = {recipe: estimate_parts(plan, images, cache) for recipe, plan in plans.items()}
    first = [costs[plan.recipe] for plan in choices[0]]
    if AMPLE * sum(cost.seconds() for cost in first) > limit.seconds_left:
        costs = _corrected(costs, max(first, key=PlanCost.seconds), dataset, limit)
    seconds = MARGIN * limit.seconds_left
    for choice in choices:
        chosen = tuple(costs[plan.recipe] for plan in choice)
        share = _largest_share(chosen, seconds)
        if share >= LEAST_SHARE:
            break
    kept = {cost.plan.recipe for cost in chosen}
    left_out = tuple(plan.recipe for plan in choices[0] if plan.recipe not in kept)
    return Fit(costs=chosen, share=max(share, SHARES[-1]), left_out=left_out)


def _corrected(
    costs: Mapping[str, PlanCost], longest: PlanCost, dataset: ImageDataset, limit: TimeLimit
) -> dict[str, PlanCost]:
    """Returns estimated costs, corrected by those of a plan that is run briefly.

    The run takes as long as the start of a training. If that leaves nothing for the training, nothing is run.
    """
    from strategies.training.timing import measure_cost

    if 2 * longest.start > limit.seconds_left:
        return dict(costs)
    note(f"Timing a few steps of {longest.plan.recipe}")
    measured = measure_cost(longest.plan, dataset)
    start = measured.start / longest.start
    step = float(np.mean(np.divide(measured.per_step, longest.per_step))) if measured.per_step else start
    return {
        recipe: replace(
            cost,
            start=start * cost.start,
            per_step=tuple(step * seconds for seconds in cost.per_step),
            per_image=measured.per_image,
            memory=measured.memory if cost is longest else cost.memory,
            measured=cost is longest,
        )
        for recipe, cost in costs.items()
    }


def _largest_share(costs: Sequence[PlanCost], seconds: float) -> float:
    """Returns the largest share of the steps, in whole percents, with which all plans fit into a time; 0 for none."""
    return next((share for share in SHARES if sum(cost.seconds(share) for cost in costs) <= seconds), 0.0)
