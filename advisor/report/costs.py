"""The expected time and memory of recipes in words, and how close they came to the actual ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from strategies.display.numbers import duration
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import Plan


def timing_text(plan: Plan, history: Sequence[Mapping[str, Any]], seconds: float) -> str | None:
    """Returns the expected and the actual time of a training in a sentence; `None` without an expectation.

    Args:
        plan: The plan that was carried out.
        history: Rows of `history.csv`, or of the history of a result.
        seconds: The actual time.
    """
    expected = (plan.advice.get("costs") or {}).get(plan.recipe)
    if expected is None:
        return None
    cost = RecipeCost(**expected)
    expected_text = f"Expected {duration(cost.seconds)} in total if no phase ends early"
    actual_text = f"took {duration(seconds)}"
    rows = [row for row in history if row["phase"] == plan.phases[-1].name]
    epochs = [float(row["seconds"]) - float(before["seconds"]) for before, row in pairwise(rows)]
    if cost.seconds_per_epoch is not None and epochs:
        expected_text += f", {duration(cost.seconds_per_epoch)} per epoch"
        actual_text += f", {duration(median(epochs))} per epoch"
    return f"{expected_text}; {actual_text}."
