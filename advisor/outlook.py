"""What to expect of the advice: what a new head alone reaches, what more is worth, and what would change the recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from advisor.rules import EVIDENCE, RULES, Evidence, Facts, choose
from advisor.thresholds import Landmark, fitted, landmarks, thresholds

MOST_IMAGES = 10_000_000  # no answer beyond this
WORTH = 0.01  # an expected gain below one point of accuracy is not called worth the time


@dataclass(frozen=True, kw_only=True)
class RecipeChange:
    """From which number of images on the advice would be another recipe.

    Attributes:
        num_images: Effective images for training and validation.
        more: How many more than there are.
        recipe: The other recipe.
    """

    num_images: int
    more: int
    recipe: str


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What to expect, in fractions of accuracy.

    Attributes:
        head_accuracy: What a new head on frozen features reaches on your images, cross-validated; `None` where nothing
            could be held out.
        gain: What the recipe is expected to add to it: low, middle and high, from how much of the errors of `head_only`
            it removed in the study (10th, 50th and 90th percentile of its cells). Zero for `head_only`.
        times_head: How many times the training time of `head_only` the recipe took in the study, at the median.
        stop_here: Whether `head_only` is the better answer for your time: less than a point is expected from more.
        changes: From which number of images on the advice would be another recipe, all else being equal; `None` where
            no number of images would change it.
        below: The dataset of the study next to these images on the side away from ImageNet; `above` the one on the
            side of ImageNet. `None` beyond the ends.
    """

    head_accuracy: float | None
    gain: tuple[float, float, float] | None
    times_head: float
    stop_here: bool
    changes: RecipeChange | None
    below: Landmark | None
    above: Landmark | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outlook:
        """Reads the outlook of `plan.json`."""
        kinds = {"changes": RecipeChange, "below": Landmark, "above": Landmark}
        read = {name: None if values[name] is None else kind(**values[name]) for name, kind in kinds.items()}
        return cls(**{**values, **read})

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `plan.json`."""
        return asdict(self)


def look_ahead(facts: Facts, recipe: str, *, evidence: Sequence[Evidence] = EVIDENCE) -> Outlook:
    """Tells what to expect of a recipe on images that were measured.

    Args:
        facts: What was measured.
        recipe: The recipe that is recommended.
        evidence: The rows that the advice looked at.
    """
    row = fitted()["outlook"][recipe]
    head = None if facts.depth_curve is None else facts.depth_curve.accuracy[-1]
    gain = None
    if head is not None:
        low, middle, high = ((1 - head) * share for share in row["errors_removed"])
        gain = (low, middle, high)
    below, above = neighbors(float(facts.similarity.score or 0))
    return Outlook(
        head_accuracy=head,
        gain=gain,
        times_head=row["times_head"],
        stop_here=recipe != "head_only" and gain is not None and gain[1] < WORTH,
        changes=images_to_change(facts, recipe, evidence=evidence),
        below=below,
        above=above,
    )


def images_to_change(facts: Facts, recipe: str, *, evidence: Sequence[Evidence] = EVIDENCE) -> RecipeChange | None:
    """Returns from how many images on the advice would be another recipe, similarity and depths being equal."""

    def advised(count: int) -> str:
        more = replace(facts, effective_num_images=count)
        return RULES[int(choose(more.measures(), thresholds(), evidence))].recipe

    now = math.ceil(facts.effective_num_images)
    if advised(now) != recipe:  # a pilot decided, not the number of images
        return None
    few, many = now, now
    while advised(many) == recipe:
        few, many = many, many * 2
        if many > MOST_IMAGES:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if advised(middle) == recipe else (few, middle)
    return RecipeChange(num_images=many, more=many - now, recipe=advised(many))


def neighbors(score: float) -> tuple[Landmark | None, Landmark | None]:
    """Returns the landmarks next to a similarity, on the far side and on the near side.

    Example:
        >>> from advisor.outlook import neighbors
        >>> below, above = neighbors(0.3)
        >>> below.score < 0.3 <= above.score
        True
    """
    rows = landmarks()
    return (
        next((row for row in reversed(rows) if row.score < score), None),
        next((row for row in rows if row.score >= score), None),
    )
