"""Summaries in parts, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.advice import Advice
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.outcomes import Outcomes
from advisor.outlook import Outlook
from advisor.quality.checks import Finding
from advisor.report.costs import cost_text, costs_section, timing_text
from advisor.report.evaluation import evaluation_sections, gain_text
from advisor.report.freeze_map import freeze_table
from advisor.report.terminal import Grid, KeyValues, Line, Part, StyledText, plain
from advisor.rules import EvidenceReading
from advisor.thresholds import Landmark, landmarks
from strategies.plans.plan import Plan
from strategies.recipes import RECIPES
from strategies.training.metrics import Z_95

if TYPE_CHECKING:
    from strategies.runs.evaluation import RunEvaluation
    from strategies.training.result import TrainingResult

NUM_EXAMPLES = 3  # suspects of a finding that are named


def headline(advice: Advice) -> str:
    """Returns the advice in one sentence, and says so where the user overruled it."""
    title = RECIPES[advice.recipe].title
    sentence = f"{advice.recipe}: {title[0].lower()}{title[1:]}."
    if advice.plan.recipe != advice.recipe:
        sentence += f" The plan follows {advice.plan.recipe} instead, as you asked."
    return sentence


def facts(advice: Advice) -> list[tuple[str, str]]:
    """Returns the numbers behind the advice as (name, value) rows, rounded for reading."""
    profile, similarity, size = advice.profile, advice.similarity, advice.margins.size
    closeness = advice.margins.similarity
    return [
        ("images", f"{profile.num_images:,} in {profile.num_classes} classes"),
        (
            "images per class",
            f"{profile.min_images_per_class} to {profile.max_images_per_class}, median "
            f"{profile.median_images_per_class:g}",
        ),
        (
            "size",
            f"{size.value:,} effective for training and validation: {size.side} "
            f"({size.factor:.2g} × the threshold {size.threshold:,.0f})",
        ),
        (
            "similarity",
            f"{closeness.value:.2f} ({closeness.low:.2f} to {closeness.high:.2f}): {closeness.side} "
            f"({closeness.difference:+.2f} from the threshold {closeness.threshold:.2f}); "
            f"{place_text(advice.outlook)}",
        ),
        (
            "by depth",
            ", ".join(f"{depth} {row['score']:.2f}" for depth, row in similarity.by_depth.items())
            + f" (ruler {similarity.ruler.backbone} at {similarity.ruler.image_size} px)",
        ),
        *((reading.name.replace("_", " "), evidence_text(reading)) for reading in advice.evidence),
        ("confidence", confidence_text(advice)),
        ("expect", expectation_text(advice.outlook, advice.recipe)),
        *([("time here", cost_text(advice.costs, advice.plan.recipe))] if advice.costs else []),
        ("more images", changes_text(advice.outlook)),
        ("textbook", f"{advice.textbook_recipe} (large from 20,000 images on)"),
        *([("depths", depth_text(advice.depth_curve))] if advice.depth_curve else []),
        *([("cut", cut_text(advice))] if RECIPES[advice.plan.recipe].keeps == "early" else []),
        ("backbone", f"{advice.plan.backbone} at {advice.plan.image_size} px, weights {advice.plan.weights}"),
        ("training", settings(advice.plan)),
    ]


def place_text(outlook: Outlook) -> str:
    """Returns between which datasets of the study the images lie."""
    below, above = outlook.below, outlook.above
    if below is None or above is None:
        end, side = (above, "further from ImageNet than") if below is None else (below, "closer to ImageNet than")
        return f"{side} {_landmark(end)}, the last of the study" if end else "nowhere on an empty ruler"
    return f"between {_landmark(below)} and {_landmark(above)}"


def _landmark(landmark: Landmark) -> str:
    return f"{landmark.title} ({landmark.score:.2f})"


RULER_WIDTH = 60


def ruler_lines(score: float, landmarks: Sequence[Landmark]) -> list[str]:
    """Returns a ruler from 0 to 1 with a tick for each landmark, and a mark below it where the images lie."""
    ticks = ["─"] * RULER_WIDTH
    for row in landmarks:
        ticks[_tick(row.score)] = "┼"
    return [f"0 {''.join(ticks)} 1", " " * (2 + _tick(score)) + f"▲ yours, {score:.2f}"]


def _tick(score: float) -> int:
    return min(RULER_WIDTH - 1, int(score * RULER_WIDTH))


def evidence_text(reading: EvidenceReading) -> str:
    """Returns what one row of evidence says, and whether it changed the answer."""
    if not reading.answers:
        value = "unknown" if reading.value is None else f"{reading.value:.3g}"
        where = f"from {reading.number:g} on" if reading.when == "from" else f"below {reading.number:g}"
        return f"{value}: no effect (applies {where})"
    effect = "overrules the threshold" if reading.overrules else "agrees with the threshold"
    return f"{reading.because}: {effect if reading.decides else 'a later row decides'}"


def confidence_text(advice: Advice) -> str:
    """Returns how sure the advice is, and what that means."""
    if advice.pilot is not None:
        return f"a pilot decided; {advice.confidence:.0%} before it; runner-up {advice.runner_up}"
    words = f"{advice.confidence:.0%} that no other recipe is better by more than a point; runner-up {advice.runner_up}"
    return f"{words}; borderline, a pilot would tell" if advice.borderline else words


def expectation_text(outlook: Outlook, recipe: str) -> str:
    """Returns what a new head alone reaches, and what more of it is worth."""
    if outlook.head_accuracy is None or outlook.gain is None:
        return "unknown: a class has a single image, so nothing can be held out"
    head = f"a new head alone reaches about {outlook.head_accuracy:.0%} (cross-validated on your images)"
    if recipe == "head_only":
        return head
    low, middle, high = outlook.gain
    more = (
        f"{recipe} about {_points(middle)} points ({_points(low)} to {_points(high)} in the study), for "
        f"{outlook.times_head:.0f} times the training time"
    )
    stop = "; stopping at head_only is a good answer" if outlook.stop_here else ""
    return f"{head}; {more}{stop}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}" if abs(share) < 0.01 else f"{100 * share:+.0f}"


def changes_text(outlook: Outlook) -> str:
    """Returns from how many images on the advice would change."""
    if outlook.changes is None:
        return "more images alone would not change this advice"
    change = outlook.changes
    return f"from {change.num_images:,} on ({change.more:,} more), all else being equal: {change.recipe}"


def depth_text(curve: DepthCurve) -> str:
    """Returns how well a linear classifier separates the classes at each depth."""
    shares = ", ".join(f"{stage} {value:.0%}" for stage, value in zip(curve.stages, curve.accuracy, strict=True))
    return f"classes separated by {shares} ({curve.num_images:,} images, each held out once)"


def cut_text(advice: Advice) -> str:
    """Returns where the backbone is cut, and why there."""
    curve, cut = advice.depth_curve, advice.plan.cut_stage
    if curve is None:
        return f"after {cut}, about a third of the network"
    why = f"the classes are separable as well as anywhere from {curve.chosen_stage} on"
    if curve.chosen_stage != cut:
        why += f", and what lies behind {cut} is not early"
    return f"after {cut}: {why}"


def settings(plan: Plan) -> str:
    """Returns the choices of a plan that hold for all of its phases, in a few words."""
    words = [f"batches of {plan.batch_size}"]
    if any(phase.augmented or phase.views for phase in plan.phases) and plan.augmentation:
        flip = "flipped and " if plan.augmentation.get("horizontal_flip", True) else ""
        words.append(f"images {flip}shifted by up to {plan.augmentation.get('shift', 0.1):.0%}")
    words.append("classes weighted" if plan.class_weights else "classes unweighted")
    if plan.label_smoothing:
        words.append(f"label smoothing {plan.label_smoothing:g}")
    words.append(f"weights selected by {plan.metric.replace('_', ' ')}")
    words.append({"auto": "mixed precision on a GPU"}.get(plan.precision, plan.precision))
    return ", ".join(words)


def summarize(advice: Advice) -> str:
    """Returns the advice as plain text: recipe, reasons, margins, freeze map, cautions."""
    return plain(advice_parts(advice))


def advice_parts(advice: Advice) -> list[Part]:
    """Returns the advice in parts: recipe, reasons, margins, freeze map, cautions."""
    parts: list[Part] = [
        Line(text=headline(advice), style="title", result=True),
        Line(text=""),
        Line(text=f"Why: {advice.because}"),
        Line(text=""),
        KeyValues(rows=facts(advice)),
        *_titled("Similarity to ImageNet, and the datasets of the study:"),
        *(Line(text=line, indent=2) for line in ruler_lines(advice.similarity.score or 0, landmarks())),
        *_titled("Freeze map:"),
        Grid(rows=freeze_table(advice.plan), right=[1]),
        *_titled("Why not the others:"),
        *(Line(text=reason, indent=2) for reason in advice.why_not.values()),
    ]
    if advice.costs:
        section = costs_section(advice.costs)
        parts += [*_titled(f"{section.title}:"), Line(text=section.text, indent=2), Grid(rows=section.table)]
    if advice.cautions:
        parts += _titled("Cautions:")
        parts += [Line(text=caution.message, style="warning", indent=2) for caution in advice.cautions]
    return parts


def _titled(title: str) -> list[Part]:
    return [Line(text=""), Line(text=title, style="title")]


def result_parts(result: TrainingResult) -> list[Part]:
    """Returns what a training reached: the test images, and what a new head alone reaches."""
    test = result.test
    parts: list[Part] = [
        Line(
            text=f"Test accuracy {test.accuracy:.1%} ({test.low:.1%} to {test.high:.1%}, {test.num_images:,} images), "
            f"balanced {test.balanced_accuracy:.1%}; always answering the most frequent class reaches "
            f"{test.majority_accuracy:.1%}. Took {result.seconds:.0f} s.",
            style="title",
            result=True,
        )
    ]
    if (timing := timing_text(result.plan, result.history.to_dict("records"), result.seconds)) is not None:
        parts.append(Line(text=timing))
    if result.head is not None:
        better = result.plan.recipe != "head_only" and result.head.gain > 0
        text = gain_text(result.plan.recipe, test.accuracy, result.head.to_dict())
        parts.append(Line(text=text, style="good" if better else ""))
    return parts


def evaluation_parts(found: RunEvaluation) -> list[Part]:
    """Returns what a saved run reaches on other images in parts: a sentence and a table for each question."""
    test, baseline = found.evaluation.to_dict(), found.to_dict()["baseline"]
    which = "its test split" if found.images == "test" else "all of its images"
    parts: list[Part] = [
        Line(
            text=f"{found.source}, {which}: {test['num_images']:,} images; accuracy {test['accuracy']:.1%} "
            f"({test['low']:.1%} to {test['high']:.1%}), always answering {baseline['majority_class']} reaches "
            f"{baseline['majority_accuracy']:.1%}",
            style="title",
            result=True,
        ),
        *(
            Line(text=f"left out, unreadable: {one['path']}: {one['reason']}", style="warning", indent=2)
            for one in found.unreadable
        ),
    ]
    for section in evaluation_sections(test):
        parts += [*_titled(section.title), Line(text=section.text), Line(text="")]
        parts.append(Grid(rows=section.table))
    return parts


NAMED = 20  # files; a hidden folder may hold thousands


def profile_parts(profile: DatasetProfile) -> list[Part]:
    """Returns a dataset's profile in parts: what there is, what may be wrong, how many images each class has."""
    short, more = profile.image_sizes["short_side"], len(profile.ignored) - NAMED
    rows = [
        (
            "images per class",
            f"{profile.min_images_per_class} to {profile.max_images_per_class}, median "
            f"{profile.median_images_per_class:g} (largest class {profile.imbalance_ratio:.1f} times the smallest)",
        ),
        ("short side", f"{short['min']} to {short['max']} px, median {short['median']:g}"),
        ("effective", f"{profile.effective_num_images:,} for training and validation, net of copies"),
        ("grayscale", f"{profile.num_grayscale:,}"),
        ("exact duplicates", f"{profile.num_duplicates:,} ({len(profile.duplicates_across_classes)} across classes)"),
        ("unreadable", f"{len(profile.unreadable):,}"),
        *(("", f"{one['path']}: {one['reason']}") for one in profile.unreadable),
        ("not used", f"{len(profile.ignored):,}"),
        *(("", name) for name in profile.ignored[:NAMED]),
        *([("", f"and {more:,} more; --json names them")] if more > 0 else []),
    ]
    longest = max(profile.images_per_class.values(), default=1)
    counts: list[list[str | StyledText]] = [
        [name, f"{count:,}", StyledText(text="#" * max(1, round(BAR * count / longest)), style="quiet")]
        for name, count in profile.images_per_class.items()
    ]
    return [
        Line(
            text=f"{profile.source}: {profile.num_images:,} images in {profile.num_classes} classes",
            style="title",
            result=True,
        ),
        KeyValues(rows=rows),
        Line(text=""),
        *_finding_parts(profile),
        Line(text=""),
        Grid(rows=[["class", "images", ""], *counts], right=[1]),
    ]


