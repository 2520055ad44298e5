"""All four recipes on one's own images: what following the advice costs or gains."""

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
from advisor.results import KEY, VARIANT, append_rows, check_results, make_fingerprint, make_row, metrics_of
from strategies.display.progress import note
from strategies.errors import UserError
from strategies.plans.plan import Plan
from strategies.plans.planning import with_budget
from strategies.recipes import RECIPES

if TYPE_CHECKING:
    from strategies.training.timing import PlanCost

SHARES = [percent / 100 for percent in range(100, 0, -1)]  # of the steps; whole per cent, so that a name is exact
MARGIN = 0.9  # of the minutes: timings vary


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(Outcomes):
    """What all four recipes reached on the same split, beside what was advised: print it, save it as a page.

    Attributes:
        advice: The recommendation, made before anything was trained.
        outcomes: One for each recipe, in the order of `RECIPES`.
    """

    advice: Recommendation

    def __repr__(self) -> str:
        return f"Comparison(advised={self.advised.recipe!r}, best={self.best!r}, regret={self.regret:.3f})"

    def __str__(self) -> str:
        return summarize_comparison(self)

    def _repr_html_(self) -> str:
        return comparison_fragment(self)

    def save_html(self, path: str | Path, *, command: str | None = None) -> Path:
        """Writes the comparison and the advice as one page into a new file; returns its path.

        Args:
            path: A new file.
            command: The command that was typed, for the report; default: none.

        Raises:
            OutputError: If the file exists, or cannot be created.
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
    """Trains all four recipes on your images and says what following the advice would have cost or gained.

    All of them get the same split, input size and seed. Nothing is written but `out`.

    Args:
        source: As in `recommend`.
        seed: The one seed of everything random.
        cache: Whether features that the advice needs are kept on disk. Training neither keeps nor reads any here, so
            that the seconds can be compared.
        minutes: Time for all four trainings. A few steps of each are timed first, on top of it, and all plans are
            shortened by one factor in whole per cent. Default: no limit, the recipes' own steps.
        out: CSV file that one row per recipe is appended to, in the format of the study. A recipe that was shortened is
            named as a variant there: `retrain_all:budget0.25`.
        **options: Other arguments of `recommend`: `backbone`, `weights`, `image_size`, `max_unreadable`, `group_by`,
            and the columns of a table.

    Returns:
        A `Comparison`; print it.

    Raises:
        DatasetError: If the images or labels cannot be used.
        OutputError: If `out` is another kind of file, or holds such rows already.
        UserError: If not even a hundredth of the steps fits into `minutes`.

    Example:
        >>> import advisor
        >>> comparison = advisor.compare_recipes("photos/", minutes=10)  # doctest: +SKIP
        >>> comparison.best, round(comparison.regret, 3)  # doctest: +SKIP
        ('retrain_all', 0.008)
    """
    if minutes is not None and not minutes > 0:
        raise UserError(f"Expected minutes above 0. Received: minutes={minutes!r}. Give more, or none for no limit.")
    results = None if out is None else Path(out)
    if results is not None:
        check_results(results)
    advice = recommend(source, seed=seed, every_image=True, cache=cache, **options)
    plan, data, curve = advice.plan, advice.dataset, advice.depth_curve
    plans = [plan if name == plan.recipe else plan_for(name, plan.network, data, curve, seed=seed) for name in RECIPES]
    share = 1.0 if minutes is None else _fit(plans, advice, minutes)
    keys = [_key(advice, candidate, share) for candidate in plans]
    if results is not None:
        check_results(results, keys)
    outcomes = [_carry_out(candidate, share, advice) for candidate in plans]
    if results is not None:
        num_images = sum(part != "test" for part in data.split or ())
        fingerprint = make_fingerprint(advice.profile, advice.similarity, curve)
        append_rows(
            results,
            [
                make_row(key, outcome.metrics, num_images=num_images, fingerprint=fingerprint)
                for key, outcome in zip(keys, outcomes, strict=True)
            ],
        )
    return Comparison(advice=advice, outcomes=tuple(outcomes))


def fit_budget(costs: Sequence[PlanCost], minutes: float) -> float:
    """Returns the largest share of the steps, in whole per cent, with which all plans together fit into the minutes.

    Args:
        costs: Of each plan.
        minutes: For all of them; a tenth is left for timings that vary.

    Raises:
        UserError: If a hundredth does not fit; it says how many minutes are needed at least.
    """
    for share in SHARES:
        if sum(cost.seconds(share) for cost in costs) <= MARGIN * 60 * minutes:
            return share
    needed = math.ceil(10 * sum(cost.seconds(SHARES[-1]) for cost in costs) / MARGIN / 60) / 10
    raise UserError(
        f"Expected minutes enough for a hundredth of the steps of each recipe. Received: minutes={minutes:g}, where "
        f"about {needed:g} are needed at least. Give more, or a smaller image size or network."
    )


def _fit(plans: Sequence[Plan], advice: Recommendation, minutes: float) -> float:
    from strategies.training.timing import measure_cost

    costs = []
    for plan in plans:
        note(f"Timing a few steps of {plan.recipe}")
        costs.append(measure_cost(plan, advice.dataset))
    share = fit_budget(costs, minutes)
    expected = sum(cost.seconds(share) for cost in costs) / 60
    note(f"By these timings {share:.0%} of the steps take {expected:.1f} minutes")
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
    """Returns the share of its steps that a plan is carried out with: all where there are none to shorten."""
    return share if any(phase.solver != "logistic" for phase in plan.phases) else 1.0


def _key(advice: Recommendation, plan: Plan, share: float) -> tuple[Any, ...]:
    """Returns what names a row of the results file; a shortened recipe must not pass as the recipe itself."""
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
