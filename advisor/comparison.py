"""Trains all four recipes on the user's own images and compares them with the advice."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.outcomes import Outcome, Outcomes
from advisor.recommendation import Recommendation, plan_for, recommend
from advisor.report.files import save_comparison
from advisor.report.html import comparison_fragment
from advisor.report.text import summarize_comparison
from advisor.results import KEY, VARIANT, append_rows, check_results, is_known, make_fingerprint, make_row, metrics_of
from strategies.display.progress import note
from strategies.errors import UserError
from strategies.plans.plan import Plan
from strategies.plans.planning import with_budget
from strategies.recipes import RECIPES

if TYPE_CHECKING:
    from strategies.training.timing import PlanCost

SHARES = [percent / 100 for percent in range(100, 0, -1)]  # of the steps; whole percents keep names of variants exact
MARGIN = 0.9  # share of the minutes that is planned for, because timings vary


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(Outcomes):
    """The results of all four recipes on the same split, with the advice. Print it, or save it as a page.

    Attributes:
        advice: The recommendation, which was made before any training.
        outcomes: One result for each recipe, in the order of `RECIPES`.
    """

    advice: Recommendation

    def __repr__(self) -> str:
        return f"Comparison(advised={self.advised.recipe!r}, best={self.best!r}, regret={self.regret:.3f})"

    def __str__(self) -> str:
        return summarize_comparison(self)

    def _repr_html_(self) -> str:
        return comparison_fragment(self)

    def save_html(self, path: str | Path, *, command: str | None = None) -> Path:
        """Writes the comparison and the advice into a new HTML file; returns its path.

        Args:
            path: A new file.
            command: The command that was typed, to be shown in the report; default: none.

        Raises:
            OutputError: If the file exists already or cannot be created.
        """
        return save_comparison(self, self.advice.dataset, path, command=command)


def compare_recipes(
    source: Any,
    *,
    seed: int = 0,
    cache: bool = True,
    minutes: float | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Comparison:
    """Trains all four recipes on your images and tells what following the advice costs or gains.

    Use it to check the advice. All recipes get the same split, input size and seed. Only the file `out` is written.

    Args:
        source: As in `recommend`.
        seed: Seed of all random choices.
        cache: Whether the features that the advice needs are cached on disk. The trainings do not use the cache, so
            that their times can be compared.
        minutes: Time for all four trainings. A few steps of each recipe are timed first; that takes extra time. Then
            all plans are shortened to the same share of their steps. Default: no limit, all steps.
        out: CSV file to which one row per recipe is appended as soon as it is trained, in the format of the study. A
            shortened recipe is named as a variant: `retrain_all:budget0.25`. If an interrupted comparison is started
            again, rows that the file has already are not appended again.
        **options: Other arguments of `recommend`: `backbone`, `weights`, `image_size`, `max_unreadable`, `group_by`,
            and the columns of a table.

    Returns:
        A `Comparison`; print it.

    Raises:
        DatasetError: If the images or labels cannot be used.
        OutputError: If `out` is another kind of file, or already holds results of this run.
        UserError: If `minutes` is too short for 1% of the steps.

    Example:
        >>> import advisor
        >>> comparison = advisor.compare_recipes("photos/", minutes=10)  # doctest: +SKIP
        >>> comparison.best, round(comparison.regret, 3)  # doctest: +SKIP
        ('retrain_all', 0.008)
    """
    if minutes is not None and not minutes > 0:
        raise UserError(f"Expected minutes above 0. Received: minutes={minutes!r}. Give more, or leave it out.")
    results = None if out is None else Path(out)
    if results is not None:
        check_results(results)
    advice = recommend(source, seed=seed, every_image=True, cache=cache, **options)
    plan, data, curve = advice.plan, advice.dataset, advice.depth_curve
    score = advice.similarity.score
    plans = [
        plan if name == plan.recipe else plan_for(name, plan.network, data, curve, similarity=score, seed=seed)
        for name in RECIPES
    ]
    share = 1.0 if minutes is None else _fit(plans, advice, minutes)
    keys = [_key(advice, candidate, share) for candidate in plans]
    if results is not None:
        check_results(results, keys)
    num_images = sum(part != "test" for part in data.split or ())
    fingerprint = make_fingerprint(advice.profile, advice.similarity, curve)
    outcomes = []
    for key, candidate in zip(keys, plans, strict=True):
        outcome = _carry_out(candidate, share, advice)
        outcomes.append(outcome)
        if results is not None:  # at once, so that an interruption loses one training at most
            row = make_row(key, outcome.metrics, num_images=num_images, fingerprint=fingerprint)
            append_rows(results, [] if is_known(results, key) else [row])
    return Comparison(advice=advice, outcomes=tuple(outcomes))


def fit_budget(costs: Sequence[PlanCost], minutes: float) -> float:
    """Returns the largest share of the steps, in whole percents, with which all plans fit into a number of minutes.

    Args:
        costs: Cost of each plan.
        minutes: Time for all plans together. A tenth of it is kept in reserve, because timings vary.

    Raises:
        UserError: If 1% of the steps does not fit. The message says how many minutes are needed.
    """
    for share in SHARES:
        if sum(cost.seconds(share) for cost in costs) <= MARGIN * 60 * minutes:
            return share
    needed = math.ceil(10 * sum(cost.seconds(SHARES[-1]) for cost in costs) / MARGIN / 60) / 10
    raise UserError(
        f"Expected enough minutes for at least 1% of the steps of each recipe. Received: minutes={minutes:g}, where "
        f"about {needed:g} are needed. Give more minutes, or choose a smaller image size or backbone."
    )


def _fit(plans: Sequence[Plan], advice: Recommendation, minutes: float) -> float:
    from strategies.training.timing import measure_cost

    costs = []
    for plan in plans:
        note(f"Timing a few steps of {plan.recipe}")
        costs.append(measure_cost(plan, advice.dataset))
    share = fit_budget(costs, minutes)
    expected = sum(cost.seconds(share) for cost in costs) / 60
    note(f"Training with {share:.0%} of the steps, which should take {expected:.1f} minutes")
    return share


def _carry_out(plan: Plan, share: float, advice: Recommendation) -> Outcome:
    from strategies.training.trainer import train

    share = _share_of(plan, share)
    note(f"Training {plan.recipe}" + ("" if share == 1 else f", {share:.0%} of its steps"))
    data, short = advice.dataset, with_budget(plan, share)
    result = train(short, data, cache=False, baseline=False)
    truth = data.labels[np.array(data.split) == "test"]
    return Outcome(
        recipe=plan.recipe,
        plan=short,
        share=share,
        metrics=metrics_of(result),
        test=result.test,
        correct=result.predicted == truth,
    )


def _share_of(plan: Plan, share: float) -> float:
    """Returns the share of its steps that a plan is given: 1 where there are no steps to shorten."""
    return share if any(phase.solver != "logistic" for phase in plan.phases) else 1.0


def _key(advice: Recommendation, plan: Plan, share: float) -> tuple[Any, ...]:
    """Returns the key of a row of the results file. A shortened recipe gets a name of its own."""
    share = _share_of(plan, share)
    values = {
        "dataset": os.path.basename(os.path.abspath(advice.dataset.source)),
        "size": sum(part != "test" for part in advice.dataset.split or ()),
        "seed": plan.seed,
        "backbone": plan.backbone,
        "image_size": plan.image_size,
        "recipe": plan.recipe if share == 1 else f"{plan.recipe}{VARIANT}budget{share:g}",
    }
    return tuple(values[name] for name in KEY)
