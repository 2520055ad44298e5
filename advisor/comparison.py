"""Trains all four recipes on the user's own images and compares them with the advice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from advisor.decision import ranking
from advisor.outcomes import Outcome, Outcomes
from advisor.recommendation import Recommendation, plans_of, recommend
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
from advisor.time_limit import TimeLimit, begin, fit
from strategies.cluster import on_ray, run_all
from strategies.data.dataset import ImageDataset
from strategies.data.encoded import SQUEEZE
from strategies.display.progress import note
from strategies.features.cache import default_cache
from strategies.networks.backbones import Backbone, get_backbone, know_backbone
from strategies.networks.backend import check_trains
from strategies.plans.plan import Plan
from strategies.plans.planning import with_budget
from strategies.recipes import HEAD_ONLY, RECIPES


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(Outcomes):
    """The results of all four recipes on the same split, with the advice. Print it, or save it as a page.

    Attributes:
        advice: The recommendation, which was made before any training.
        outcomes: One result for each recipe, in the order of `RECIPES`. With too little time, some are left out.
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
    resize: str | None = None,
    seed: int = 0,
    max_unreadable: float = 0.05,
    group_by: str | None = None,
    cache: bool = True,
    minutes: float | TimeLimit | None = None,
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
        resize: As in `recommend`.
        seed: Seed of all random choices.
        max_unreadable: As in `recommend`.
        group_by: As in `recommend`.
        cache: Whether the features that the advice needs are cached on disk. The trainings do not use the cache, so
            that their times can be compared.
        minutes: Time for all that this call does. Where needed, all recipes get the same share of their steps. If it
            would be less than a quarter, recipes are left out, those first of which least is expected; `head_only` and
            the advised recipe are always trained. Default: no limit, all steps.
        out: CSV file to which one row per recipe is appended as soon as it is trained, in the format of the study. A
            shortened recipe is named as a variant: `retrain_all:budget0.25`; and so is one whose images were cropped
            or padded: `retrain_all:crop`. If an interrupted comparison is started
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
        UserError: If `minutes` is not a finite number above 0, or if the backend of Keras cannot train.

    Example:
        >>> import advisor
        >>> comparison = advisor.compare_recipes("photos/", minutes=10)  # doctest: +SKIP
        >>> comparison.best, round(comparison.regret, 3)  # doctest: +SKIP
        ('retrain_all', 0.008)
    """
    check_trains()
    limit = None if minutes is None else begin(minutes)
    results = None if out is None else Path(out)
    if results is not None:
        check_results(results)
    with on_ray(ray):
        advice = recommend(
            source,
            backbone=backbone,
            weights=weights,
            image_size=image_size,
            resize=resize,
            seed=seed,
            max_unreadable=max_unreadable,
            group_by=group_by,
            every_image=True,
            cache=cache,
            **columns,
        )
        plans, share = list(plans_of(advice).values()), 1.0
        if limit is not None:
            plans, share = _fitting(advice, limit, cache=cache)
        return Comparison(advice=advice, outcomes=_outcomes(advice, plans, share, results))


def _fitting(advice: Recommendation, limit: TimeLimit, *, cache: bool) -> tuple[list[Plan], float]:
    """Returns the plans that fit into a time limit, and the share of its steps that each is given."""
    plans = plans_of(advice)
    names = list(dict.fromkeys((HEAD_ONLY, advice.plan.recipe, *ranking(advice.expected))))
    choices = [[plans[name] for name in RECIPES if name in names[:number]] for number in range(len(names), 1, -1)]
    found = fit(choices, advice.dataset, limit, cache=default_cache() if cache else None)
    note(found.sentence(limit))
    return [cost.plan for cost in found.costs], found.share


def _outcomes(advice: Recommendation, plans: Sequence[Plan], share: float, results: Path | None) -> tuple[Outcome, ...]:
    """Trains plans, and appends the row of each to the file of results as soon as it is trained."""
    plan, data, curve = advice.plan, advice.dataset, advice.depth_curve
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
    return share if plan.trained_by_steps else 1.0


def _key(advice: Recommendation, plan: Plan, share: float) -> tuple[Any, ...]:
    """Returns the key of a row of the results file. Fewer steps, and images that are not squeezed, make a variant."""
    share = _share_of(plan, share)
    changes = [
        *(["channels" + "-".join(map(str, plan.channels))] if plan.channels else []),
        *([] if plan.resize == SQUEEZE else [plan.resize]),
        *([] if share == 1 else [f"budget{share:g}"]),
    ]
    values = {
        "dataset": os.path.basename(os.path.abspath(advice.dataset.source)),
        "size": sum(part != "test" for part in advice.dataset.split or ()),
        "seed": plan.seed,
        "backbone": plan.backbone,
        "image_size": plan.image_size,
        "recipe": VARIANT.join([plan.recipe, *changes]),
    }
    return tuple(values[name] for name in KEY)
