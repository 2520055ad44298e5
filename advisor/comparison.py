"""All four recipes on one's own images: what following the advice costs or gains."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.evidence.study import KEY, VARIANT, append_rows, check_results, make_cell, make_row, metrics_of
from advisor.recommendation import Recommendation, plan_for, recommend
from strategies.errors import UserError
from strategies.evaluation import Evaluation, paired_difference
from strategies.plan import Plan
from strategies.planning import with_budget
from strategies.recipes import RECIPES, get_recipe

if TYPE_CHECKING:
    from strategies.timing import Cost

SHARES = [percent / 100 for percent in range(100, 0, -1)]  # of the steps; whole per cent, so that a name is exact
MARGIN = 0.9  # of the minutes: timings vary


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Outcome:
    """What one recipe reached.

    Attributes:
        recipe: Name of the recipe.
        plan: The plan that was carried out.
        share: Of the recipe's own steps; 1 where there are none to shorten.
        metrics: The columns of a results file: `accuracy`, `val_accuracy`, `val_loss`, `seconds`, ...
        test: Metrics on the test images, with the 95 % interval of the accuracy.
        correct: Whether each test image was right, shape `(num_test,)`.
    """

    recipe: str
    plan: Plan
    share: float
    metrics: Mapping[str, Any]
    test: Evaluation
    correct: np.ndarray

    def __repr__(self) -> str:
        return f"Outcome({self.recipe!r}, test accuracy {self.test.accuracy:.3f}, {self.seconds:.0f} s)"

    @property
    def val_accuracy(self) -> float | None:
        """Accuracy on the validation images; `None` without such images."""
        return self.metrics["val_accuracy"]

    @property
    def seconds(self) -> float:
        """Wall-clock time of the training, from decoding to evaluation."""
        return self.metrics["seconds"]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "recipe": self.recipe,
            "share": self.share,
            **self.metrics,
            "low": self.test.low,
            "high": self.test.high,
        }


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """What all four recipes reached on the same split, beside what was advised.

    Attributes:
        advice: The recommendation, made before anything was trained.
        outcomes: One for each recipe, in the order of `RECIPES`.
    """

    advice: Recommendation
    outcomes: tuple[Outcome, ...]

    def __repr__(self) -> str:
        return f"Comparison(advised={self.advised.recipe!r}, best={self.best!r}, regret={self.regret:.3f})"

    def __str__(self) -> str:
        from advisor.report.text import summarize_comparison

        return summarize_comparison(self)

    def _repr_html_(self) -> str:
        from advisor.report.html import comparison_fragment

        return comparison_fragment(self)

    def __getitem__(self, recipe: str) -> Outcome:
        return next(one for one in self.outcomes if one.recipe == get_recipe(recipe).name)

    @property
    def ranking(self) -> tuple[Outcome, ...]:
        """The outcomes by test accuracy, best first; of equal ones the advised, then the fastest."""
        return tuple(
            sorted(self.outcomes, key=lambda one: (-one.test.accuracy, one.recipe != self._advised, one.seconds))
        )

    @property
    def advised(self) -> Outcome:
        """What the advised recipe reached."""
        return self[self._advised]

    @property
    def rival(self) -> Outcome:
        """The best of the other three."""
        return next(one for one in self.ranking if one.recipe != self._advised)

    @property
    def best(self) -> str:
        """The recipe with the highest test accuracy: what only hindsight can choose."""
        return self.ranking[0].recipe

    @property
    def chosen_on_validation(self) -> str | None:
        """The recipe with the highest validation accuracy, of equal ones the lowest loss; `None` without validation."""
        judged = [one for one in self.outcomes if one.val_accuracy is not None]
        if not judged:
            return None
        return max(judged, key=lambda one: (one.val_accuracy, -one.metrics["val_loss"])).recipe

    @property
    def regret(self) -> float:
        """By how much the best recipe is more accurate on the test images than the advised one; a fraction."""
        return self[self.best].test.accuracy - self.advised.test.accuracy

    @property
    def extra_seconds(self) -> float:
        """By how much the advised recipe took longer than the best one; below 0 it took less."""
        return self.advised.seconds - self[self.best].seconds

    @property
    def lead(self) -> tuple[float, float]:
        """By how much the advised recipe is more accurate than the best other one, and the paired standard error."""
        return paired_difference(self.advised.correct, self.rival.correct)

    @property
    def _advised(self) -> str:
        return self.advice.plan.recipe

    def save_html(self, path: str | Path) -> Path:
        """Writes the comparison and the advice as one page into a new file; returns its path.

        Raises:
            OutputError: If the file exists, or cannot be made.
        """
        from advisor.report.files import save_comparison

        return save_comparison(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; accuracies are fractions, times are in seconds."""
        difference, error = self.lead
        return {
            "advised": self._advised,
            "best": self.best,
            "chosen_on_validation": self.chosen_on_validation,
            "regret": self.regret,
            "extra_seconds": self.extra_seconds,
            "rival": self.rival.recipe,
            "lead": {"difference": difference, "standard_error": error},
            "recipes": [one.to_dict() for one in self.ranking],
        }


