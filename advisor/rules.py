"""Rules and cautions as rows; the rule that applies, and by what margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from advisor.similarity import ENOUGH_IMAGES, Similarity, calibration
from strategies.errors import UserError
from strategies.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """One number that decides, and where it comes from."""

    measure: str
    value: float
    unit: str
    source: str
    calibrated_on: str
    calibrated_range: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One cell of the 2 x 2 of size and domain: which recipe it leads to, and why. `because` is a template."""

    size: str
    domain: str
    recipe: str
    because: str
    source: str


_SIZE_WORDS = {
    "small": "{effective_num_images:,} effective images for training are fewer than {size_threshold:,}",
    "large": "{effective_num_images:,} effective images for training are at least {size_threshold:,}",
}
_DOMAIN_WORDS = {
    "similar": "similarity to ImageNet {score:.2f} is at least {similarity_threshold:.2f}",
    "different": "similarity to ImageNet {score:.2f} is below {similarity_threshold:.2f}",
}

# One row per cell, no order, no fall-through; the recipe row says when it applies and why.
RULES: tuple[Rule, ...] = tuple(
    Rule(
        size=recipe.size,
        domain=recipe.domain,
        recipe=recipe.name,
        because=f"{_SIZE_WORDS[recipe.size]} ({recipe.size}), and {_DOMAIN_WORDS[recipe.domain]} ({recipe.domain}). "
        f"{recipe.because}",
        source=recipe.source,
    )
    for recipe in RECIPES.values()
)


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something the reader should know; it never changes the recipe. `message` is a template over the facts."""

    code: str
    applies: Callable[[Mapping[str, Any]], bool]
    message: str
    source: str


CAUTIONS: tuple[Caution, ...] = (
    Caution(
        code="size_near_threshold",
        applies=lambda f: 0.5 < f["effective_num_images"] / f["size_threshold"] < 2,
        message="{effective_num_images:,} images are within a factor of two of the threshold ({size_threshold:,}): "
        "consider {runner_up} as well.",
        source="thresholds are provisional",
    ),
    Caution(
        code="similarity_near_threshold",
        applies=lambda f: f["low"] < f["similarity_threshold"] < f["high"],
        message="The interval of the similarity ({low:.2f} to {high:.2f}) holds the threshold "
        "({similarity_threshold:.2f}): the domain is not certain.",
        source="bootstrap over images",
    ),
    Caution(
        code="few_images_for_similarity",
        applies=lambda f: f["num_images_measured"] < ENOUGH_IMAGES,
        message=f"Similarity was measured on {{num_images_measured}} images; it is stable from {ENOUGH_IMAGES} on.",
        source="ten random subsets of three datasets",
    ),
    Caution(
        code="beyond_calibration",
        applies=lambda f: f["effective_num_images"] > f["largest_calibrated"],
        message="{effective_num_images:,} images are more than the thresholds were ever compared on "
        "({largest_calibrated:,}): the advice extrapolates.",
        source="calibrated_range of the size threshold",
    ),
    Caution(
        code="few_images_per_class",
        applies=lambda f: f["min_images_per_class"] < 10,
        message="The smallest class has {min_images_per_class} images: its accuracy will be uncertain.",
        source="seed noise at 5 images per class is about 2 points (BiT, README)",
    ),
    Caution(
        code="imbalance",
        applies=lambda f: f["imbalance_ratio"] > 3,
        message="The largest class is {imbalance_ratio:.1f} times the smallest: read the balanced accuracy.",
        source="accuracy rewards the majority class",
    ),
    Caution(
        code="upscaling",
        applies=lambda f: f["image_size"] > 1.5 * f["median_short_side"],
        message="Half of the images are enlarged more than 1.5 times (median short side {median_short_side:.0f} px to "
        "{image_size} px): the blur makes them look further from ImageNet than they are.",
        source="Gaussian blur lowers the score monotonically",
    ),
    Caution(
        code="grayscale",
        applies=lambda f: f["num_grayscale"] > f["num_images"] / 2,
        message="{num_grayscale:,} of {num_images:,} images are grayscale: that is a shift of low-level features only.",
        source="by-depth distances",
    ),
    Caution(
        code="unreadable",
        applies=lambda f: f["num_unreadable"] > 0,
        message="{num_unreadable:,} files cannot be read and are left out; fingerprint.json names them.",
        source="profile",
    ),
    Caution(
        code="ignored",
        applies=lambda f: f["num_ignored"] > 0,
        message="{num_ignored:,} files in the folders are not images and are left out; fingerprint.json names them.",
        source="profile",
    ),
    Caution(
        code="duplicates",
        applies=lambda f: f["num_duplicates"] > 0,
        message="{num_duplicates:,} images are exact copies of others; they count once and stay in one split.",
        source="profile",
    ),
    Caution(
        code="duplicates_across_classes",
        applies=lambda f: f["num_duplicates_across_classes"] > 0,
        message="{num_duplicates_across_classes:,} images stand in more than one class: probably wrong labels; "
        "fingerprint.json names them.",
        source="profile",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The rule that applies, and by what margin.

    Attributes:
        rule: The row that applies.
        margins: For `size` and `similarity`: value, threshold, margin and which side it fell on.
        probabilities: Of each recipe, from how far both measures lie from their thresholds.
        runner_up: The second most probable recipe.
        confidence: Probability of the recipe that the rule names; provisional until the study has calibrated it.
    """

    rule: Rule
    margins: Mapping[str, Mapping[str, Any]]
    probabilities: Mapping[str, float]
    runner_up: str
    confidence: float


