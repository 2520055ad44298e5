"""Rules and evidence as rows; which rule applies to a dataset, and by what margin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from advisor.measure.probes import DepthCurve
from advisor.measure.similarity import Similarity
from advisor.thresholds import Thresholds, fitted, thresholds
from strategies.errors import UserError, unknown_name
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

    def measures(self) -> dict[str, float]:
        """Returns every number that a rule or a row of evidence compares; NaN where it is unknown."""
        curve = self.depth_curve
        return {
            "effective_num_images": float(self.effective_num_images),
            "similarity": float(self.similarity.score or 0),
            "late_gain": math.nan if curve is None else curve.late_gain,
            "headroom": math.nan if curve is None else 1 - curve.accuracy[-1],
            "images_per_class": self.effective_num_images / self.num_classes,
        }


# The two questions of the 2 x 2, each with its two answers: below the threshold, and at or above it.
SIDES = {"size": ("small", "large"), "domain": ("different", "similar")}
MEASURES = {"size": "effective_num_images", "domain": "similarity"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One cell of the 2 x 2 of size and domain, and the recipe that it leads to."""

    size: str
    domain: str
    recipe: str
    source: str


# One row per cell; their order does not matter. The row of the recipe says when it applies and why.
RULES: tuple[Rule, ...] = tuple(
    Rule(size=recipe.size, domain=recipe.domain, recipe=recipe.name, source=recipe.source)
    for recipe in RECIPES.values()
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A measurement that can overrule the answer of a threshold to one of the two questions, or to both.

    Attributes:
        name: Name of the measure in `Facts.measures`; also the name under which users leave the row out.
        when: `"below"` or `"from"`: the side of its threshold on which the row applies.
        answers: Question -> answer where the row applies. A question that is not named keeps its answer.
        spread: Typical error of the measure, for the confidence.
        words: What is said where the row applies: a sentence without its period. A template over `value` and `number`
            (its threshold), and over `points` and `number_points`, the same two times 100.
        source: Where the idea comes from. `advisor/evidence` measures what it is worth.
    """

    name: str
    when: str
    answers: Mapping[str, str]
    spread: float
    words: str
    source: str

    def applies(self, value: Any, number: float) -> Any:
        """Returns whether the row applies to a value, or to each value of an array; never where it is NaN."""
        return np.asarray(value) < number if self.when == "below" else np.asarray(value) >= number


EVIDENCE: tuple[Evidence, ...] = (
    Evidence(
        name="images_per_class",
        when="from",
        answers={"domain": "different"},
        spread=20.0,
        words="{value:.0f} images per class reach the threshold of {number:.0f}, enough to train new last stages, so "
        "these images count as different from ImageNet",
        source="pretraining helps less the more images each class has: Kornblith et al. 2019, section 4.7",
    ),
    Evidence(
        name="late_gain",
        when="below",
        answers={"domain": "different"},
        spread=0.04,
        words="The last stages of the network add {points:+.1f} points of accuracy to the first two thirds, below the "
        "threshold of {number_points:+.0f}, so these images count as different from ImageNet",
        source="linear probes by depth: Alain & Bengio 2016; layers that transfer poorly: Yosinski et al. 2014",
    ),
    Evidence(
        name="headroom",
        when="below",
        answers={"size": "small", "domain": "similar"},
        spread=0.02,
        words="A new head alone misclassifies {points:.1f}% of the images, below the threshold of "
        "{number_points:.0f}%, so little is left to gain and this dataset counts as small and similar to ImageNet",
        source="room to improve on the frozen network: Kornblith et al. 2019, Do Better ImageNet Models Transfer "
        "Better?",
    ),
)


def sides(measures: Mapping[str, Any], against: Thresholds, evidence: Sequence[Evidence] = EVIDENCE) -> dict[str, Any]:
    """Answers both questions: thresholds first, then the evidence that may overrule them.

    Args:
        measures: Measured values by name: single numbers, or arrays of one shape.
        against: The thresholds that they are compared with.
        evidence: Rows that may overrule the thresholds, in order; the last row that applies decides.

    Returns:
        For `size` and `domain`, whether the answer is the upper one (large, similar), in the shape of the measures.
    """
    answers = {question: np.asarray(measures[MEASURES[question]]) >= against[MEASURES[question]] for question in SIDES}
    for row in evidence:
        if (number := against.get(row.name)) is None:
            continue
        applies = row.applies(measures[row.name], number)
        for question, side in row.answers.items():
            answers[question] = np.where(applies, side == SIDES[question][1], answers[question])
    return answers


@dataclass(frozen=True, kw_only=True)
class SizeMargin:
    """How far the number of images lies from its threshold.

    Attributes:
        value: Effective images for training and validation.
        threshold: Number of images from which a dataset counts as large.
        factor: Value divided by threshold.
        side: `small` or `large`.
    """

    value: float
    threshold: float
    factor: float
    side: str


@dataclass(frozen=True, kw_only=True)
class SimilarityMargin:
    """How far the similarity to ImageNet lies from its threshold.

    Attributes:
        value: The score.
        low: Lower end of the 90% interval of the score.
        high: Upper end.
        threshold: Score from which images count as similar.
        difference: Value minus threshold.
        side: `different` or `similar`.
    """

    value: float
    low: float
    high: float
    threshold: float
    difference: float
    side: str


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How far size and similarity lie from their thresholds."""

    size: SizeMargin
    similarity: SimilarityMargin

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Margins:
        """Reads the margins of `plan.json`."""
        return cls(size=SizeMargin(**values["size"]), similarity=SimilarityMargin(**values["similarity"]))


@dataclass(frozen=True, kw_only=True)
class EvidenceReading:
    """What one row of evidence says about a dataset.

    Attributes:
        name: Name of the row.
        value: The measured value; `None` where it is unknown.
        when: `below` or `from`: the side of its threshold on which the row applies.
        number: Its threshold.
        answers: Question -> answer where the row applies; otherwise empty.
        decides: The questions that this row decides: it applies, and no later row answers them.
        overrules: Whether an answer differs from that of the threshold of size or similarity.
        because: The reason as a sentence without its period; empty where the row does not apply.
        source: Where the idea comes from.
    """

    name: str
    value: float | None
    when: str
    number: float
    answers: Mapping[str, str]
    decides: tuple[str, ...]
    overrules: bool
    because: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The rule that applies, and by what margin.

    Attributes:
        rule: The row that applies.
        margins: How far size and similarity lie from their thresholds.
        evidence: What each row of evidence in use says.
        probabilities: Recipe -> probability, from the distances of all measures to their thresholds.
        runner_up: The most probable of the other recipes.
        confidence: Probability that no other recipe is better by more than a point, calibrated on the study.
        depths_disagree: Whether the accuracy that the last stages add points to the other domain.
        because: The reason in words, with the measured numbers.
        why_not: For each of the other three recipes, which of its conditions are not met.
    """

    rule: Rule
    margins: Margins
    evidence: tuple[EvidenceReading, ...]
    probabilities: Mapping[str, float]
    runner_up: str
    confidence: float
    depths_disagree: bool
    because: str
    why_not: Mapping[str, str]


def evidence_rows(without: Sequence[str] = ()) -> tuple[Evidence, ...]:
    """Returns the rows of evidence, except those that are named.

    Args:
        without: Names of rows to leave out.

    Raises:
        UnknownNameError: If there is no such row.
    """
    known = {row.name: row for row in EVIDENCE}
    for name in without:
        if name not in known:
            raise unknown_name("row of evidence", name, known)
    return tuple(row for row in EVIDENCE if row.name not in without)


def rate_factor(facts: Facts, rates: Mapping[str, float] | None = None) -> float:
    """Returns by what factor release 0.5.0 multiplied the learning rates of `fine_tune_all` for a dataset.

    The results that the rules were fitted to are from that release. Today's rates are those of the plan.

    Args:
        facts: What was measured.
        rates: Below this `similarity` to ImageNet the rates are multiplied by `factor`. Default: the fitted numbers.
    """
    row = fitted()["rates"] if rates is None else rates
    return float(row["factor"]) if facts.measures()["similarity"] < row["similarity"] else 1.0


def choose(measures: Mapping[str, Any], against: Thresholds, evidence: Sequence[Evidence] = EVIDENCE) -> Any:
    """Returns the index in `RULES` of the row that applies; arguments as in `sides`."""
    answers = sides(measures, against, evidence)
    index = np.zeros(np.broadcast(*answers.values()).shape, dtype=int)
    for place, row in enumerate(RULES):
        applies = (answers["size"] == (row.size == SIDES["size"][1])) & (
            answers["domain"] == (row.domain == SIDES["domain"][1])
        )
        index = np.where(applies, place, index)
    return index


def apply_rules(
    facts: Facts, *, compared_with: Thresholds | None = None, evidence: Sequence[Evidence] = EVIDENCE
) -> Verdict:
    """Applies the 2 x 2 of size and similarity, and the evidence that may overrule either answer.

    Args:
        facts: What was measured.
        compared_with: The thresholds; default: those of the advice.
        evidence: Rows of evidence in use; default: all.
    """
    against = compared_with if compared_with is not None else thresholds()
    measures = facts.measures()
    rule = RULES[int(choose(measures, against, evidence))]
    by_threshold = {question: SIDES[question][int(side)] for question, side in sides(measures, against, ()).items()}
    readings = read_evidence(measures, against, evidence, by_threshold)
    words = _words(measures, against, by_threshold) | {
        question: reading.because for reading in readings for question in reading.decides
    }
    probabilities = cell_probabilities(facts, against, evidence)
    disagree = depths_disagree(measures, rule, fitted()["late_gain"])
    because = f"{words['size']}. {words['domain']}. {RECIPES[rule.recipe].because}"
    if words["size"] == words["domain"]:  # a single row of evidence answers both questions
        because = f"{words['size']}."
    return Verdict(
        rule=rule,
        margins=_margins(facts, against, by_threshold),
        evidence=readings,
        probabilities=probabilities,
        runner_up=max((row.recipe for row in RULES if row != rule), key=lambda name: probabilities[name]),
        confidence=calibrated_confidence(probabilities[rule.recipe], disagree),
        depths_disagree=disagree,
        because=because,
        why_not=_why_not(rule, words),
    )


def _margins(facts: Facts, against: Thresholds, by_threshold: Mapping[str, str]) -> Margins:
    size, domain = against["effective_num_images"], against["similarity"]
    score = facts.similarity.score or 0.0
    return Margins(
        size=SizeMargin(
            value=facts.effective_num_images,
            threshold=size,
            factor=facts.effective_num_images / size,
            side=by_threshold["size"],
        ),
        similarity=SimilarityMargin(
            value=score,
            low=facts.similarity.low or 0.0,
            high=facts.similarity.high or 0.0,
            threshold=domain,
            difference=score - domain,
            side=by_threshold["domain"],
        ),
    )


def read_evidence(
    measures: Mapping[str, float], against: Thresholds, evidence: Sequence[Evidence], by_threshold: Mapping[str, str]
) -> tuple[EvidenceReading, ...]:
    """Returns what each row of evidence says; the last row that answers a question decides it.

    Args:
        measures: From `Facts.measures`.
        against: The thresholds. A row whose threshold is `None` is switched off and left out.
        evidence: Rows of evidence.
        by_threshold: Question -> answer of the thresholds alone.
    """
    readings: list[EvidenceReading] = []
    for row in evidence:
        if (number := against.get(row.name)) is None:
            continue
        value = measures[row.name]
        answers = dict(row.answers) if row.applies(value, number) else {}
        readings = [
            replace(earlier, decides=tuple(question for question in earlier.decides if question not in answers))
            for earlier in readings
        ]
        filled = {"value": value, "number": number, "points": 100 * value, "number_points": 100 * number}
        readings.append(
            EvidenceReading(
                name=row.name,
                value=None if math.isnan(value) else value,
                when=row.when,
                number=number,
                answers=answers,
                decides=tuple(answers),
                overrules=any(side != by_threshold[question] for question, side in answers.items()),
                because=row.words.format_map(filled) if answers else "",
                source=row.source,
            )
        )
    return tuple(readings)


_WORDS = {
    "small": "{effective_num_images:,.0f} effective images (copies count once) are below the threshold of "
    "{threshold:,.0f}, so this dataset counts as small",
    "large": "{effective_num_images:,.0f} effective images (copies count once) reach the threshold of "
    "{threshold:,.0f}, so this dataset counts as large",
    "similar": "The similarity to ImageNet, {similarity:.2f}, reaches the threshold of {threshold:.2f}, so these "
    "images count as similar",
    "different": "The similarity to ImageNet, {similarity:.2f}, is below the threshold of {threshold:.2f}, so these "
    "images count as different",
}


def _words(measures: Mapping[str, float], against: Thresholds, by_threshold: Mapping[str, str]) -> dict[str, str]:
    return {
        question: _WORDS[side].format_map({**measures, "threshold": against[MEASURES[question]]})
        for question, side in by_threshold.items()
    }


def _why_not(rule: Rule, words: Mapping[str, str]) -> dict[str, str]:
    """Returns what each of the other recipes is for, and then why this dataset is something else."""
    texts = {}
    for row in RULES:
        if row == rule:
            continue
        purposes, reasons = [], []
        if row.size != rule.size:
            purposes.append(f"{row.size} datasets")
            reasons.append(words["size"])
        if row.domain != rule.domain:
            purposes.append(f"images {row.domain} {'to' if row.domain == 'similar' else 'from'} ImageNet")
            reasons.append(words["domain"])
        distinct = dict.fromkeys(reasons)  # a single row of evidence may answer both questions
        sentences = [f"{row.recipe} is for {' of '.join(purposes)}", *distinct]
        texts[row.recipe] = " ".join(f"{sentence}." for sentence in sentences)
    return texts


def cell_probabilities(facts: Facts, against: Thresholds, evidence: Sequence[Evidence] = EVIDENCE) -> dict[str, float]:
    """Returns the probability of the cell of each recipe, given the error of every measure.

    Args:
        facts: What was measured.
        against: The thresholds.
        evidence: Rows of evidence in use.
    """
    measures = facts.measures()
    score, low, high = measures["similarity"], facts.similarity.low or 0, facts.similarity.high or 0
    # The thresholds themselves are uncertain: by a third of a decade, and by 0.1. A 90% interval is 3.29 deviations.
    chances = {
        "size": _logistic(3 * math.log10(measures["effective_num_images"] / against["effective_num_images"])),
        "domain": _logistic(1.7 * (score - against["similarity"]) / math.hypot((high - low) / 3.29, 0.1)),
    }
    for row in evidence:
        value, number = measures[row.name], against.get(row.name)
        if number is None or math.isnan(value):
            continue
        past = number - value if row.when == "below" else value - number
        applies = _logistic(1.7 * past / row.spread)
        for question, side in row.answers.items():
            chances[question] = applies * (side == SIDES[question][1]) + (1 - applies) * chances[question]
    return {
        row.recipe: math.prod(
            chances[question] if side == SIDES[question][1] else 1 - chances[question]
            for question, side in (("size", row.size), ("domain", row.domain))
        )
        for row in RULES
    }


def depths_disagree(measures: Mapping[str, float], rule: Rule, late_gain: float) -> bool:
    """Returns whether the accuracy that the last stages add points to another domain than the rule that applies.

    Args:
        measures: From `Facts.measures`.
        rule: The row that applies.
        late_gain: The gain from which the last stages do as well as they do on images similar to ImageNet.
    """
    value = measures["late_gain"]
    return not math.isnan(value) and (value >= late_gain) != (rule.domain == SIDES["domain"][1])


def calibrated_confidence(probability: float, disagree: bool, platt: Mapping[str, float] | None = None) -> float:
    """Turns the probability of a cell into a confidence: how often the study found such advice to be right.

    Args:
        probability: From `cell_probabilities`.
        disagree: From `depths_disagree`.
        platt: `intercept`, `slope` of the log odds, and `disagree`, which is added where the depths disagree. Default:
            the fitted numbers.

    Reference:
        Platt 1999, Probabilistic Outputs for Support Vector Machines.
    """
    row = fitted()["confidence"] if platt is None else platt
    return _logistic(row["intercept"] + row["slope"] * log_odds(probability) + row["disagree"] * disagree)


def log_odds(probability: float) -> float:
    """Returns the logarithm of the odds; probabilities are limited to the range from 0.001 to 0.999."""
    kept = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(kept / (1 - kept))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, value))))
