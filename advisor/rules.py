"""Rules and evidence as rows; the rule that applies, and by what margin."""

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
    """What decides: measured on the training and validation images, nothing of it on the test images.

    Attributes:
        effective_num_images: Images for training and validation, net of duplicates.
        num_classes: Number of classes.
        similarity: To ImageNet, with its interval, measured with a calibrated ruler.
        depth_curve: How well the classes are separable by depth, or `None` where nothing could be held out.
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
                f"Expected a similarity from a calibrated ruler. Received: one from {self.similarity.ruler}, whose "
                f"distances decide nothing. Measure it with the default ruler."
            )
        if not 0 <= low <= score <= high <= 1:
            raise UserError(
                f"Expected a similarity in [0, 1] within its interval. Received: {score} in [{low}, {high}]. "
                f"Measure it with advisor.measure_similarity."
            )

    @classmethod
    def from_fingerprint(cls, fingerprint: Mapping[str, Any]) -> Facts:
        """Reads what decides from the content of `fingerprint.json`."""
        curve = fingerprint["depth_curve"]
        return cls(
            effective_num_images=fingerprint["profile"]["effective_num_images"],
            num_classes=fingerprint["profile"]["num_classes"],
            similarity=Similarity.from_dict(fingerprint["similarity"]),
            depth_curve=None if curve is None else DepthCurve(**curve),
        )

    def measures(self) -> dict[str, float]:
        """Returns every number that a rule or a row of evidence may look at; NaN where it is not known."""
        curve = self.depth_curve
        return {
            "effective_num_images": float(self.effective_num_images),
            "similarity": float(self.similarity.score or 0),
            "late_gain": math.nan if curve is None else curve.late_gain,
            "headroom": math.nan if curve is None else 1 - curve.accuracy[-1],
            "images_per_class": self.effective_num_images / self.num_classes,
        }


# The two questions of the 2 x 2, and their answers: below the threshold, at or above it.
SIDES = {"size": ("small", "large"), "domain": ("different", "similar")}
MEASURES = {"size": "effective_num_images", "domain": "similarity"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One cell of the 2 x 2 of size and domain: which recipe it leads to."""

    size: str
    domain: str
    recipe: str
    source: str


