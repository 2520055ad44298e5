"""Which recipe to advise: the cheapest one that is expected to be good enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.calibration import textbook_numbers
from advisor.expectation import Expectation
from advisor.preferences import BALANCED, PREFERENCES, get_preference
from advisor.rules import Facts, textbook_answers
from strategies.recipes import RECIPES

CHEAPER = 0.75  # a recipe is cheaper than another if it takes less than this share of its time: no estimate is finer
EVIDENCE = 2.0  # in standard errors: a recipe that is ahead by less may be so by chance
LITTLE_EVIDENCE = 0.5  # a confidence counts this many cells of which half were right, besides those of the study


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The recipe that is advised, and why.

    Attributes:
        recipe: The recipe.
        runner_up: The one of the other recipes that is expected to reach the most.
        cheapest: The cheapest recipe within half a point of the best, whatever the preference.
        confidence: Probability that no other recipe is better by more than a point.
        because: The reasons in words, a sentence each, with the measured numbers.
    """

    recipe: str
    runner_up: str
    cheapest: str
    confidence: float
    because: tuple[str, ...]


Seconds = Mapping[str, float]  # recipe -> time of its training


def decide(facts: Facts, expected: Expectation, seconds: Seconds, prefer: str = BALANCED) -> Decision:
    """Returns the cheapest recipe whose expected accuracy lies within the tolerance of the best.

    Args:
        facts: What was measured.
        expected: What each recipe is expected to reach.
        seconds: How long the training of each recipe takes.
        prefer: Name of a row of `PREFERENCES`.

    Raises:
        UnknownNameError: If there is no such preference.
    """
    tolerance = get_preference(prefer).tolerance
    recipe = cheapest_good(expected, seconds, tolerance)
    others = [name for name in RECIPES if name != recipe]
    return Decision(
        recipe=recipe,
        runner_up=max(others, key=lambda name: expected[name].accuracy),
        cheapest=cheapest_good(expected, seconds),
        confidence=confidence(expected, recipe),
        because=(_measured(facts), _reason(expected, recipe, tolerance)),
    )


def best(expected: Expectation) -> str:
    """Returns the recipe that is expected to reach the most, as far as the study can tell.

    It is the default recipe, the best fixed policy of the study, unless another recipe was ahead of it beyond chance in
    the cells like this one: recipes that are nearly equal would otherwise be told apart by luck.
    """
    ahead = [name for name in RECIPES if name == expected.default or expected[name].ahead >= EVIDENCE]
    return max(ahead, key=lambda name: expected[name].accuracy)


def cheapest_good(expected: Expectation, seconds: Seconds, tolerance: float = PREFERENCES[BALANCED].tolerance) -> str:
    """Returns the cheapest recipe whose expected accuracy lies within a tolerance of the best.

    Of recipes that are about equally cheap, it is the best one, or else the one that is expected to reach the most.

    Args:
        expected: What each recipe is expected to reach.
        seconds: How long the training of each recipe takes.
        tolerance: A fraction.
    """
    most = best(expected)
    enough = expected[most].accuracy - tolerance
    good = [name for name in RECIPES if expected[name].accuracy >= enough]
    least = min(seconds[name] for name in good)
    cheap = [name for name in good if CHEAPER * seconds[name] <= least]
    return most if most in cheap else max(cheap, key=lambda name: expected[name].accuracy)


def ranking(expected: Expectation) -> tuple[str, ...]:
    """Returns all recipes in the order of the accuracy that is expected of them, highest first."""
    return tuple(sorted(RECIPES, key=lambda name: -expected[name].accuracy))


def plausible(expected: Expectation, recipe: str, share: float = 0.25) -> tuple[str, ...]:
    """Returns the recipes that may be the best: the advised one first, then those that were it often enough.

    Args:
        expected: What each recipe is expected to reach.
        recipe: The advised recipe.
        share: How often at least a recipe was right, as in `Expected.right`. Two recipes are always named.
    """
    others = [name for name in ranking(expected) if name != recipe]
    return (recipe, others[0], *(name for name in others[1:] if expected[name].right >= share))


def confidence(expected: Expectation, recipe: str) -> float:
    """Returns the probability that no other recipe is better by more than a point.

    It is the share of the study's cells where that was so. The fewer of them are like this one, the closer it is to one
    half.
    """
    share = expected.num_like / (expected.num_like + LITTLE_EVIDENCE)
    return share * expected[recipe].right + (1 - share) / 2


def _measured(facts: Facts) -> str:
    answers, large = textbook_answers(facts), textbook_numbers()["effective_num_images"].value
    size = f"{answers.size} (the textbook calls {large:,.0f} large)"
    return (
        f"{facts.effective_num_images:,.0f} images to learn from: {size}. "
        f"Similarity to ImageNet {facts.measures()['similarity']:.2f} of 1: {answers.domain}."
    )


def _reason(expected: Expectation, recipe: str, tolerance: float) -> str:
    most = best(expected)
    missing = expected[most].accuracy - expected[recipe].accuracy
    adds = f"{recipe} adds {points(expected[recipe].gain)} points to a new head alone"
    if recipe != most and missing > 0:
        limit = f"the {tolerance * 100:g} points that you would give for a shorter training"
        text = f"{most} adds only {points(missing)} points to {recipe}, within {limit}"
    elif recipe != most:
        text = f"{most} adds nothing to {recipe}"
    elif recipe == "head_only":
        text = "nothing adds to a new head alone"
    elif recipe == max(RECIPES, key=lambda name: expected[name].accuracy):
        text = f"{adds}, the most of the four"
    else:
        text = f"{adds}, and no recipe was ahead of it beyond chance"
    return f"To judge by the study's datasets most like yours, {text}."


def points(value: float) -> str:
    """Returns a difference in points, with one decimal where it is small.

    Example:
        >>> from advisor.decision import points
        >>> points(0.0432), points(-0.004)
        ('4.3', '-0.4')
    """
    return f"{100 * value:.1f}"