def thresholds(name: str = "advice") -> dict[str, Threshold]:
    """Returns the thresholds by measure: those of the `advice`, or the `textbook`'s."""
    rows = (Threshold(**row) for row in calibration()["thresholds"][name])
    return {row.measure: row for row in rows}


def apply_rules(
    effective_num_images: float, similarity: Similarity, *, rows: Mapping[str, Threshold] | None = None
) -> Verdict:
    """Applies the 2 x 2 of size and similarity.

    Args:
        effective_num_images: Images for training and validation, net of duplicates.
        similarity: To ImageNet, with its interval, measured with a calibrated ruler.
        rows: Thresholds by measure; default: those of the advice.

    Raises:
        UserError: If a measure is not a number or out of its range; nothing is decided silently.
    """
    rows = rows or thresholds()
    size, domain = rows["effective_num_images"], rows["similarity"]
    if not (math.isfinite(effective_num_images) and effective_num_images >= 1):
        raise UserError(f"Expected one image or more. Received: {effective_num_images}. Check the profile.")
    score, low, high = similarity.score, similarity.low, similarity.high
    if score is None or low is None or high is None:
        raise UserError(
            f"Expected a similarity from a calibrated ruler. Received: one from {similarity.ruler}, whose distances "
            f"decide nothing. Measure it with the default ruler."
        )
    if not 0 <= low <= score <= high <= 1:
        raise UserError(
            f"Expected a similarity in [0, 1] within its interval. Received: {score} in [{low}, {high}]. "
            f"Measure it with advisor.measure_similarity."
        )
    large, similar = effective_num_images >= size.value, score >= domain.value
    cell = ("large" if large else "small", "similar" if similar else "different")
    rule = next(row for row in RULES if (row.size, row.domain) == cell)
    chance_large = _logistic(3 * math.log10(effective_num_images / size.value))
    # 0.1 is what the threshold itself is uncertain by; 3.29 standard deviations make a 90 % interval.
    chance_similar = _logistic(1.7 * (score - domain.value) / math.hypot((high - low) / 3.29, 0.1))
    probabilities = {
        row.recipe: (chance_large if row.size == "large" else 1 - chance_large)
        * (chance_similar if row.domain == "similar" else 1 - chance_similar)
        for row in RULES
    }
    others = [row.recipe for row in RULES if row != rule]
    return Verdict(
        rule=rule,
        margins={
            "size": {
                "value": effective_num_images,
                "threshold": size.value,
                "factor": effective_num_images / size.value,
                "side": cell[0],
            },
            "similarity": {
                "value": score,
                "low": low,
                "high": high,
                "threshold": domain.value,
                "difference": score - domain.value,
                "side": cell[1],
            },
        },
        probabilities=probabilities,
        runner_up=max(others, key=lambda name: probabilities[name]),
        confidence=probabilities[rule.recipe],
    )


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, value))))


def explain_why_not(verdict: Verdict, facts: Mapping[str, Any]) -> dict[str, str]:
    """Returns, for each of the other three recipes, which of its conditions these images do not meet."""
    reasons = {}
    for row in RULES:
        if row.recipe == verdict.rule.recipe:
            continue
        wrong = []
        if row.size != verdict.rule.size:
            wrong.append(f"is for {row.size} datasets, but {_SIZE_WORDS[verdict.rule.size]}")
        if row.domain != verdict.rule.domain:
            toward = "to" if row.domain == "similar" else "from"
            wrong.append(f"is for images {row.domain} {toward} ImageNet, but {_DOMAIN_WORDS[verdict.rule.domain]}")
        reasons[row.recipe] = f"{row.recipe} {' and '.join(wrong)}.".format_map(dict(facts))
    return reasons


def find_cautions(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns code, message and source of every caution that applies."""
    return [
        {"code": row.code, "message": row.message.format_map(dict(facts)), "source": row.source}
        for row in CAUTIONS
        if row.applies(facts)
    ]
