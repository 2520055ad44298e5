"""What to expect: the accuracy of a new head alone, the gain from the recipe, and what would change the advice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from advisor.rules import EVIDENCE, RULES, Evidence, Facts, choose
from advisor.thresholds import Landmark, fitted, landmarks, thresholds

MOST_IMAGES = 10_000_000  # the search for a change of the advice ends here
WORTH = 0.01  # below one point of accuracy, an expected gain is not worth the training time


@dataclass(frozen=True, kw_only=True)
class RecipeChange:
    """The number of images from which another recipe would be advised.

    Attributes:
        num_images: Effective images for training and validation (copies count once).
        more: How many images must be added to reach that number.
        recipe: The recipe that would be advised.
    """

    num_images: int
    more: int
    recipe: str


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What to expect of the advice. Accuracies and gains are fractions.

    Attributes:
        head_accuracy: Cross-validated accuracy of a new head on frozen features of your images; `None` where no image
            could be held out.
        gain: What the recipe is expected to add to that accuracy: low, middle and high. They follow from the share of
            the errors of `head_only` that the recipe removed in the study (10th, 50th and 90th percentile of its
            cells). Zero for `head_only`.
        times_head: Median training time of the recipe in the study, as a multiple of that of `head_only`.
        stop_here: Whether `head_only` makes better use of your time, because the expected gain is below one point.
        changes: The number of images from which another recipe would be advised, all else being equal; `None` where
            no number of images changes the advice.
        below: The dataset of the study with the next lower similarity to ImageNet; `None` if there is none.
        above: The dataset with the next higher similarity; `None` if there is none.
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
        gain = None if values["gain"] is None else tuple(values["gain"])
        return cls(**{**values, **read, "gain": gain})

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `plan.json`."""
        return asdict(self)


def look_ahead(facts: Facts, recipe: str, *, evidence: Sequence[Evidence] = EVIDENCE) -> Outlook:
    """Returns what to expect of a recipe on a measured dataset.

    Args:
        facts: What was measured.
        recipe: The recommended recipe.
        evidence: The rows of evidence in use.
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
    """Returns the number of images from which another recipe would be advised, all other measures being equal.

    Args:
        facts: What was measured.
        recipe: The recommended recipe.
        evidence: The rows of evidence in use.

    Returns:
        The change, or `None` where no number of images changes the advice, or where a pilot decided instead.
    """

    def advised(count: int) -> str:
        more = replace(facts, effective_num_images=count)
        return RULES[int(choose(more.measures(), thresholds(), evidence))].recipe

    now = math.ceil(facts.effective_num_images)
    if advised(now) != recipe:  # a pilot decided, so the number of images does not matter
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
    """Returns the two datasets of the study nearest to a similarity: the next lower one and the next higher one.

    Args:
        score: Similarity to ImageNet.

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
