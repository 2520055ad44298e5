"""Reports as self-contained HTML pages, without scripts, and as fragments for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advisor._version import __version__
from advisor.advice import Advice
from advisor.cautions import leading
from advisor.outcomes import Outcomes
from advisor.report.advised import advice_values, freeze_texts
from advisor.report.compared import comparison_values
from advisor.report.costs import timing_text
from advisor.report.evaluation import COURSE_HEADER, baseline_section, course_rows, evaluation_sections, interval
from advisor.report.exports import export_section
from advisor.report.freeze_map import FREEZE_NOTE, network_pictures
from advisor.report.words import (
    confidence_text,
    costs_note,
    facts,
    headline,
    joined_text,
    kept_text,
    lost_text,
    recipe_table,
)
from strategies.display.charts import confusion_matrix, learning_charts, reliability_chart
from strategies.display.html import render
from strategies.display.results import baseline_rows, never_answered
from strategies.plans.plan import Plan

if TYPE_CHECKING:
    from strategies.runs.exporting import Export


def advice_page(
    advice: Advice, pictures: Mapping[str, Any], *, command: str | None = None, working_folder: str | None = None
) -> str:
    """Returns the report of a recommendation as one page.

    Args:
        advice: The advice.
        pictures: Content of `pictures.json`.
        command: The command that was typed, if known.
        working_folder: The folder in which it was typed, if known.
    """
    values = advice_values(advice, pictures, command, working_folder)
    return render("advice.html", package="advisor", a=values, version=__version__)


def training_page(
    plan: Plan,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, str]],
    advice: Advice | None,
    pictures: Mapping[str, Any],
    exports: Sequence[Export] = (),
    *,
    command: str | None = None,
    working_folder: str | None = None,
) -> str:
    """Returns the report of a training run as one page: its result first, then the advice that it followed.

    Args:
        plan: The plan that was carried out.
        metrics: Content of `metrics.json`.
        history: Rows of `history.csv`.
        advice: The advice that led to the plan, if any.
        pictures: Content of `pictures.json`.
        exports: The exports of the model.
        command: The command that was typed, if known.
        working_folder: The folder in which it was typed, if known.
    """
    test, baseline, extension = metrics["test"], metrics["baseline"], metrics.get("extension")
    sections = {section.title: section for section in evaluation_sections(test)}
    seen = {picture["image"]: picture for picture in pictures["mistakes"]}
    return render(
        "training.html",
        package="advisor",
        a=None if advice is None else advice_values(advice, pictures, command, working_folder),
        plan=plan,
        test=test,
        metrics=metrics,
        extended=[joined_text(extension, len(plan.class_names)), lost_text(extension)] if extension else [],
        interval=interval(test["low"], test["high"]),
        warnings=never_answered(test),
        baseline=baseline,
        timing=timing_text(plan, history, metrics["seconds"]),
        beside=baseline_section(plan.recipe, metrics),
        bars=baseline_rows(plan.recipe, metrics),
        kept=kept_text(metrics["best_phase"], history),
        charts=learning_charts(history),
        course_header=COURSE_HEADER,
        course=course_rows(history),
        sections_found=sections,
        confusion=confusion_matrix(list(test["per_class"]), test["confusion"]),
        reliability=reliability_chart(test["reliability"]),
        mistakes=[
            {**mistake, **seen.get(mistake["image"], {"jpeg": None, "heat": None})} for mistake in test["mistakes"]
        ],
        exports=export_section(exports) if exports else None,
        typed=command,
        versions=", ".join(f"{name} {value}" for name, value in metrics["versions"].items()),
        networks=network_pictures(plan),
        freeze=freeze_texts(plan),
        freeze_note=FREEZE_NOTE,
        version=__version__,
    )


def comparison_page(
    comparison: Outcomes, pictures: Mapping[str, Any], *, command: str | None = None, working_folder: str | None = None
) -> str:
    """Returns the report of a comparison as one page: the gain or cost of following the advice, then the advice.

    Args:
        comparison: The results of all four recipes on one split.
        pictures: Pictures of the advice: content of `pictures.json`.
        command: The command that was typed, if known.
        working_folder: The folder in which it was typed, if known.
    """
    difference, error = comparison.lead
    return render(
        "comparison.html",
        package="advisor",
        a=advice_values(comparison.advice, pictures, command, working_folder) | {"in_file": None},
        c=comparison_values(comparison),
        lead=f"{100 * difference:+.1f} ± {100 * error:.1f}",
        typed=command,
        version=__version__,
    )


def advice_fragment(advice: Advice) -> str:
    """Returns the advice as a fragment for a notebook."""
    return render(
        "notebook_advice.html",
        package="advisor",
        title=headline(advice),
        because=advice.because,
        recipes=recipe_table(advice),
        costs_note=costs_note(advice.costs),
        confidence=confidence_text(advice),
        facts=facts(advice),
        networks=network_pictures(advice.plan),
        leading=leading(advice.cautions),
        cautions=advice.cautions,
    )


def comparison_fragment(comparison: Outcomes) -> str:
    """Returns a comparison as a fragment for a notebook."""
    return render("notebook_comparison.html", package="advisor", c=comparison_values(comparison))
