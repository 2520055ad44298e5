"""Trains all four recipes on the user's own images and compares them with the advice."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.measure.input_size import fitting_size
from advisor.outcomes import Outcome, Outcomes
from advisor.recommendation import Recommendation, plan_for, recommend
from advisor.report.files import save_comparison
from advisor.report.html import comparison_fragment
from advisor.report.text import summarize_comparison
from advisor.results import (
    KEY,
    VARIANT,
    append_rows,
    check_results,
    known_keys,
    make_fingerprint,
    make_row,
    metrics_of,
    read_results,
)
from strategies.cluster import on_ray, run_all
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset, with_groups
from strategies.display.progress import note
from strategies.errors import UserError
from strategies.networks.backbones import Backbone, get_backbone, know_backbone
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import choose_network
from strategies.plans.plan import Plan
from strategies.plans.planning import SHARES, with_budget
from strategies.recipes import RECIPES

if TYPE_CHECKING:
    from strategies.training.timing import PlanCost

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
    backbone: str | None = None,
    weights: str = "auto",
    image_size: int | None = None,
    seed: int = 0,
    max_unreadable: float = 0.05,
    group_by: str | None = None,
    cache: bool = True,
    minutes: float | None = None,
    out: str | Path | None = None,
    ray: str | None = None,
    **columns: Any,
) -> Comparison:
    """Trains all four recipes on your images and tells what following the advice costs or gains.

    Use it to check the advice. All recipes get the same split, input size and seed. Only the file `out` is written.

    Args:
        source: As in `recommend`.
        backbone: As in `recommend`.
        weights: As in `recommend`.
        image_size: As in `recommend`.
        seed: Seed of all random choices.
        max_unreadable: As in `recommend`.
        group_by: As in `recommend`.
        cache: Whether the features that the advice needs are cached on disk. The trainings do not use the cache, so
            that their times can be compared.
        minutes: Time for all four trainings. A few steps of each recipe are timed before anything else, which takes
            extra time. Then all plans are shortened to the same share of their steps. Default: no limit, all steps.
        out: CSV file to which one row per recipe is appended as soon as it is trained, in the format of the study. A
            shortened recipe is named as a variant: `retrain_all:budget0.25`. If an interrupted comparison is started
            again, rows that the file has already are not appended again.
        ray: The Ray cluster whose workers measure the images and train the recipes side by side: `"local"`, `"auto"` or
            an address; see `strategies.on_ray`. The times of the recipes are then those of trainings that share a
            machine. `minutes` counts the time of all trainings, as if they followed each other. Default: none.
        **columns: As in `recommend`.

    Returns:
        A `Comparison`; print it.

    Raises:
        DatasetError: If the images or labels cannot be used.
        OutputError: If `out` is another kind of file, or already holds results of this run.
        UserError: If `minutes` is too short for 1% of the steps. It is raised as soon as the timing shows it.

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
    with on_ray(ray):
        network = choose_network(backbone, weights).network
        listed = load_dataset(source, **columns)
        share = 1.0
        if minutes is not None:
            network = network.at(image_size or fitting_size(network, listed.items))
            share = _fit(with_groups(listed, group_by), network, seed, minutes)
        advice = recommend(
            listed,
            backbone=backbone,
            weights=weights,
            image_size=image_size,
            seed=seed,
            max_unreadable=max_unreadable,
            group_by=group_by,
            every_image=True,
            cache=cache,
        )
        return Comparison(advice=advice, outcomes=_outcomes(advice, share, results))


def _outcomes(advice: Recommendation, share: float, results: Path | None) -> tuple[Outcome, ...]:
    """Trains every recipe, and appends the row of each to the file of results as soon as it is trained."""
    plan, data, curve = advice.plan, advice.dataset, advice.depth_curve
    plans = [
        plan
        if name == plan.recipe
        else replace(
            plan_for(name, plan.network, data, curve, similarity=advice.similarity.score, seed=plan.seed),
            augmentation=plan.augmentation,
        )
        for name in RECIPES
    ]
    keys = [_key(advice, candidate, share) for candidate in plans]
    if results is not None:
        check_results(results, keys)
    num_images = sum(part != "test" for part in data.split or ())
    fingerprint = make_fingerprint(advice.profile, advice.similarity, curve)
    found: dict[int, Outcome] = {}
    carry_out = partial(_carry_out, share, data, get_backbone(plan.backbone))
    for number, outcome in run_all(carry_out, _noted(plans, share), at_once=len(plans)):
        found[number] = outcome
        if results is not None:  # at once, so that an interruption loses one training at most
            row = make_row(keys[number], outcome.metrics, num_images=num_images, fingerprint=fingerprint)
            if tuple(map(str, keys[number])) not in known_keys(read_results(results)):
                append_rows(results, [row])
    return tuple(found[number] for number in range(len(plans)))


def _noted(plans: Iterable[Plan], share: float) -> Iterator[Plan]:
    """Yields the plans, and says which one is about to be trained."""
    for plan in plans:
        part = _share_of(plan, share)
        note(f"Training {plan.recipe}" + ("" if part == 1 else f", {part:.0%} of its steps"))
        yield plan


def fit_budget(costs: Sequence[PlanCost], minutes: float, *, untimed: int = 0) -> float:
    """Returns the largest share of the steps, in whole percents, with which all plans fit into a number of minutes.

    Args:
        costs: Cost of each plan that was timed.
        minutes: Time for all plans together. A tenth of it is kept in reserve, because timings vary.
        untimed: Number of other plans. For the message, each of them counts like the longest plan that was timed.

    Raises:
        UserError: If 1% of the steps does not fit. The message says how many minutes are needed.
    """
    for share in SHARES:
        if sum(cost.seconds(share) for cost in costs) <= MARGIN * 60 * minutes:
            return share
    seconds = [cost.seconds(SHARES[-1]) for cost in costs]
    needed = math.ceil(10 * (sum(seconds) + untimed * max(seconds)) / MARGIN / 60) / 10
    raise UserError(
        f"Expected enough minutes for at least 1% of the steps of each recipe. Received: minutes={minutes:g}, where "
        f"about {needed:g} are needed, to judge by a few steps of {', '.join(cost.plan.recipe for cost in costs)}. "
        f"Give more minutes, or choose a smaller image size or backbone."
    )


def _fit(listed: ImageDataset, network: PretrainedNetwork, seed: int, minutes: float) -> float:
    """Returns the share of the steps that fits, before the images are measured: the measurements hardly change costs.

    The recipes that train most are timed first, so that too few minutes are noticed at once.
    """
    from strategies.training.timing import measure_cost

    data = split_dataset(listed, seed=seed)
    costs: list[PlanCost] = []
    for name in reversed(RECIPES):
        note(f"Timing a few steps of {name}")
        costs.append(measure_cost(plan_for(name, network, data, None, similarity=None, seed=seed), data))
        share = fit_budget(costs, minutes, untimed=len(RECIPES) - len(costs))
    expected = sum(cost.seconds(share) for cost in costs) / 60
    note(f"Training with {share:.0%} of the steps, which should take {expected:.1f} minutes")
    return share


def _carry_out(share: float, data: ImageDataset, backbone: Backbone, plan: Plan) -> Outcome:
    from strategies.training.trainer import train

    know_backbone(backbone)
    share = _share_of(plan, share)
    short = with_budget(plan, share)
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
