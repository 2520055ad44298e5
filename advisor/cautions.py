"""Cautions as rows: what to keep in mind when reading the advice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.measure.similarity import ENOUGH_IMAGES
from advisor.quality.checks import Finding
from strategies.networks.weights import BUNDLED


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something to keep in mind when reading the advice. It never changes the recipe.

    Attributes:
        code: Name of the row, or of the finding that it comes from.
        message: One or two sentences.
        source: Why it is said.
    """

    code: str
    message: str
    source: str


@dataclass(frozen=True, kw_only=True)
class CautionRow:
    """When a caution applies, and what it says.

    Attributes:
        code: Name of the caution.
        applies: Whether it applies to the facts.
        message: Template over the facts.
        source: Why it is said.
        leads: Whether it is also said right below the recipe, because the result may be worth nothing otherwise.
    """

    code: str
    applies: Callable[[Mapping[str, Any]], bool]
    message: str
    source: str
    leads: bool = False


CAUTIONS: tuple[CautionRow, ...] = (
    CautionRow(
        code="few_images_for_similarity",
        applies=lambda f: f["num_images_measured"] < ENOUGH_IMAGES,
        message=f"Similarity was measured on only {{num_images_measured}} images. It is reliable from {ENOUGH_IMAGES} "
        "images.",
        source="ten random subsets of three datasets",
    ),
    CautionRow(
        code="beyond_study",
        applies=lambda f: not f["studied"].images[0] <= f["effective_num_images"] <= 2 * f["studied"].images[1],
        message="You have {effective_num_images:,.0f} images, and the study behind this advice covers "
        "{studied.images[0]:,.0f} to {studied.images[1]:,.0f}: what it expects is a guess.",
        source="range of the study",
    ),
    CautionRow(
        code="transformer",
        applies=lambda f: f["has_tokens"],
        message="{backbone} is a transformer, and the numbers come from convolutional networks only: no result of the "
        "study counts as like yours, so the confidence is one half.",
        source="range of the study",
    ),
    CautionRow(
        code="network_not_studied",
        applies=lambda f: f["backbone"] not in f["studied"].backbones,
        message="The study behind this advice was made with {networks}, not with {backbone}. On another network, what "
        "to expect is less certain.",
        source="range of the study",
    ),
    CautionRow(
        code="other_network",
        applies=lambda f: f["network_note"] != "",
        message="{network_note}",
        source="Keras' cache and download server",
    ),
    CautionRow(
        code="bundled_ruler",
        applies=lambda f: f["ruler"].weights == BUNDLED,
        message="The ImageNet weights of the ruler, the network that measures similarity, are not available. The "
        "network in this package measured it instead. It ranks datasets much as the ruler does, but the study was made "
        "with the ruler.",
        source="strategies/networks/bundled/README.md",
    ),
    CautionRow(
        code="no_depth_curve",
        applies=lambda f: math.isnan(f["head_accuracy"]),
        message="Too few images for training and validation: no image can be held out. The accuracy of a new head is "
        "unknown; size and similarity decide without it.",
        source="profile",
    ),
    CautionRow(
        code="few_images_per_class",
        applies=lambda f: f["min_images_per_class"] < 10,
        message="The smallest class has only {min_images_per_class} images, so its accuracy will be uncertain.",
        source="seed noise at 5 images per class is about 2 points (BiT, README)",
    ),
    CautionRow(
        code="imbalance",
        applies=lambda f: f["imbalance_ratio"] > 3,
        message="The largest class has {imbalance_ratio:.1f} times as many images as the smallest. Look at the "
        "balanced accuracy, which counts every class alike.",
        source="plain accuracy favors large classes",
    ),
    CautionRow(
        code="rare_class",
        applies=lambda f: f["min_images_per_class"] < 10 and f["imbalance_ratio"] > 50,
        message="A model may never answer the smallest class, which has {min_images_per_class} images beside "
        "{imbalance_ratio:.0f} times as many of the largest. Add images of it, or leave it out.",
        source="800 images against 2: every test image was given the larger class",
        leads=True,
    ),
    CautionRow(
        code="upscaling",
        applies=lambda f: f["image_size"] > 1.5 * f["median_short_side"],
        message="Half of the images or more are enlarged at least 1.5 times (median short side "
        "{median_short_side:.0f} px, input {image_size} px). The blur makes them look less similar to ImageNet than "
        "they are.",
        source="the more Gaussian blur, the lower the score",
    ),
    CautionRow(
        code="grayscale",
        applies=lambda f: f["num_grayscale"] > f["num_looked_at"] / 2,
        message="{num_grayscale:,} of {num_looked_at:,} images are grayscale. That changes low-level features only.",
        source="distances in the early, middle and late layers",
    ),
    CautionRow(
        code="sampled",
        applies=lambda f: f["num_looked_at"] < f["num_images"],
        message="Only a sample was examined: {num_looked_at:,} of {num_images:,} images, drawn at random from every "
        "class. Copies, unreadable files and unusual images among the others are unknown. 'advisor check' reads all.",
        source="a sample keeps the advice fast on datasets of any size",
    ),
)


def find_cautions(facts: Mapping[str, Any], findings: Sequence[Finding]) -> tuple[Caution, ...]:
    """Returns all cautions that apply, followed by the findings about images, labels and splits.

    Args:
        facts: The values that conditions and messages of the rows name.
        findings: What the checks found in the dataset.
    """
    rows = (row for row in CAUTIONS if row.applies(facts))
    return (
        *(Caution(code=row.code, message=row.message.format_map(dict(facts)), source=row.source) for row in rows),
        *(
            Caution(code=finding.code, message=f"{finding.message} {finding.effect}", source=finding.source)
            for finding in findings
        ),
    )


def leading(cautions: Sequence[Caution]) -> list[Caution]:
    """Returns the cautions that are also said right below the recipe."""
    leads = {row.code for row in CAUTIONS if row.leads}
    return [caution for caution in cautions if caution.code in leads]