# One row per cell, no order, no fall-through; the recipe row says when it applies and why.
RULES: tuple[Rule, ...] = tuple(
    Rule(size=recipe.size, domain=recipe.domain, recipe=recipe.name, source=recipe.source)
    for recipe in RECIPES.values()
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Something measured that overrules the threshold's answer to one of the two questions, or to both.

    Attributes:
        name: Of the measure in `Facts.measures`, and of the option that leaves it out.
        when: `"below"` or `"from"`: on which side of its number the row speaks.
        answers: Question -> answer there; what is not named stays as it is.
        spread: By how much the measure errs; for the confidence.
        words: What to say then; a template over `value` and `number`, each also in `points`.
        source: Where the idea comes from; what it is worth stands in the evidence.
    """

    name: str
    when: str
    answers: Mapping[str, str]
    spread: float
    words: str
    source: str

    def applies(self, value: Any, number: float) -> Any:
        """Returns whether the row speaks, for a value or an array of them; never where it is not known."""
        return np.asarray(value) < number if self.when == "below" else np.asarray(value) >= number


EVIDENCE: tuple[Evidence, ...] = (
    Evidence(
        name="images_per_class",
        when="from",
        answers={"domain": "different"},
        spread=20.0,
        words="{value:.0f} images for each class are at least {number:.0f}, enough to put new last stages in the place "
        "of those that fit ImageNet (different)",
        source="pretraining helps less with more images of each class: Kornblith et al. 2019, section 4.7",
    ),
    Evidence(
        name="late_gain",
        when="below",
        answers={"domain": "different"},
        spread=0.04,
        words="the last stages of the network separate your classes {points:+.1f} points better than the first "
        "two thirds, less than {number_points:+.0f} (different)",
        source="linear probes by depth: Alain & Bengio 2016; layers that transfer badly: Yosinski et al. 2014",
    ),
    Evidence(
        name="headroom",
        when="below",
        answers={"size": "small", "domain": "similar"},
        spread=0.02,
        words="a new head alone leaves {points:.1f} % of the images wrong, less than {number_points:.0f} %: nothing "
        "is left to gain (small and similar)",
        source="what is left to gain over the frozen network: Kornblith et al. 2019, Do Better ImageNet Models "
        "Transfer Better?",
    ),
)


def sides(measures: Mapping[str, Any], against: Thresholds, evidence: Sequence[Evidence] = EVIDENCE) -> dict[str, Any]:
    """Answers both questions: whether each is at or above its threshold, after the evidence has had its say.

    Args:
        measures: Thresholds, or arrays of them, by name.
        against: What they are compared with.
        evidence: Rows that may overrule the thresholds.

    Returns:
        `size` and `domain`, true for the upper side, of the measures' shape.
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
        threshold: From which on a dataset is large.
        factor: Value over threshold.
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
        value: The score, with its 90 % interval, `low` to `high`.
        threshold: From which on images are similar.
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
        value: What was measured; `None` where it is not known.
        when: `below` or `from`: on which side of its threshold the row applies.
        number: Its threshold.
        answers: Question -> answer, where the row applies; else empty.
        decides: The questions that this row has the last word on.
        overrules: Whether it changed the answer of a threshold.
        because: Why, in words; empty where the row does not apply.
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
        evidence: What each row of evidence that is switched on says.
        probabilities: Of each recipe, from how far all measures lie from what they are compared with.
        runner_up: The most probable of the other recipes.
        confidence: Probability that no recipe is better by more than a point, calibrated on the study.
        depths_disagree: Whether what the last stages add speaks for the other domain.
        because: Why, in words with the measured numbers.
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
    """Returns the rows of evidence, but those that are named.

    Raises:
        UnknownNameError: If there is no such row.
    """
    known = {row.name: row for row in EVIDENCE}
    for name in without:
        if name not in known:
            raise unknown_name("row of evidence", name, known)
    return tuple(row for row in EVIDENCE if row.name not in without)


def rate_factor(facts: Facts, rates: Mapping[str, float] | None = None) -> float:
    """Returns the factor on the learning rates of `fine_tune_all`: `factor` below a similarity to ImageNet, else 1.

    Args:
        facts: What was measured.
        rates: `similarity` and `factor`; default: those that were fitted.
    """
    row = fitted()["rates"] if rates is None else rates
    return float(row["factor"]) if facts.measures()["similarity"] < row["similarity"] else 1.0


def choose(measures: Mapping[str, Any], against: Thresholds, evidence: Sequence[Evidence] = EVIDENCE) -> Any:
    """Returns the index in `RULES` of the row that applies, for numbers or for arrays of them."""
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
    """Applies the 2 x 2 of size and similarity, and the evidence that may overrule either side.

    Args:
        facts: What was measured.
        compared_with: Default: the numbers of the advice.
        evidence: Default: every row.
    """
    against = compared_with if compared_with is not None else thresholds()
    measures = facts.measures()
    rule = RULES[int(choose(measures, against, evidence))]
    plain = {question: SIDES[question][int(side)] for question, side in sides(measures, against, ()).items()}
    readings = read_evidence(measures, against, evidence, plain)
    words = _words(measures, against, plain) | {
        question: reading.because for reading in readings for question in reading.decides
    }
    probabilities = cell_probabilities(facts, against, evidence)
    disagree = depths_disagree(measures, rule, fitted()["late_gain"])
    because = f"{words['size']}, and {words['domain']}. {RECIPES[rule.recipe].because}"
    if words["size"] == words["domain"]:  # one row of evidence answers both questions
        because = f"{words['size']}."
    return Verdict(
        rule=rule,
        margins=_margins(facts, against, plain),
        evidence=readings,
        probabilities=probabilities,
        runner_up=max((row.recipe for row in RULES if row != rule), key=lambda name: probabilities[name]),
        confidence=calibrated_confidence(probabilities[rule.recipe], disagree),
        depths_disagree=disagree,
        because=because[0].upper() + because[1:],
        why_not=_why_not(rule, words),
    )


def _margins(facts: Facts, against: Thresholds, plain: Mapping[str, str]) -> Margins:
    size, domain = against["effective_num_images"], against["similarity"]
    score = facts.similarity.score or 0.0
    return Margins(
        size=SizeMargin(
            value=facts.effective_num_images,
            threshold=size,
            factor=facts.effective_num_images / size,
            side=plain["size"],
        ),
        similarity=SimilarityMargin(
            value=score,
            low=facts.similarity.low or 0.0,
            high=facts.similarity.high or 0.0,
            threshold=domain,
            difference=score - domain,
            side=plain["domain"],
        ),
    )


def read_evidence(
    measures: Mapping[str, float], against: Thresholds, evidence: Sequence[Evidence], plain: Mapping[str, str]
) -> tuple[EvidenceReading, ...]:
    """Returns what each row of evidence that is switched on says; the last row to answer a question decides it.

    Args:
        measures: `Facts.measures`.
        against: What the measures are compared with.
        evidence: Rows of evidence.
        plain: What the thresholds alone answer to each question.
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
                overrules=any(side != plain[question] for question, side in answers.items()),
                because=row.words.format_map(filled) if answers else "",
                source=row.source,
            )
        )
    return tuple(readings)


_WORDS = {
    "small": "{effective_num_images:,.0f} effective images for training are fewer than {threshold:,.0f} (small)",
    "large": "{effective_num_images:,.0f} effective images for training are at least {threshold:,.0f} (large)",
    "similar": "similarity to ImageNet {similarity:.2f} is at least {threshold:.2f} (similar)",
    "different": "similarity to ImageNet {similarity:.2f} is below {threshold:.2f} (different)",
}


def _words(measures: Mapping[str, float], against: Thresholds, plain: Mapping[str, str]) -> dict[str, str]:
    return {
        question: _WORDS[side].format_map({**measures, "threshold": against[MEASURES[question]]})
        for question, side in plain.items()
    }


def _why_not(rule: Rule, words: Mapping[str, str]) -> dict[str, str]:
    reasons = {}
    for row in RULES:
        if row == rule:
            continue
        wrong: dict[str, str] = {}  # reason -> what the recipe is for; one reason may answer both questions
        if row.size != rule.size:
            wrong[words["size"]] = f"is for {row.size} datasets"
        if row.domain != rule.domain:
            toward = "to" if row.domain == "similar" else "from"
            wrong.setdefault(words["domain"], f"is for images {row.domain} {toward} ImageNet")
        reasons[row.recipe] = f"{row.recipe} {' and '.join(f'{what}, but {why}' for why, what in wrong.items())}."
    return reasons


def cell_probabilities(facts: Facts, against: Thresholds, evidence: Sequence[Evidence] = EVIDENCE) -> dict[str, float]:
    """Returns for each recipe the probability of its cell, were each measure drawn again with its error."""
    measures = facts.measures()
    score, low, high = measures["similarity"], facts.similarity.low or 0, facts.similarity.high or 0
    # A third of a decade, and 0.1, are what the thresholds themselves are uncertain by; 3.29 deviations make 90 %.
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
    """Returns whether what the last stages add speaks for the other domain than the rule that applies.

    Args:
        measures: `Facts.measures`.
        rule: The row that applies.
        late_gain: From which on the last stages look as they do near ImageNet.
    """
    value = measures["late_gain"]
    return not math.isnan(value) and (value >= late_gain) != (rule.domain == SIDES["domain"][1])


def calibrated_confidence(probability: float, disagree: bool, platt: Mapping[str, float] | None = None) -> float:
    """Maps the probability of a cell to the share of right advice that the study saw at it.

    Args:
        probability: From `cell_probabilities`.
        disagree: From `depths_disagree`.
        platt: `intercept`, `slope` on the log odds, and `disagree`, what is added where the depths disagree; default:
            those that were fitted.

    Reference:
        Platt 1999, Probabilistic Outputs for Support Vector Machines.
    """
    row = fitted()["confidence"] if platt is None else platt
    return _logistic(row["intercept"] + row["slope"] * log_odds(probability) + row["disagree"] * disagree)


def log_odds(probability: float) -> float:
    """Returns the logarithm of the odds, of probabilities within a thousandth of 0 and 1 as of those."""
    kept = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(kept / (1 - kept))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, value))))
