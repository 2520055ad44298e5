"""Reports in Markdown: the advice, the numbers behind it, the freeze map, and what training reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from advisor._version import __version__
from advisor.advice import Advice
from advisor.report.costs import costs_section, timing_text
from advisor.report.evaluation import Section, baseline_section, evaluation_sections, interval, number_text
from advisor.report.freeze_map import freeze_table
from advisor.report.terminal import text_of
from advisor.report.text import examples, facts, headline
from advisor.thresholds import Landmark, landmarks
from strategies.display.html import printable, share
from strategies.plans.plan import Plan

if TYPE_CHECKING:
    from strategies.runs.evaluation import RunEvaluation
    from strategies.runs.exporting import Export

_MARKUP = str.maketrans({one: f"\\{one}" for one in "\\`*_{}[]<>|#"})


def escape(text: str) -> str:
    """Returns text that Markdown shows as it is; names of classes and files are data."""
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
        plan: What was carried out.
        metrics: Content of `metrics.json`.
        history: Rows of `history.csv`.
        advice: What led to the plan, if anything did.
    """
    test, baseline = metrics["test"], metrics["baseline"]
    lines = [
        "# Training report",
        "",
        f"**Test accuracy {share(test['accuracy'])}** (95 % interval {interval(test)}, {test['num_images']:,} images "
        f"that training never saw), beside {share(baseline['majority_accuracy'])} for always answering "
        f"*{escape(baseline['majority_class'])}*, the most frequent class.",
        "",
    ]
    lines += _section(baseline_section(plan.recipe, test, baseline, metrics["seconds"]))
    for section in evaluation_sections(test):
        lines += _section(section)
    lines += ["## Course of training", ""]
    last = {row["phase"]: row for row in history}
    lines += [
        f"Weights kept from phase `{escape(metrics['best_phase'])}`, step {metrics['best_step']:,}; "
        f"{metrics['seconds']:.0f} s in all.",
        "",
    ]
    if (timing := timing_text(plan, history, metrics["seconds"])) is not None:
        lines += [timing, ""]
    lines += _table(
        ["phase", "steps", "loss", "accuracy", "validation loss", "validation accuracy"],
        [
            [escape(phase), f"{int(row['step']):,}"]
            + [number_text(row[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")]
            for phase, row in last.items()
        ],
    )
    if advice is not None:
        lines += ["# The advice", "", *_advice_sections(advice), *_footer(advice)]
    versions = ", ".join(f"{name} {value}" for name, value in metrics["versions"].items())
    return "\n".join([*lines, f"Trained with {versions}.", ""])


def evaluation_markdown(found: RunEvaluation) -> str:
    """Returns the report of a saved run on other images."""
    test, baseline = found.evaluation.to_dict(), found.to_dict()["baseline"]
    which = "the test split" if found.images == "test" else "all images"
    lines = [
        "# Evaluation",
        "",
        f"**Accuracy {share(test['accuracy'])}** (95 % interval {interval(test)}) on {which} of "
        f"{escape(found.source)}, beside {share(baseline['majority_accuracy'])} for always answering "
        f"*{escape(baseline['majority_class'])}*.",
        "",
    ]
    for section in evaluation_sections(test):
        lines += _section(section)
    if found.unreadable:
        lines += ["Left out, since they cannot be read:", ""]
        lines += [f"- {escape(one['path'])}: {escape(one['reason'])}" for one in found.unreadable]
        lines += [""]
    return "\n".join([*lines, f"transfer-advisor {__version__}.", ""])


def _section(section: Section) -> list[str]:
    rows = [[escape(cell) for cell in row] for row in section.rows]
    return [f"## {section.title}", "", escape(section.text), "", *_table(section.header, rows)]


def export_markdown(exports: Sequence[Export]) -> str:
    """Returns the section of a training report on what the model was exported to, and how each compares with it."""
    rows = [
        [
            one.format,
            escape(one.path),
            f"{one.num_bytes / 1e6:.1f} MB",
            f"{one.num_images:,} {escape(one.images)}",
            f"{one.top1_agreement:.2%}",
            f"{one.largest_difference:.1e}",
        ]
        for one in exports
    ]
    header = ["format", "where", "size", "compared on", "same class", "largest difference of a probability"]
    return "\n".join(["# Export", "", *_table(header, rows)])


def _advice_sections(advice: Advice) -> list[str]:
    lines = [f"**{headline(advice)}**", "", "## Why", "", escape(advice.because), ""]
    lines += [f"Source: {advice.rule.source}.", ""]
    lines += _table(["measured", ""], [[name, escape(value)] for name, value in facts(advice)])
    lines += ["## Where these images lie", ""]
    lines += ["Similarity to ImageNet of the datasets that the advice was tested on:", ""]
    own = Landmark(title="**these images**", score=advice.similarity.score or 0)
    rows = sorted([*landmarks(), own], key=lambda landmark: -landmark.score)
    lines += _table(["dataset", "similarity"], [[landmark.title, f"{landmark.score:.2f}"] for landmark in rows])
    lines += ["## Freeze map", ""]
    phases = [f"{phase.name} ({f'{phase.steps:,} steps' if phase.steps else 'exact'})" for phase in advice.plan.phases]
    cells = [[text_of(cell) for cell in row] for row in freeze_table(advice.plan)[1:]]
    lines += _table(["stage", "weights", *phases], cells)
    lines += [
        "Frozen: not updated, BatchNorm in inference mode. New: trained, not the pretrained layer as it is. "
        "BN inference: the four tensors of BatchNorm are held although the stage is trained.",
        "",
        "## Why not the others",
        "",
        *(f"- {escape(reason)}" for reason in advice.why_not.values()),
        "",
    ]
    if advice.costs:
        lines += _section(costs_section(advice.costs))
    if advice.cautions:
        cautions = (f"- {escape(caution.message)} ({escape(caution.source)})" for caution in advice.cautions)
        lines += ["## Cautions", "", *cautions, ""]
    lines += ["## The images", ""]
    lines += _table(
        ["class", "images"], [[escape(name), f"{count:,}"] for name, count in advice.profile.images_per_class.items()]
    )
    if advice.profile.findings:
        lines += ["## Their health", ""]
        lines += _table(
            ["images", "of", "finding", "such as"],
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
    if advice.profile.unreadable:
        lines += ["Left out, since they cannot be read:", ""]
        lines += [f"- {escape(one['path'])}: {escape(one['reason'])}" for one in advice.profile.unreadable]
        lines += [""]
    return lines


def _footer(advice: Advice) -> list[str]:
    return [
        f"transfer-advisor {__version__}, seed {advice.plan.seed}, images from {escape(advice.profile.source)}.",
        "",
    ]