def health_parts(profile: DatasetProfile) -> list[Part]:
    """Returns what was found of the health of a dataset in parts: each finding with a few suspects."""
    found = [finding.code.replace("_", " ") for finding in profile.findings]
    return [
        Line(
            text=f"{profile.source}: {profile.num_images:,} images; {', '.join(found) or 'nothing was found'}",
            style="title",
            result=True,
        ),
        Line(text=""),
        *_finding_parts(profile),
    ]


def _finding_parts(profile: DatasetProfile) -> list[Part]:
    if not profile.findings:
        return [Line(text="Nothing was found that may be wrong.", style="good")]
    parts: list[Part] = []
    for finding in profile.findings:
        text = f"{finding.code.replace('_', ' ')}: {finding.message} {finding.effect}"
        parts.append(Line(text=text, style="warning"))
        parts += [Line(text=example, indent=4) for example in examples(finding)]
    return parts


def examples(finding: Finding) -> list[str]:
    """Returns a few suspects of a finding, and how many more there are."""
    suspects = finding.suspects
    more = [f"and {len(suspects) - NUM_EXAMPLES:,} more"] if len(suspects) > NUM_EXAMPLES else []
    return [f"{suspect.path}: {suspect.detail}" for suspect in suspects[:NUM_EXAMPLES]] + more


