"""Rules, evidence and cautions as rows; the rule that applies, and by what margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.probes import DepthCurve
from advisor.similarity import ENOUGH_IMAGES, Ruler, Similarity, calibration
from strategies.errors import UserError, unknown_name
from strategies.recipes import RECIPES
from strategies.weights import BUNDLED


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
        similarity, curve = dict(fingerprint["similarity"]), fingerprint["depth_curve"]
        ruler = Ruler(**similarity.pop("ruler"))
        return cls(
            effective_num_images=fingerprint["profile"]["effective_num_images"],
            num_classes=fingerprint["profile"]["num_classes"],
            similarity=Similarity(ruler=ruler, **similarity),
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

# What a rule or a row of evidence compares with, by name; `None` where a row of evidence is switched off.
Numbers = Mapping[str, Any]


def sides(measures: Mapping[str, Any], numbers: Numbers, evidence: Sequence[Evidence] = EVIDENCE) -> dict[str, Any]:
    """Answers both questions: whether each is at or above its threshold, after the evidence has had its say.

    Args:
        measures: Numbers, or arrays of them, by name.
        numbers: What they are compared with.
        evidence: Rows that may overrule the thresholds.

    Returns:
        `size` and `domain`, true for the upper side, of the measures' shape.
    """
    answers = {question: np.asarray(measures[MEASURES[question]]) >= numbers[MEASURES[question]] for question in SIDES}
    for row in evidence:
        if (number := numbers.get(row.name)) is None:
            continue
        applies = row.applies(measures[row.name], number)
        for question, side in row.answers.items():
            answers[question] = np.where(applies, side == SIDES[question][1], answers[question])
    return answers


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something the reader should know; it never changes the recipe. `message` is a template over the facts."""

    code: str
    applies: Callable[[Mapping[str, Any]], bool]
    message: str
    source: str


