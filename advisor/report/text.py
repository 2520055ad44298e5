"""Summaries in parts, as commands print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advisor.advice import Advice
from advisor.calibration import Landmark, landmarks
from advisor.cautions import leading
from advisor.measure.learning_curve import LearningCurve
from advisor.measure.profile import DatasetProfile
from advisor.outcomes import Outcomes
from advisor.report.costs import timing_text
from advisor.report.evaluation import evaluation_sections, gain_text, interval
from advisor.report.freeze_map import freeze_table
from advisor.report.next_step import NEXT_IN_PYTHON
from advisor.report.terminal import Grid, KeyValues, Line, Part, StyledText, plain
from advisor.report.words import (
    class_sizes,
    comparison_cautions,
    confidence_text,
    costs_note,
    examples,
    expected_range,
    facts,
    headline,
    joined_text,
    lost_text,
    more_images_text,
    recipe_table,
    split_text,
    times_text,
    verdict,
)
from strategies.display.numbers import duration, share
from strategies.display.results import never_answered

if TYPE_CHECKING:
    from strategies.runs.evaluation import RunEvaluation
    from strategies.runs.exporting import Export
    from strategies.training.result import TrainingResult

SCALE_WIDTH = 60  # characters
BAR_WIDTH = 16  # characters
MOST_CAUTIONS = 3  # that are shown without --verbose
MOST_GAINS = 5  # classes that gain from more images; --json has all
MOST_FILES = 20  # that are named; a hidden folder may hold thousands


def summarize(advice: Advice, *, verbose: bool = False) -> str:
    """Returns the advice as plain text; arguments as in `advice_parts`."""
    return plain(advice_parts(advice, next_step=NEXT_IN_PYTHON, verbose=verbose))


def advice_parts(advice: Advice, *, next_step: str = "", verbose: bool = False) -> list[Part]:
    """Returns the advice in parts: the recipe, why, what to expect of all four, how sure it is, and what to do next.

    Args:
        advice: The advice.
        next_step: What to type next.
        verbose: Whether the numbers behind it, the freeze map and all cautions are shown too.
    """
    leads = leading(advice.cautions)
    parts: list[Part] = [
        Line(text=headline(advice), style="title", result=True),
        *(Line(text=caution.message, style="warning") for caution in leads),
        *(Line(text=reason, style="") for reason in advice.because),
        Line(text=""),
        Grid(rows=_recipes(advice), right=[2, 3]),
        Line(text=f"Expected: 80% intervals; {costs_note(advice.costs)}.", style="quiet", indent=2),
        Line(text=""),
        Line(text=confidence_text(advice)),
        *_cautions(advice, verbose=verbose),
    ]
    if verbose:
        parts += _details(advice)
    if next_step:
        parts += [Line(text=""), Line(text=f"Next: {next_step}", style="title", copied=True)]
    return parts


def _recipes(advice: Advice) -> list[list[str | StyledText]]:
    rows: list[list[str | StyledText]] = []
    for name, *cells in recipe_table(advice):
        advised = name == advice.recipe
        rows.append([">" if advised else "", StyledText(text=name, style="title") if advised else name, *cells])
    return rows


def _cautions(advice: Advice, *, verbose: bool) -> list[Part]:
    """Returns the cautions: all of them, or the first sentence of the first few."""
    left = [caution.message for caution in advice.cautions if caution not in leading(advice.cautions)]
    if verbose:
        return [*_titled("Cautions:"), *(Line(text=text, style="warning", indent=2) for text in left)] if left else []
    more = f" ({len(left) - MOST_CAUTIONS} more: --verbose)" if len(left) > MOST_CAUTIONS else ""
    shown = [first_sentence(text) for text in left[:MOST_CAUTIONS]]
    return [Line(text=f"Note: {text}{more if text == shown[-1] else ''}", style="warning") for text in shown]


def first_sentence(text: str) -> str:
    """Returns the first sentence of a text.

    Example:
        >>> from advisor.report.text import first_sentence
        >>> first_sentence("Copies: 5 of 1,999. They count once.")
        'Copies: 5 of 1,999.'
    """
    return text.partition(". ")[0].removesuffix(".") + "."


def _details(advice: Advice) -> list[Part]:
    return [
        *_titled("What was measured:"),
        KeyValues(rows=facts(advice)),
        *_titled("Similarity to ImageNet; each mark is a dataset of the study:"),
        *(Line(text=line, indent=2) for line in scale_lines(advice.similarity.score or 0, landmarks())),
        *_titled("Freeze map:"),
        Grid(rows=freeze_table(advice.plan), right=[1]),
    ]


def _titled(title: str) -> list[Part]:
    return [Line(text=""), Line(text=title, style="title")]


def result_parts(result: TrainingResult) -> list[Part]:
    """Returns the result of a training in parts: test accuracy, time, and the gain over a new head alone."""
    test = result.test
    parts: list[Part] = [
        Line(
            text=f"Test accuracy {share(test.accuracy)} ({interval(test.low, test.high)}, {test.num_images:,} images), "
            f"balanced accuracy {share(test.balanced_accuracy)}. Always predicting the most frequent class reaches "
            f"{share(test.majority_accuracy)}. Took {duration(result.seconds)}.",
            style="title",
            result=True,
        ),
        *(Line(text=text, style="warning") for text in never_answered(test.to_dict())),
    ]
    if (timing := timing_text(result.plan, result.history.to_dict("records"), result.seconds)) is not None:
        parts.append(Line(text=timing))
    if result.head is not None:
        better = result.plan.recipe != "head_only" and result.head.gain > 0
        text = gain_text(result.plan.recipe, test.accuracy, result.head.to_dict())
        parts.append(Line(text=text, style="good" if better else ""))
    return parts


def extension_parts(result: TrainingResult, extension: Mapping[str, Any]) -> list[Part]:
    """Returns the result of an extended run in parts: its own, what joined, and what the old classes lost.

    Args:
        result: The result of the new run.
        extension: The entry `extension` of its `metrics.json`.
    """
    return [
        *result_parts(result),
        Line(text=joined_text(extension, len(result.plan.class_names))),
        Line(text=lost_text(extension), style="title", result=True),
    ]


def evaluation_parts(found: RunEvaluation) -> list[Part]:
    """Returns the evaluation of a saved run in parts: the accuracy, then a sentence and a table on each question."""
    test, baseline = found.evaluation.to_dict(), found.to_dict()["baseline"]
    which = "its test split" if found.images == "test" else "all of its images"
    parts: list[Part] = [
        Line(
            text=f"{found.source}, {which}: {test['num_images']:,} images; accuracy {share(test['accuracy'])} "
            f"({interval(test['low'], test['high'])}). Always predicting {baseline['majority_class']} reaches "
            f"{share(baseline['majority_accuracy'])}.",
            style="title",
            result=True,
        ),
        *(Line(text=text, style="warning") for text in never_answered(test)),
        *(
            Line(text=f"left out, unreadable: {image['path']}: {image['reason']}", style="warning", indent=2)
            for image in found.unreadable
        ),
    ]
    for section in evaluation_sections(test):
        parts += [*_titled(section.title), Line(text=section.text), Line(text="")]
        parts.append(Grid(rows=section.table))
    return parts


def profile_parts(profile: DatasetProfile) -> list[Part]:
    """Returns the profile of a dataset in parts: its numbers, possible problems, and the images per class."""
    short, more = profile.image_sizes["short_side"], len(profile.ignored) - MOST_FILES
    sides = f"{short['min']} to {short['max']} px, median {short['median']:g}"
    rows = [
        ("class sizes", f"{class_sizes(profile)}; largest class {profile.imbalance_ratio:.1f} times the smallest"),
        ("split", split_text(profile)),
        ("short side", f"{short['min']} px" if short["min"] == short["max"] else sides),
        ("effective", f"{profile.effective_num_images:,} images for training and validation, without copies"),
        ("grayscale", f"{profile.num_grayscale:,}"),
        ("exact duplicates", f"{profile.num_duplicates:,} ({len(profile.duplicates_across_classes)} across classes)"),
        ("unreadable", f"{len(profile.unreadable):,}"),
        *(("", f"{image['path']}: {image['reason']}") for image in profile.unreadable),
        ("not used", f"{len(profile.ignored):,}"),
        *(("", name) for name in profile.ignored[:MOST_FILES]),
        *([("", f"and {more:,} more; --json lists them")] if more > 0 else []),
    ]
    longest = max(profile.images_per_class.values(), default=1)
    counts: list[list[str | StyledText]] = [
        [name, f"{count:,}", StyledText(text="#" * max(1, round(BAR_WIDTH * count / longest)), style="quiet")]
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


def learning_curve_parts(curve: LearningCurve, source: str) -> list[Part]:
    """Returns a learning curve in parts: what was measured, what to expect of more images, and of which classes.

    Args:
        curve: The learning curve.
        source: Where the images come from.
    """
    network, (*_, largest) = curve.network, curve.sizes
    of_all = "all" if largest == curve.num_images else "of a sample"
    rows: list[list[str]] = [["images", "accuracy of a new head", ""]]
    for size, accuracy in zip(curve.sizes, curve.accuracy, strict=True):
        words = f"measured, {of_all}" if size == largest else "measured"
        rows.append([f"{size:,}", f"{accuracy:.0%}", words])
    rows += [[f"{row.num_images:,}", expected_range(row), f"expected, {times_text(row)}"] for row in curve.expected]
    shown = [row for row in curve.classes if row.gain > 0][:MOST_GAINS]
    classes = [[row.name, f"{row.num_images:,}", f"{row.accuracy:.0%}", f"{100 * row.gain:+.0f}"] for row in shown]
    return [
        Line(text=f"{source}: {more_images_text(curve)}.", style="title", result=True),
        Line(text=""),
        Grid(rows=rows, right=[0]),
        Line(
            text=f"{network.backbone} at {network.image_size} px, weights {network.weights}; cross-validated.",
            style="quiet",
            indent=2,
        ),
        *_titled(f"The classes that gain most from twice as many images, of {len(curve.classes):,}; gain in points:"),
        Grid(rows=[["class", "images", "correct", "gain"], *classes], right=[1, 2, 3]),
    ]


def health_parts(profile: DatasetProfile) -> list[Part]:
    """Returns the possible problems of a dataset in parts: each finding with a few suspects."""
    found = [finding.code.replace("_", " ") for finding in profile.findings]
    return [
        Line(
            text=f"{profile.source}: {profile.num_images:,} images; {', '.join(found) or 'no problems found'}",
            style="title",
            result=True,
        ),
        Line(text=""),
        *_finding_parts(profile),
    ]


def _finding_parts(profile: DatasetProfile) -> list[Part]:
    if not profile.findings:
        return [Line(text="No problems were found.", style="good")]
    parts: list[Part] = []
    for finding in profile.findings:
        parts.append(Line(text=f"{finding.message} {finding.effect}", style="warning"))
        parts += [Line(text=example, indent=4) for example in examples(finding)]
    return parts


def summarize_comparison(comparison: Outcomes) -> str:
    """Returns a comparison as plain text: a table of the four recipes, best first, and the verdict on the advice."""
    return plain(comparison_parts(comparison))


def comparison_parts(comparison: Outcomes) -> list[Part]:
    """Returns a comparison in parts: a table of the four recipes, best first, and the verdict on the advice."""
    plan, ranking = comparison.advice.plan, comparison.ranking
    num_test = ranking[0].test.num_images
    slowest = max(outcome.seconds for outcome in ranking)
    table: list[list[str | StyledText]] = [
        ["", "recipe", "test accuracy (95% interval)", "", "balanced", "validation", "seconds", "", "steps"]
    ]
    for outcome in ranking:
        test, advised = outcome.test, outcome is comparison.advised
        table.append(
            [
                ">" if advised else "",
                StyledText(text=outcome.recipe, style="title") if advised else outcome.recipe,
                f"{share(test.accuracy)} ({interval(test.low, test.high)})",
                StyledText(text="#" * round(BAR_WIDTH * test.accuracy), style="good"),
                share(test.balanced_accuracy),
                share(outcome.val_accuracy),
                f"{outcome.seconds:.1f}",
                StyledText(text="#" * max(1, round(BAR_WIDTH * outcome.seconds / slowest)), style="quiet"),
                f"{outcome.share:.0%}",
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


def scale_lines(score: float, landmarks: Sequence[Landmark]) -> list[str]:
    """Returns a scale from 0 to 1 with a tick for each landmark, and below it a mark where the images lie."""
    ticks = ["─"] * SCALE_WIDTH
    for landmark in landmarks:
        ticks[_tick(landmark.score)] = "┼"
    return [f"0 {''.join(ticks)} 1", " " * (2 + _tick(score)) + f"▲ yours, {score:.2f}"]


def _tick(score: float) -> int:
    return min(SCALE_WIDTH - 1, int(score * SCALE_WIDTH))


def comparison_text(export: Export) -> str:
    """Returns how far an exported model is from the model, in a few words: probabilities, and accuracy if known."""
    difference, accuracy, of_model = export.largest_difference, export.accuracy, export.model_accuracy
    text = "probabilities are identical" if difference == 0 else f"probabilities differ by at most {difference:.1e}"
    return text if accuracy is None else f"{text}; accuracy {share(accuracy)}, the model's {share(of_model)}"