BAR = 16  # characters


def summarize_comparison(comparison: Outcomes) -> str:
    """Returns what the four recipes reached as plain text: a table, the best first, and what the advice costs."""
    return plain(comparison_parts(comparison))


def comparison_parts(comparison: Outcomes) -> list[Part]:
    """Returns what the four recipes reached in parts: a table, the best first, and what the advice costs."""
    plan, ranking = comparison.advice.plan, comparison.ranking
    num_test = ranking[0].test.num_images
    slowest = max(one.seconds for one in ranking)
    table: list[list[str | StyledText]] = [
        ["", "recipe", "test accuracy (95% interval)", "", "balanced", "validation", "seconds", "", "steps"]
    ]
    for one in ranking:
        table.append(
            [
                ">" if one is comparison.advised else "",
                StyledText(text=one.recipe, style="title") if one is comparison.advised else one.recipe,
                f"{one.test.accuracy:.1%} ({one.test.low:.1%} to {one.test.high:.1%})",
                StyledText(text="#" * round(BAR * one.test.accuracy), style="good"),
                f"{one.test.balanced_accuracy:.1%}",
                "none" if one.val_accuracy is None else f"{one.val_accuracy:.1%}",
                f"{one.seconds:.1f}",
                StyledText(text="#" * max(1, round(BAR * one.seconds / slowest)), style="quiet"),
                f"{one.share:.0%}",
            ]
        )
    best = comparison.best == comparison.advised.recipe
    return [
        Line(
            text=f"{comparison.advice.profile.source}: {comparison.advice.profile.num_images - num_test:,} images for "
            f"training and validation, {num_test:,} for testing; {plan.backbone} at {plan.image_size} px, seed "
            f"{plan.seed}"
        ),
        Line(text=""),
        Grid(rows=table, right=[4, 5, 6, 8], indent=0),
        Line(text=""),
        Line(text=verdict(comparison), style="good" if best else "bad", result=True),
        *(Line(text=caution, style="warning") for caution in comparison_cautions(comparison)),
    ]


