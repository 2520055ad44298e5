"""`Advice`: what was measured and decided for a dataset, as `fingerprint.json` and `plan.json` hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from advisor.cautions import Caution
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.measure.similarity import Similarity
from advisor.outlook import Outlook
from advisor.pilot import Pilot
from advisor.rules import RULES, EvidenceReading, Margins, Rule
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import Plan

FINGERPRINT_VERSION = 2  # 1 had no findings


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Advice:
    """Which recipe, why, and by what margin, with the plan that carries it out. A value: it needs no images.

    Attributes:
        plan: What `train` will do.
        recipe: The recipe that is recommended. The plan is for another one where the user overruled it.
        rule: The row of the 2 x 2 that applies.
        textbook_recipe: What the textbook's own thresholds (20,000 images) would say.
        margins: How far size and similarity lie from their thresholds.
        evidence: What each row of evidence that was looked at says.
        confidence: Probability that no other recipe is better by more than a point, calibrated on the study.
        borderline: Whether the confidence is so low that a pilot is worth its time.
        runner_up: The second most probable recipe.
        because: The reason in words, with the measured numbers.
        why_not: One sentence for each of the other three recipes.
        cautions: What the reader should know.
        profile: What was found in the files.
        similarity: How close the images are to ImageNet.
        depth_curve: How well the classes are separable at each depth; `None` where nothing could be held out.
        outlook: What to expect, whether it is worth the time, and what would change the advice.
        pilot: The short head-to-head that replaced the guess, if one was asked for.
        costs: What each recipe is expected to cost on this machine, by its name, if that was asked for.
    """

    plan: Plan
    recipe: str
    rule: Rule
    textbook_recipe: str
    margins: Margins
    evidence: tuple[EvidenceReading, ...]
    confidence: float
    borderline: bool
    runner_up: str
    because: str
    why_not: Mapping[str, str]
    cautions: tuple[Caution, ...]
    profile: DatasetProfile
    similarity: Similarity
    depth_curve: DepthCurve | None
    outlook: Outlook
    pilot: Pilot | None = None
    costs: Mapping[str, RecipeCost] | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Returns the content of `fingerprint.json`: the facts that were measured."""
        return {
            "version": FINGERPRINT_VERSION,
            "profile": self.profile.to_dict(),
            "similarity": self.similarity.to_dict(),
            "depth_curve": None if self.depth_curve is None else self.depth_curve.to_dict(),
        }

    def decision(self) -> dict[str, Any]:
        """Returns the content of `plan.json` under `advice`: what was decided, and why."""
        values: dict[str, Any] = {
            "source": self.rule.source,
            "recipe": self.recipe,
            "textbook_recipe": self.textbook_recipe,
            "margins": asdict(self.margins),
            "evidence": [asdict(reading) for reading in self.evidence],
            "confidence": self.confidence,
            "borderline": self.borderline,
            "runner_up": self.runner_up,
            "because": self.because,
            "why_not": dict(self.why_not),
            "cautions": [asdict(caution) for caution in self.cautions],
            "outlook": self.outlook.to_dict(),
        }
        if self.pilot is not None:
            values["pilot"] = self.pilot.to_dict()
        if self.costs is not None:
            values["costs"] = {recipe: asdict(cost) for recipe, cost in self.costs.items()}
        return values

    @classmethod
    def from_dicts(cls, fingerprint: Mapping[str, Any], plan: Plan) -> Advice:
        """Reads the advice that a `fingerprint.json` and a plan hold.

        Args:
            fingerprint: Content of `fingerprint.json`.
            plan: The plan beside it, with the advice that led to it.
        """
        decided, curve = plan.advice, fingerprint["depth_curve"]
        plain = ("recipe", "textbook_recipe", "confidence", "borderline", "runner_up", "because", "why_not")
        pilot, costs = decided.get("pilot"), decided.get("costs")
        return cls(
            plan=plan,
            rule=next(row for row in RULES if row.recipe == decided["recipe"]),
            margins=Margins.from_dict(decided["margins"]),
            evidence=tuple(
                EvidenceReading(**{**reading, "decides": tuple(reading["decides"])}) for reading in decided["evidence"]
            ),
            cautions=tuple(Caution(**caution) for caution in decided["cautions"]),
            profile=DatasetProfile.from_dict(fingerprint["profile"]),
            similarity=Similarity.from_dict(fingerprint["similarity"]),
            depth_curve=None if curve is None else DepthCurve(**curve),
            outlook=Outlook.from_dict(decided["outlook"]),
            pilot=None if pilot is None else Pilot.from_dict(pilot),
            costs=None if costs is None else {recipe: RecipeCost(**cost) for recipe, cost in costs.items()},
            **{name: decided[name] for name in plain},
        )