def compare_recipes(
    source: Any,
    *,
    backbone: str | None = None,
    weights: str = "auto",
    image_size: int | None = None,
    seed: int = 0,
    max_unreadable: float = 0.05,
    group_by: str | None = None,
    cache: bool = True,
    minutes: float | None = None,
    out: str | Path | None = None,
    **columns: Any,
) -> Comparison:
    """Carries out all four recipes on your images and says what following the advice would have cost or gained.

    All of them get the same split, input size and seed. Nothing is written but `out`.

    Args:
        source: As in `recommend`; `image_size`, `seed`, `max_unreadable` and `columns` too.
        backbone: As in `recommend`.
        weights: As in `recommend`.
        image_size: Side of the square input in pixels.
        seed: The one seed of everything random.
        max_unreadable: Largest share of files that may be unreadable.
        group_by: As in `recommend`.
        cache: Whether features that the advice needs are kept on disk. Training neither keeps nor reads any here, so
            that the seconds can be compared.
        minutes: Time for all four trainings; a few steps of each are timed first, on top of it, and all plans shortened
            by one factor in whole per cent. Default: no limit, the recipes' own steps.
        out: CSV file that one row per recipe is appended to, in the format of the study (`advisor/evidence`). A recipe
            that was shortened is named as a variant there: `retrain_all:budget0.25`.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`.

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
    advice = recommend(
        source,
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        every_image=True,
        cache=cache,
        **columns,
    )
    plan, data, curve = advice.plan, advice.dataset, advice.depth_curve
    plans = [
        plan
        if name == plan.recipe
        else plan_for(name, plan.backbone, data, curve, image_size=plan.image_size, weights=plan.weights, seed=seed)
        for name in RECIPES
    ]
    share = 1.0 if minutes is None else _fit(plans, advice, minutes)
    cell = make_cell(data, advice.profile, advice.similarity, curve)
    keys = [_key(advice, one, share) for one in plans]
    if results is not None:
        check_results(results, keys)
    outcomes = [_carry_out(one, share, advice) for one in plans]
    if results is not None:
        append_rows(results, [make_row(key, one.metrics, cell) for key, one in zip(keys, outcomes, strict=True)])
    return Comparison(advice=advice, outcomes=tuple(outcomes))


def fit_budget(costs: Sequence[Cost], minutes: float) -> float:
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
    from strategies.timing import measure_cost

    costs = []
    for plan in plans:
        _say(f"Timing a few steps of {plan.recipe}")
        costs.append(measure_cost(plan, advice.dataset))
    share = fit_budget(costs, minutes)
    expected = sum(cost.seconds(share) for cost in costs) / 60
    _say(f"By these timings {share:.0%} of the steps take {expected:.1f} minutes")
    return share


def _carry_out(plan: Plan, share: float, advice: Recommendation) -> Outcome:
    from strategies.training import train

    share = _share_of(plan, share)
    _say(f"Training {plan.recipe}" + ("" if share == 1 else f", {share:.0%} of its steps"))
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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
