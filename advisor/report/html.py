"""Reports as one page each, without a network or a script, and the advice as a fragment for a notebook."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advisor._version import __version__
from advisor.report.advised import advice_values
from advisor.report.compared import comparison_values
from advisor.report.costs import timing_text
from advisor.report.evaluation import baseline_section, evaluation_sections, interval
from advisor.report.networks import freeze_table, network_pictures
from advisor.report.text import facts, headline
from strategies.charts import confusion_matrix, learning_charts, reliability_chart
from strategies.pages import render

if TYPE_CHECKING:
    from advisor.comparison import Comparison
    from advisor.recommendation import Recommendation
    from strategies.exporting import Export
    from strategies.plan import Plan


def advice_page(advice: Recommendation, pictures: Mapping[str, Any], *, command: str | None = None) -> str:
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
    advice: Recommendation | None,
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
    head = baseline["head"] if plan.recipe != "head_only" else None
    bars: list[tuple[Any, ...]] = [("majority class", baseline["majority_accuracy"], None, None, None)]
    if head is not None:
        bars.append(("head alone", head["accuracy"], head["low"], head["high"], head["seconds"]))
    bars.append((plan.recipe, test["accuracy"], test["low"], test["high"], metrics["seconds"]))
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
        bars=bars,
        charts=learning_charts(history),
        course=[
            [row["phase"], f"{int(row['step']):,}", *(_number(row[name]) for name in _COURSE)]
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
        freeze=freeze_table(plan),
        version=__version__,
    )


_COURSE = ("loss", "accuracy", "val_loss", "val_accuracy")


def comparison_page(comparison: Comparison, pictures: Mapping[str, Any], *, command: str | None = None) -> str:
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


def advice_fragment(advice: Recommendation) -> str:
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


def comparison_fragment(comparison: Comparison) -> str:
    """Returns a comparison as a fragment for a notebook."""
    return render("notebook_comparison.html", package="advisor", c=comparison_values(comparison))


def command_line(argv: Sequence[str]) -> str | None:
    """Returns the command that is running, as it would be typed; `None` where it is not one of ours.

    Example:
        >>> from advisor.report.html import command_line
        >>> command_line(["/usr/bin/advisor", "train", "my photos/", "--out", "run/"])
        "advisor train 'my photos/' --out run/"
        >>> command_line(["pytest"]) is None
        True
    """
    name = argv[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe") if argv else ""
    return shlex.join(["advisor", *argv[1:]]) if name == "advisor" else None


def _number(text: str) -> str:
    return f"{float(text):.3f}" if text else "–"
