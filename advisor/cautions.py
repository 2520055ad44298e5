"""What the reader of an advice should know, as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.measure.similarity import ENOUGH_IMAGES
from advisor.quality.checks import Finding
from strategies.networks.weights import BUNDLED


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something the reader of an advice should know; it never changes the recipe."""

    code: str
    message: str
    source: str


@dataclass(frozen=True, kw_only=True)
class CautionRow:
    """When a caution applies, and what it says: `message` is a template over the facts."""

    code: str
    applies: Callable[[Mapping[str, Any]], bool]
    message: str
    source: str


CAUTIONS: tuple[CautionRow, ...] = (
    CautionRow(
        code="borderline",
        applies=lambda f: f["borderline"],
        message="Borderline: {confidence:.0%} sure. {runner_up} may be as good or better; --pilot (pilot=True) lets a "
        "short head-to-head on your images decide.",
        source="confidence, calibrated on the study",
    ),
    CautionRow(
        code="similarity_near_threshold",
        applies=lambda f: f["low"] < f["similarity_threshold"] < f["high"] and not f["domain_by_evidence"],
        message="The interval of the similarity ({low:.2f} to {high:.2f}) holds the threshold "
        "({similarity_threshold:.2f}): the domain is not certain.",
        source="bootstrap over images",
    ),
    CautionRow(
        code="few_images_for_similarity",
        applies=lambda f: f["num_images_measured"] < ENOUGH_IMAGES,
        message=f"Similarity was measured on {{num_images_measured}} images; it is stable from {ENOUGH_IMAGES} on.",
        source="ten random subsets of three datasets",
    ),
    CautionRow(
        code="beyond_calibration",
        applies=lambda f: not f["calibrated_range"][0] <= f["effective_num_images"] <= f["calibrated_range"][1],
        message="{effective_num_images:,.0f} images are outside of what the advice was ever compared on "
        "({calibrated_range[0]:,.0f} to {calibrated_range[1]:,.0f}): it extrapolates.",
        source="range of the study",
    ),
    CautionRow(
        code="depths_disagree",
        applies=lambda f: f["depths_disagree"],
        message="The last stages of the network separate your classes {late_gain_points:+.1f} points better than the "
        "first two thirds, which speaks for the other side of the domain: where that was so in the study, the advice "
        "was right less often.",
        source="confidence, calibrated on the study",
    ),
    CautionRow(
        code="other_network",
        applies=lambda f: f["network_note"] != "",
        message="{network_note}",
        source="Keras' cache and server",
    ),
    CautionRow(
        code="bundled_ruler",
        applies=lambda f: f["ruler"].weights == BUNDLED,
        message="The ImageNet weights of the ruler could not be had: similarity is measured with the network in this "
        "package, which orders datasets much as the ruler does; the threshold was fitted with the ruler.",
        source="strategies/bundled/README.md",
    ),
    CautionRow(
        code="no_depth_curve",
        applies=lambda f: f["late_gain"] != f["late_gain"],
        message="A class has a single image for training and validation, so nothing can be held out: size and "
        "similarity decide without a look at the network's depth.",
        source="profile",
    ),
    CautionRow(
        code="few_images_per_class",
        applies=lambda f: f["min_images_per_class"] < 10,
        message="The smallest class has {min_images_per_class} images: its accuracy will be uncertain.",
        source="seed noise at 5 images per class is about 2 points (BiT, README)",
    ),
    CautionRow(
        code="imbalance",
        applies=lambda f: f["imbalance_ratio"] > 3,
        message="The largest class is {imbalance_ratio:.1f} times the smallest: read the balanced accuracy.",
        source="accuracy rewards the majority class",
    ),
    CautionRow(
        code="upscaling",
        applies=lambda f: f["image_size"] > 1.5 * f["median_short_side"],
        message="Half of the images are enlarged more than 1.5 times (median short side {median_short_side:.0f} px to "
        "{image_size} px): the blur makes them look further from ImageNet than they are.",
        source="Gaussian blur lowers the score monotonically",
    ),
    CautionRow(
        code="grayscale",
        applies=lambda f: f["num_grayscale"] > f["num_looked_at"] / 2,
        message="{num_grayscale:,} of {num_looked_at:,} images are grayscale: that is a shift of low-level features "
        "only.",
        source="by-depth distances",
    ),
    CautionRow(
        code="sampled",
        applies=lambda f: f["num_looked_at"] < f["num_images"],
        message="{num_looked_at:,} of {num_images:,} images were looked at, drawn at random from every class. Copies, "
        "unreadable and odd files among the others are not known; 'advisor check' reads all.",
        source="the advice takes no longer on a million images than on these, but for listing them",
    ),
)


def find_cautions(facts: Mapping[str, Any], findings: Sequence[Finding]) -> tuple[Caution, ...]:
    """Returns every caution that applies, then the findings about images, labels and splits.

    Args:
        facts: What the rows look at, by name.
        findings: What the checks of the dataset found.
    """
    rows = (row for row in CAUTIONS if row.applies(facts))
    return (
        *(Caution(code=row.code, message=row.message.format_map(dict(facts)), source=row.source) for row in rows),
        *(
            Caution(code=finding.code, message=f"{finding.message} {finding.effect}", source=finding.source)
            for finding in findings
        ),
    )
