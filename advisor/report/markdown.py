"""Reports in Markdown: of an advice, a training run, an evaluation and the exports of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advisor._version import __version__
from advisor.advice import Advice
from advisor.calibration import Landmark, landmarks
from advisor.cautions import leading
from advisor.report.costs import timing_text
from advisor.report.evaluation import (
    COURSE_HEADER,
    Section,
    baseline_section,
    course_rows,
    evaluation_sections,
    interval,
)
from advisor.report.exports import export_section
from advisor.report.freeze_map import FREEZE_NOTE, freeze_table
from advisor.report.terminal import text_of
from advisor.report.words import (
    confidence_text,
    costs_note,
    examples,
    facts,
    headline,
    joined_text,
    kept_text,
    lost_text,
    recipe_table,
)
from strategies.display.html import printable
from strategies.display.numbers import duration, share
from strategies.display.results import never_answered
from strategies.plans.plan import Plan

if TYPE_CHECKING:
    from strategies.runs.evaluation import RunEvaluation
    from strategies.runs.exporting import Export

_MARKUP = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>|#"})


def escape(text: str) -> str:
    """Returns text that Markdown shows as it is: names of classes and files are data."""
    return printable(text).translate(_MARKUP)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def advice_markdown(advice: Advice) -> str:
    """Returns the report of a recommendation."""
    return "\n".join(["# Which layers to freeze", "", *_advice_sections(advice), *_footer(advice)])


def training_markdown(
    plan: Plan, metrics: Mapping[str, Any], history: Sequence[Mapping[str, str]], advice: Advice | None
) -> str:
    """Returns the report of a training run: its result first, then the advice that it followed.

    Args:
        plan: The plan that was carried out.
        metrics: Content of `metrics.json`.
        history: Rows of `history.csv`.
        advice: The advice that led to the plan, if any.
    """
    test, baseline = metrics["test"], metrics["baseline"]
    lines = [
        "# Training report",
        "",
        f"**Test accuracy {share(test['accuracy'])}** (95% interval {interval(test['low'], test['high'])}, "
        f"{test['num_images']:,} images that training never saw). Always predicting "
        f"*{escape(baseline['majority_class'])}*, the most frequent class, reaches "
        f"{share(baseline['majority_accuracy'])}.",
        "",
    ]
    lines += _warnings(never_answered(test))
    if (extension := metrics.get("extension")) is not None:
        lines += [escape(f"{joined_text(extension, len(plan.class_names))} {lost_text(extension)}"), ""]
    lines += _section(baseline_section(plan.recipe, metrics))
    for section in evaluation_sections(test):
        lines += _section(section)
    lines += ["## Training progress", ""]
    lines += [
        f"{escape(kept_text(metrics['best_phase'], history))} Training took {duration(metrics['seconds'])} in total.",
        "",
    ]
    if (timing := timing_text(plan, history, metrics["seconds"])) is not None:
        lines += [timing, ""]
    lines += _escaped_table(COURSE_HEADER, course_rows(history))
    if advice is not None:
        lines += ["# The advice", "", *_advice_sections(advice), *_footer(advice)]
    versions = ", ".join(f"{name} {value}" for name, value in metrics["versions"].items())
    return "\n".join([*lines, f"Trained with {versions}.", ""])


def evaluation_markdown(found: RunEvaluation) -> str:
    """Returns the report of the evaluation of a saved run."""
    test, baseline = found.evaluation.to_dict(), found.to_dict()["baseline"]
    which = "the test split" if found.images == "test" else "all images"
    lines = [
        "# Evaluation",
        "",
        f"**Accuracy {share(test['accuracy'])}** (95% interval {interval(test['low'], test['high'])}) on "
        f"{which} of {escape(found.source)}. Always predicting *{escape(baseline['majority_class'])}* reaches "
        f"{share(baseline['majority_accuracy'])}.",
        "",
        *_warnings(never_answered(test)),
    ]
    for section in evaluation_sections(test):
        lines += _section(section)
    lines += _unreadable(found.unreadable)
    return "\n".join([*lines, f"transfer-advisor {__version__}.", ""])


def _warnings(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in (f"**{escape(text)}**", "")]


def _section(section: Section) -> list[str]:
    return [f"## {section.title}", "", escape(section.text), "", *_escaped_table(section.header, section.rows)]


def _escaped_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return _table(header, [[escape(cell) for cell in row] for row in rows])


def export_markdown(exports: Sequence[Export]) -> str:
    """Returns the section of a training report on the exports of the model."""
    section = export_section(exports)
    return "\n".join([f"# {section.title}", "", section.text, "", *_escaped_table(section.header, section.rows)])


def _advice_sections(advice: Advice) -> list[str]:
    lines = [f"**{headline(advice)}**", ""]
    lines += _warnings([caution.message for caution in leading(advice.cautions)])
    lines += ["## Why", "", *(f"- {escape(reason)}" for reason in advice.because), ""]
    recipes = recipe_table(advice)
    lines += _escaped_table(recipes[0], recipes[1:])
    lines += [f"Expected accuracy with its 80% interval; {costs_note(advice.costs)}.", ""]
    lines += [confidence_text(advice), "", "## What was measured", ""]
    lines += _table(["number", "value"], [[name, escape(value)] for name, value in facts(advice)])
    lines += ["## Similarity to ImageNet", ""]
    lines += ["Your images, and the datasets of the study that the advice rests on:", ""]
    own = Landmark(title="**your images**", score=advice.similarity.score or 0)
    rows = sorted([*landmarks(), own], key=lambda landmark: -landmark.score)
    lines += _table(["dataset", "similarity"], [[landmark.title, f"{landmark.score:.2f}"] for landmark in rows])
    lines += ["## Freeze map", ""]
    phases = [
        f"{phase.name} ({f'{phase.steps:,} steps' if phase.steps else 'solved exactly'})"
        for phase in advice.plan.phases
    ]
    cells = [[text_of(cell) for cell in row] for row in freeze_table(advice.plan)[1:]]
    lines += _table(["stage", "weights", *phases], cells)
    lines += [
        FREEZE_NOTE,
        "",
    ]
    if advice.cautions:
        cautions = (f"- {escape(caution.message)} ({escape(caution.source)})" for caution in advice.cautions)
        lines += ["## Cautions", "", *cautions, ""]
    lines += ["## The images", ""]
    counts = advice.profile.images_per_class
    lines += _escaped_table(["class", "images"], [[name, f"{count:,}"] for name, count in counts.items()])
    if advice.profile.findings:
        lines += ["## Possible problems in the images", ""]
        lines += _table(
            ["images", "of", "finding", "examples"],
            [
                [
                    f"{finding.count:,}",
                    f"{finding.total:,}",
                    escape(f"{finding.message} {finding.effect}"),
                    escape("; ".join(examples(finding))),
                ]
                for finding in advice.profile.findings
            ],
        )
    return lines + _unreadable(advice.profile.unreadable)


def _unreadable(images: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns a list of images that could not be read; nothing if there are none."""
    if not images:
        return []
    names = (f"- {escape(image['path'])}: {escape(image['reason'])}" for image in images)
    return ["These files cannot be read and were left out:", "", *names, ""]


def _footer(advice: Advice) -> list[str]:
    return [
        f"transfer-advisor {__version__}, seed {advice.plan.seed}, images from {escape(advice.profile.source)}.",
        "",
    ]
