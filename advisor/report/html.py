"""Reports as one page each, without a network or a script, and the advice as a fragment for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advisor._version import __version__
from advisor.advice import Advice
from advisor.outcomes import Outcomes
from advisor.report.advised import advice_values, freeze_texts
from advisor.report.compared import comparison_values
from advisor.report.costs import timing_text
from advisor.report.evaluation import baseline_section, evaluation_sections, interval, number_text
from advisor.report.freeze_map import network_pictures
from advisor.report.text import facts, headline
from strategies.display.charts import confusion_matrix, learning_charts, reliability_chart
from strategies.display.html import render
from strategies.display.results import baseline_rows
from strategies.plans.plan import Plan

if TYPE_CHECKING:
    from strategies.runs.exporting import Export


def advice_page(advice: Advice, pictures: Mapping[str, Any], *, command: str | None = None) -> str:
    """Returns the report of a recommendation as one page.

    Args:
        advice: As `advisor.report.files.read_advice` reads it.
        pictures: The content of `pictures.json`.
        command: What was typed, where it is known.
    """
    return render("advice.html", package="advisor", a=advice_values(advice, pictures, command), version=__version__)


def training_page(
    plan: Plan,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, str]],
    advice: Advice | None,
    pictures: Mapping[str, Any],
    exports: Sequence[Export] = (),
    *,
    command: str | None = None,
) -> str:
    """Returns the report of a training run as one page: its result first, then the advice that it followed.

    Args:
        plan: What was carried out.
        metrics: Content of `metrics.json`.
        history: Rows of `history.csv`.
        advice: What led to the plan, if anything did.
        pictures: The content of `pictures.json`.
        exports: What the model was exported to.
        command: What was typed, where it is known.
    """
    test, baseline = metrics["test"], metrics["baseline"]
    sections = {section.title: section for section in evaluation_sections(test)}
    seen = {one["image"]: one for one in pictures["mistakes"]}
    return render(
        "training.html",
        package="advisor",
        a=None if advice is None else advice_values(advice, pictures, command),
        plan=plan,
        test=test,
        metrics=metrics,
        interval=interval(test),
        baseline=baseline,
        timing=timing_text(plan, history, metrics["seconds"]),
        beside=baseline_section(plan.recipe, test, baseline, metrics["seconds"]),
        bars=baseline_rows(plan.recipe, metrics),
        charts=learning_charts(history),
        course=[
            [row["phase"], f"{int(row['step']):,}", *(number_text(row[name]) for name in _COURSE)]
            for row in {row["phase"]: row for row in history}.values()
        ],
        sections_found=sections,
        confusion=confusion_matrix(list(test["per_class"]), test["confusion"]),
        reliability=reliability_chart(test["reliability"]),
        mistakes=[{**one, **seen.get(one["image"], {"jpeg": None, "heat": None})} for one in test["mistakes"]],
        exports=[
            [
                one.format,
                f"{one.num_bytes / 1e6:.1f} MB",
                f"{one.num_images:,} {one.images}",
                f"{one.top1_agreement:.2%}",
                f"{one.largest_difference:.1e}",
                one.runtime,
            ]
            for one in exports
        ],
        typed=command,
        versions=", ".join(f"{name} {value}" for name, value in metrics["versions"].items()),
        networks=network_pictures(plan),
        freeze=freeze_texts(plan),
        version=__version__,
    )


_COURSE = ("loss", "accuracy", "val_loss", "val_accuracy")


def comparison_page(comparison: Outcomes, pictures: Mapping[str, Any], *, command: str | None = None) -> str:
    """Returns the report of a comparison as one page: what following the advice costs or gains, then the advice.

    Args:
        comparison: All four recipes on one split.
        pictures: Of the advice.
        command: What was typed, where it is known.
    """
    difference, error = comparison.lead
    return render(
        "comparison.html",
        package="advisor",
        a=advice_values(comparison.advice, pictures, command),
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
        facts=facts(advice),
        networks=network_pictures(advice.plan),
        cautions=advice.cautions,
    )


def comparison_fragment(comparison: Outcomes) -> str:
    """Returns a comparison as a fragment for a notebook."""
    return render("notebook_comparison.html", package="advisor", c=comparison_values(comparison))
