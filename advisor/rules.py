"""The textbook's two questions, answered with its own numbers, and the recipe that it names for the answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from advisor.calibration import textbook_numbers
from advisor.measure.probes import DepthCurve
from advisor.measure.similarity import Similarity
from strategies.errors import UserError
from strategies.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The measurements that decide. They come from the training and validation images, never from the test images.

    Attributes:
        effective_num_images: Number of images for training and validation. Copies count once.
        num_classes: Number of classes.
        similarity: Similarity to ImageNet with its interval, measured with a calibrated ruler.
        depth_curve: How well each stage separates the classes; `None` where no image could be held out.
    """

    effective_num_images: float
    num_classes: int
    similarity: Similarity
    depth_curve: DepthCurve | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.effective_num_images) and self.effective_num_images >= 1):
            raise UserError(f"Expected one image or more. Received: {self.effective_num_images}. Check the profile.")
        score, low, high = self.similarity.score, self.similarity.low, self.similarity.high
        if score is None or low is None or high is None:
            raise UserError(
                f"Expected a similarity from a calibrated ruler. Received: one from {self.similarity.ruler}, which "
                f"measures distances but no scores. Measure it with the default ruler."
            )
        if not 0 <= low <= score <= high <= 1:
            raise UserError(
                f"Expected a similarity in [0, 1] within its interval. Received: {score} in [{low}, {high}]. "
                f"Measure it with advisor.measure_similarity."
            )

    @classmethod
    def from_fingerprint(cls, fingerprint: Mapping[str, Any]) -> Facts:
        """Reads the facts from the content of `fingerprint.json`."""
        curve = fingerprint["depth_curve"]
        return cls(
            effective_num_images=fingerprint["profile"]["effective_num_images"],
            num_classes=fingerprint["profile"]["num_classes"],
            similarity=Similarity.from_dict(fingerprint["similarity"]),
            depth_curve=None if curve is None else DepthCurve.from_dict(curve),
        )

    @property
    def head_accuracy(self) -> float | None:
        """Cross-validated accuracy of a new head on frozen features; `None` where no image could be held out."""
        return None if self.depth_curve is None else self.depth_curve.accuracy[-1]

    def measures(self) -> dict[str, float]:
        """Returns every number that a rule or the likeness of two datasets compares; NaN where it is unknown."""
        curve = self.depth_curve
        return {
            "effective_num_images": float(self.effective_num_images),
            "images_per_class": self.effective_num_images / self.num_classes,
            "similarity": float(self.similarity.score or 0),
            "late_gain": math.nan if curve is None else curve.late_gain,
            "head_accuracy": math.nan if curve is None else curve.accuracy[-1],
        }


@dataclass(frozen=True, kw_only=True)
class Question:
    """One of the two questions of the textbook.

    Attributes:
        name: `size` or `domain`.
        measure: The name in `Facts.measures` of the number that answers it.
        below: The answer below the textbook's number.
        reached: The answer from that number on.
    """

    name: str
    measure: str
    below: str
    reached: str

    def answer(self, measures: Mapping[str, float]) -> str:
        """Returns the answer for measured values."""
        return self.reached if measures[self.measure] >= textbook_numbers()[self.measure].value else self.below


QUESTIONS: tuple[Question, ...] = (
    Question(name="size", measure="effective_num_images", below="small", reached="large"),
    Question(name="domain", measure="similarity", below="different", reached="similar"),
)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What was measured, in the textbook's words.

    Attributes:
        size: `small` or `large`.
        domain: `similar` to ImageNet or `different` from it.
    """

    size: str
    domain: str

    @property
    def recipe(self) -> str:
        """The recipe that the textbook names for these answers."""
        return next(row.name for row in RECIPES.values() if (row.size, row.domain) == (self.size, self.domain))


def textbook_answers(facts: Facts) -> Answers:
    """Answers the textbook's two questions.

    Args:
        facts: What was measured.

    Example:
        >>> from advisor import Similarity
        >>> from advisor.rules import Facts, textbook_answers
        >>> from strategies.networks.network import PretrainedNetwork
        >>> ruler = PretrainedNetwork(backbone="MobileNetV2-0.35", weights="imagenet", image_size=128)
        >>> near = Similarity(
        ...     score=0.8, low=0.78, high=0.82, distance=0.01, floor=0.005, by_depth={}, ruler=ruler,
        ...     calibrated=True, num_images=300)
        >>> textbook_answers(Facts(effective_num_images=300, num_classes=5, similarity=near)).recipe
        'head_only'
    """
    measures = facts.measures()
    return Answers(**{question.name: question.answer(measures) for question in QUESTIONS})