def verdict(comparison: Outcomes) -> str:
    """Returns what following the advice costs or gains, in one sentence."""
    advised, rival = comparison.advised, comparison.rival
    points = 100 * abs(advised.test.accuracy - rival.test.accuracy)
    times = f"taken {advised.seconds:.0f} s instead of {rival.seconds:.0f} s"
    if comparison.best != advised.recipe:
        return (
            f"Following the advice ({advised.recipe}) would have cost {points:.1f} points against the best "
            f"({rival.recipe}) and {times}."
        )
    gain = f"gained {points:.1f} points over" if points else "been as accurate as"
    return f"Following the advice ({advised.recipe}) would have {gain} the next best ({rival.recipe}) and {times}."


def comparison_cautions(comparison: Outcomes) -> list[str]:
    """Returns what keeps the verdict from being certain, in one sentence each."""
    difference, error = comparison.lead
    num_test, chosen = comparison.advised.test.num_images, comparison.chosen_on_validation
    share = min(one.share for one in comparison.outcomes)
    cautions = []
    if abs(difference) <= Z_95 * error:
        cautions.append(
            f"On {num_test:,} test images that may be chance: the difference lies between "
            f"{100 * (difference - Z_95 * error):+.1f} and {100 * (difference + Z_95 * error):+.1f} points (95%)."
        )
    if chosen is not None and chosen != comparison.best:
        cautions.append(
            f"The best is known by hindsight; by validation accuracy {chosen} would have been chosen, "
            f"{comparison[chosen].test.accuracy:.1%} on the test images."
        )
    if share < 1:
        cautions.append(f"The steps were cut to {share:.0%}; with all of them the order may be another.")
    return cautions


def difference_text(difference: float) -> str:
    """Returns by how much the probabilities of an exported model differ from those of the model."""
    return "probabilities are identical" if difference == 0 else f"probabilities differ by at most {difference:.1e}"