CAUTIONS: tuple[Caution, ...] = (
    Caution(
        code="borderline",
        applies=lambda f: f["borderline"],
        message="Borderline: {confidence:.0%} sure. {runner_up} may be as good or better; --pilot (pilot=True) lets a "
        "short head-to-head on your images decide.",
        source="confidence, calibrated on the study",
    ),
    Caution(
        code="similarity_near_threshold",
        applies=lambda f: f["low"] < f["similarity_threshold"] < f["high"] and not f["domain_by_evidence"],
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
        applies=lambda f: not f["calibrated_range"][0] <= f["effective_num_images"] <= f["calibrated_range"][1],
        message="{effective_num_images:,.0f} images are outside of what the advice was ever compared on "
        "({calibrated_range[0]:,.0f} to {calibrated_range[1]:,.0f}): it extrapolates.",
        source="range of the study",
    ),
    Caution(
        code="depths_disagree",
        applies=lambda f: f["depths_disagree"],
        message="The last stages of the network separate your classes {late_gain_points:+.1f} points better than the "
        "first two thirds, which speaks for the other side of the domain: where that was so in the study, the advice "
        "was right less often.",
        source="confidence, calibrated on the study",
    ),
    Caution(
        code="other_network",
        applies=lambda f: f["network"].note != "",
        message="{network.note}",
        source="Keras' cache and server",
    ),
    Caution(
        code="bundled_ruler",
        applies=lambda f: f["ruler"].weights == BUNDLED,
        message="The ImageNet weights of the ruler could not be had: similarity is measured with the network in this "
        "package, which orders datasets much as the ruler does; the threshold was fitted with the ruler.",
        source="strategies/bundled/README.md",
    ),
    Caution(
        code="no_depth_curve",
        applies=lambda f: f["late_gain"] != f["late_gain"],
        message="A class has a single image for training and validation, so nothing can be held out: size and "
        "similarity decide without a look at the network's depth.",
        source="profile",
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
        applies=lambda f: f["num_grayscale"] > f["num_looked_at"] / 2,
        message="{num_grayscale:,} of {num_looked_at:,} images are grayscale: that is a shift of low-level features "
        "only.",
        source="by-depth distances",
    ),
    Caution(
        code="sampled",
        applies=lambda f: f["num_looked_at"] < f["num_images"],
        message="{num_looked_at:,} of {num_images:,} images were looked at, drawn at random from every class. Copies, "
        "unreadable and odd files among the others are not known; 'advisor check' reads all.",
        source="the advice takes no longer on a million images than on these, but for listing them",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The rule that applies, and by what margin.

    Attributes:
        rule: The row that applies.
        margins: For `size` and `similarity`: value, threshold, margin and which side of the threshold it fell on.
        evidence: For each row of evidence that was looked at: its value, its numbers, and what it changed.
        probabilities: Of each recipe, from how far all measures lie from what they are compared with.
        runner_up: The most probable of the other recipes.
        confidence: Probability that no recipe is better by more than a point, calibrated on the study.
        depths_disagree: Whether what the last stages add speaks for the other domain.
        because: Why, in words with the measured numbers.
        why_not: For each of the other three recipes, which of its conditions are not met.
    """

    rule: Rule
    margins: Mapping[str, Mapping[str, Any]]
    evidence: Sequence[Mapping[str, Any]]
    probabilities: Mapping[str, float]
    runner_up: str
    confidence: float
    depths_disagree: bool
    because: str
    why_not: Mapping[str, str]


def numbers(name: str = "advice", *, without_dataset: str | None = None) -> Numbers:
    """Returns what everything measured is compared with.

    Args:
        name: `advice`, `two_by_two` (the thresholds of size and similarity, fitted without evidence) or `textbook`.
        without_dataset: A dataset of the study: the numbers fitted on all the others. Any other name gives the numbers
            that were fitted on all.
    """
    if name == "textbook":
        return {row["measure"]: row["value"] for row in calibration()["textbook"]}
    return fitted(without_dataset)[name]


def fitted(without_dataset: str | None = None) -> Mapping[str, Any]:
    """Returns everything that was fitted on the study, or on the study without one of its datasets."""
    fit = calibration()["fit"]
    return fit["held_out"].get(without_dataset, fit["all"])


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


def choose(measures: Mapping[str, Any], against: Numbers, evidence: Sequence[Evidence] = EVIDENCE) -> Any:
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
    facts: Facts, *, compared_with: Numbers | None = None, evidence: Sequence[Evidence] = EVIDENCE
) -> Verdict:
    """Applies the 2 x 2 of size and similarity, and the evidence that may overrule either side.

    Args:
        facts: What was measured.
        compared_with: Default: the numbers of the advice.
        evidence: Default: every row.
    """
    against = compared_with if compared_with is not None else numbers()
    measures = facts.measures()
    rule = RULES[int(choose(measures, against, evidence))]
    plain = {question: SIDES[question][int(side)] for question, side in sides(measures, against, ()).items()}
    found = _findings(measures, against, evidence, plain)
    words = _words(measures, against, plain) | {
        question: row["because"] for row in found for question in row["decides"]
    }
    probabilities = cell_probabilities(facts, against, evidence)
    disagree = depths_disagree(measures, rule, fitted()["late_gain"])
    because = f"{words['size']}, and {words['domain']}. {RECIPES[rule.recipe].because}"
    if words["size"] == words["domain"]:  # one row of evidence answers both questions
        because = f"{words['size']}."
    return Verdict(
        rule=rule,
        margins=_margins(facts, against, plain),
        evidence=found,
        probabilities=probabilities,
        runner_up=max((row.recipe for row in RULES if row != rule), key=lambda name: probabilities[name]),
        confidence=calibrated_confidence(probabilities[rule.recipe], disagree),
        depths_disagree=disagree,
        because=because[0].upper() + because[1:],
        why_not=_why_not(rule, words),
    )


def _margins(facts: Facts, against: Numbers, plain: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    similarity = facts.similarity
    size, domain = against["effective_num_images"], against["similarity"]
    return {
        "size": {
            "value": facts.effective_num_images,
            "threshold": size,
            "factor": facts.effective_num_images / size,
            "side": plain["size"],
        },
        "similarity": {
            "value": similarity.score,
            "low": similarity.low,
            "high": similarity.high,
            "threshold": domain,
            "difference": (similarity.score or 0) - domain,
            "side": plain["domain"],
        },
    }


def _findings(
    measures: Mapping[str, float], against: Numbers, evidence: Sequence[Evidence], plain: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Returns one row for each piece of evidence that is switched on; the last to speak of a question decides it."""
    found: list[dict[str, Any]] = []
    for row in evidence:
        if (number := against.get(row.name)) is None:
            continue
        value = measures[row.name]
        said = row.answers if row.applies(value, number) else {}
        for earlier in found:
            earlier["decides"] = [question for question in earlier["decides"] if question not in said]
        filled = {"value": value, "number": number, "points": 100 * value, "number_points": 100 * number}
        found.append(
            {
                "name": row.name,
                "value": None if math.isnan(value) else value,
                "when": row.when,
                "number": number,
                "answers": dict(said),
                "decides": list(said),
                "overrules": any(side != plain[question] for question, side in said.items()),
                "because": row.words.format_map(filled) if said else "",
                "source": row.source,
            }
        )
    return found


_WORDS = {
    "small": "{effective_num_images:,.0f} effective images for training are fewer than {threshold:,.0f} (small)",
    "large": "{effective_num_images:,.0f} effective images for training are at least {threshold:,.0f} (large)",
    "similar": "similarity to ImageNet {similarity:.2f} is at least {threshold:.2f} (similar)",
    "different": "similarity to ImageNet {similarity:.2f} is below {threshold:.2f} (different)",
}


def _words(measures: Mapping[str, float], against: Numbers, plain: Mapping[str, str]) -> dict[str, str]:
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


def cell_probabilities(facts: Facts, against: Numbers, evidence: Sequence[Evidence] = EVIDENCE) -> dict[str, float]:
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


def find_cautions(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns code, message and source of every caution that applies."""
    return [
        {"code": row.code, "message": row.message.format_map(dict(facts)), "source": row.source}
        for row in CAUTIONS
        if row.applies(facts)
    ]
