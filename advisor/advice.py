"""`Advice`: what was measured and decided for a dataset; the content of `fingerprint.json` and `plan.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from advisor.cautions import Caution
from advisor.expectation import Expectation
from advisor.measure.learning_curve import LearningCurve
from advisor.measure.mirroring import Mirroring
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.measure.resizing import Resizing
from advisor.measure.similarity import Similarity
from advisor.race import Race
from advisor.rules import Answers
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import Plan

FINGERPRINT_VERSION = 2  # version 1 had no findings


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Advice:
    """Which recipe to use, why, and what to expect, with the plan that carries it out.

    It holds facts alone, so it can be read back from its files without the images.

    Attributes:
        plan: The plan that `train` carries out.
        recipe: The recommended recipe. Where the user overruled it, the plan is for another one.
        prefer: How much accuracy the user gives for time: a row of `advisor.preferences.PREFERENCES`.
        answers: What was measured, in the textbook's words: small or large, similar to ImageNet or different from it.
        expected: What each of the four recipes is expected to reach, and what that rests on.
        costs: Time and memory of each recipe on this machine, by its name: estimated, or measured if requested.
        confidence: Probability that no other recipe is better by more than a point.
        runner_up: The one of the other recipes that is expected to reach the most.
        cheapest: The cheapest recipe within half a point of the best, whatever the preference.
        because: The reasons in words, a sentence each, with the measured numbers.
        cautions: What to keep in mind when reading the advice.
        profile: Size, balance, resolution and quality of the dataset.
        similarity: How similar the images are to those of ImageNet.
        depth_curve: How well each stage separates the classes; `None` where no image could be held out.
        learning_curve: How accurate a new head is with fewer images, and what to expect of more; `None` likewise, and
            where an earlier version measured the images.
        mirroring: Whether the images mean the same when they are mirrored; `None` where that was not measured.
        resizing: How well the images are recognized squeezed to a square, and how well cropped; likewise.
        race: The short comparison on the user's images that decided, if one was requested.
    """

    plan: Plan
    recipe: str
    prefer: str
    answers: Answers
    expected: Expectation
    costs: Mapping[str, RecipeCost]
    confidence: float
    runner_up: str
    cheapest: str
    because: tuple[str, ...]
    cautions: tuple[Caution, ...]
    profile: DatasetProfile
    similarity: Similarity
    depth_curve: DepthCurve | None
    learning_curve: LearningCurve | None = None
    mirroring: Mirroring | None = None
    resizing: Resizing | None = None
    race: Race | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Returns the content of `fingerprint.json`: the measured facts."""
        return {
            "version": FINGERPRINT_VERSION,
            "profile": self.profile.to_dict(),
            "similarity": self.similarity.to_dict(),
            "depth_curve": None if self.depth_curve is None else self.depth_curve.to_dict(),
            "learning_curve": None if self.learning_curve is None else self.learning_curve.to_dict(),
            "mirroring": None if self.mirroring is None else self.mirroring.to_dict(),
            "resizing": None if self.resizing is None else self.resizing.to_dict(),
        }

    def decision(self) -> dict[str, Any]:
        """Returns the part `advice` of `plan.json`: what was decided, and why."""
        return {
            "recipe": self.recipe,
            "prefer": self.prefer,
            "answers": asdict(self.answers),
            "textbook_recipe": self.answers.recipe,
            "expected": self.expected.to_dict(),
            "costs": {recipe: asdict(cost) for recipe, cost in self.costs.items()},
            "confidence": self.confidence,
            "runner_up": self.runner_up,
            "cheapest": self.cheapest,
            "because": list(self.because),
            "cautions": [asdict(caution) for caution in self.cautions],
            "race": None if self.race is None else self.race.to_dict(),
        }

    @classmethod
    def from_dicts(cls, fingerprint: Mapping[str, Any], plan: Plan) -> Advice:
        """Reads advice back from the files of an advice folder or a run folder.

        Args:
            fingerprint: Content of `fingerprint.json`.
            plan: The plan from the same folder, which holds the advice that led to it.
        """
        decided, curve, learning = plan.advice, fingerprint["depth_curve"], fingerprint.get("learning_curve")
        # Earlier releases did not measure these.
        mirroring, resizing = fingerprint.get("mirroring"), fingerprint.get("resizing")
        return cls(
            plan=plan,
            answers=Answers(**decided["answers"]),
            expected=Expectation.from_dict(decided["expected"]),
            costs={recipe: RecipeCost(**cost) for recipe, cost in decided["costs"].items()},
            because=tuple(decided["because"]),
            cautions=tuple(Caution(**caution) for caution in decided["cautions"]),
            profile=DatasetProfile.from_dict(fingerprint["profile"]),
            similarity=Similarity.from_dict(fingerprint["similarity"]),
            depth_curve=None if curve is None else DepthCurve.from_dict(curve),
            learning_curve=None if learning is None else LearningCurve.from_dict(learning),
            mirroring=None if mirroring is None else Mirroring.from_dict(mirroring),
            resizing=None if resizing is None else Resizing.from_dict(resizing),
            race=None if decided["race"] is None else Race.from_dict(decided["race"]),
            **{name: decided[name] for name in ("recipe", "prefer", "confidence", "runner_up", "cheapest")},
        )
