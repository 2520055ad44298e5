"""`Advice`: what was measured and decided for a dataset; the content of `fingerprint.json` and `plan.json`."""

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

FINGERPRINT_VERSION = 2  # version 1 had no findings


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Advice:
    """Which recipe to use, why, and by what margin, with the plan that carries it out.

    It holds facts alone, so it can be read back from its files without the images.

    Attributes:
        plan: The plan that `train` carries out.
        recipe: The recommended recipe. Where the user overruled it, the plan is for another one.
        rule: The row of the 2 x 2 of size and domain that applies.
        textbook_recipe: The recipe by the textbook's own thresholds (a dataset is large from 20,000 images).
        margins: How far size and similarity lie from their thresholds.
        evidence: What each row of evidence in use says.
        confidence: Probability that no other recipe is better by more than a point, calibrated on the study.
        borderline: Whether the confidence is so low that a pilot is worth its time.
        runner_up: The second most probable recipe.
        because: The reason in words, with the measured numbers.
        why_not: The reason against each of the other three recipes, by its name.
        cautions: What to keep in mind when reading the advice.
        profile: Size, balance, resolution and quality of the dataset.
        similarity: How similar the images are to those of ImageNet.
        depth_curve: How well each stage separates the classes; `None` where no image could be held out.
        outlook: What to expect, whether it is worth the time, and what would change the advice.
        pilot: The short comparison that decided between the two best recipes, if one was requested.
        costs: Expected time and memory of each recipe on this machine, by its name, if requested.
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
        """Returns the content of `fingerprint.json`: the measured facts."""
        return {
            "version": FINGERPRINT_VERSION,
            "profile": self.profile.to_dict(),
            "similarity": self.similarity.to_dict(),
            "depth_curve": None if self.depth_curve is None else self.depth_curve.to_dict(),
        }

    def decision(self) -> dict[str, Any]:
        """Returns the part `advice` of `plan.json`: what was decided, and why."""
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
        """Reads advice back from the files of an advice folder or a run folder.

        Args:
            fingerprint: Content of `fingerprint.json`.
            plan: The plan from the same folder, which holds the advice that led to it.
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
            depth_curve=None if curve is None else DepthCurve.from_dict(curve),
            outlook=Outlook.from_dict(decided["outlook"]),
            pilot=None if pilot is None else Pilot.from_dict(pilot),
            costs=None if costs is None else {recipe: RecipeCost(**cost) for recipe, cost in costs.items()},
            **{name: decided[name] for name in plain},
        )
