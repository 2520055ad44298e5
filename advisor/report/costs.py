"""What recipes were expected to cost in time and memory, and how close that was, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from advisor.report.evaluation import Section
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import Plan

Costs = Mapping[str, RecipeCost]


def cost_text(costs: Costs, recipe: str) -> str:
    """Returns how long a recipe was expected to take, and how much memory."""
    cost = costs[recipe]
    epoch = cost.seconds_per_epoch
    parts = [duration(cost.seconds) + ("" if epoch is None else f", {duration(epoch)} an epoch")]
    if cost.memory is not None:
        parts.append(f"up to {cost.memory / 2**30:.1f} GiB of memory")
    return "; ".join(parts)


def costs_section(costs: Costs) -> Section:
    """Returns what each recipe was expected to cost."""
    rows = [
        [
            name,
            duration(cost.seconds),
            "–" if cost.seconds_per_epoch is None else duration(cost.seconds_per_epoch),
            "–" if cost.memory is None else f"{cost.memory / 2**30:.1f} GiB",
        ]
        for name, cost in costs.items()
    ]
    return Section(
        title="Time and memory",
        text="By a few steps of each recipe on the machine that made the plan; less where a phase ends early. An epoch "
        "reaches from one look at the validation images to the next, in the last phase.",
        header=["recipe", "all of it", "an epoch", "memory, at most"],
        rows=rows,
    )


def timing_text(plan: Plan, history: Sequence[Mapping[str, Any]], seconds: float) -> str | None:
    """Returns how close the expected time came to what a training took; `None` where none was expected.

    Args:
        plan: What was carried out.
        history: Rows of `history.csv`, or of the history of a result.
        seconds: How long it took.
    """
    expected = (plan.advice.get("costs") or {}).get(plan.recipe)
    if expected is None:
        return None
    cost = RecipeCost(**expected)
    said = f"Expected {duration(cost.seconds)} in all if no phase ends early"
    took = f"took {duration(seconds)}"
    rows = [row for row in history if row["phase"] == plan.phases[-1].name]
    laps = [float(row["seconds"]) - float(before["seconds"]) for before, row in pairwise(rows)]
    if cost.seconds_per_epoch is not None and laps:
        said += f", {duration(cost.seconds_per_epoch)} an epoch"
        took += f", {duration(median(laps))} an epoch"
    return f"{said}; {took}."


def duration(seconds: float) -> str:
    """Returns a time for people.

    Example:
        >>> from advisor.report.costs import duration
        >>> duration(0.234), duration(41.2), duration(754), duration(8000)
        ('0.23 s', '41 s', '13 min', '2.2 h')
    """
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
