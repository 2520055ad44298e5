"""Reports in Markdown: the advice, the numbers behind it, the freeze map, and what training reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor._version import __version__
from advisor.outlook import landmarks
from advisor.report.text import facts, freeze_rows, headline, printable

if TYPE_CHECKING:
    from advisor.recommendation import Recommendation
    from strategies.exporting import Export
    from strategies.training import TrainingResult

_MARKUP = str.maketrans({one: f"\\{one}" for one in "\\`*_{}[]<>|#"})


def escape(text: str) -> str:
    """Returns text that Markdown shows as it is; names of classes and files are data."""
    return printable(text).translate(_MARKUP)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def advice_markdown(advice: Recommendation) -> str:
    """Returns the report of a recommendation."""
    return "\n".join(["# Which layers to freeze", "", *_advice_sections(advice), *_footer(advice)])


def training_markdown(advice: Recommendation, result: TrainingResult) -> str:
    """Returns the report of a training run: its result first, then the advice that it followed."""
    test = result.test
    lines = [
        "# Training report",
        "",
        f"**Test accuracy {test.accuracy:.1%}** (95 % interval {test.low:.1%} to {test.high:.1%}, "
        f"{test.num_images:,} images that training never saw), beside {test.majority_accuracy:.1%} for always "
        f"answering *{escape(test.majority_class)}*, the most frequent class.",
        "",
    ]
    lines += _table(
        ["", "test set"],
        [
            ["accuracy", f"{test.accuracy:.1%}"],
            ["balanced accuracy", f"{test.balanced_accuracy:.1%}"],
            ["majority class", f"{test.majority_accuracy:.1%}"],
            ["recipe carried out", f"`{result.plan.recipe}`"],
            ["weights kept from", f"phase `{result.best_phase}`, step {result.best_step:,}"],
            ["time", f"{result.seconds:.0f} s"],
        ],
    )
    lines += ["## Each class", ""]
    lines += _table(
        ["class", "test images", "recall"],
        [
            [escape(name), str(row["num_images"]), "–" if row["recall"] is None else f"{row['recall']:.1%}"]
            for name, row in test.per_class.items()
        ],
    )
    lines += ["## Course of training", ""]
    lines += _table(
        ["phase", "steps", "loss", "accuracy", "validation loss", "validation accuracy"],
        [
            [str(row.phase), f"{row.step:,}", *(_number(value) for value in row[2:6])]
            for row in result.history.groupby("phase", sort=False)
            .tail(1)[["phase", "step", "loss", "accuracy", "val_loss", "val_accuracy"]]
            .itertuples(index=False)
        ],
    )
    lines += ["# The advice", "", *_advice_sections(advice), *_footer(advice)]
    versions = ", ".join(f"{name} {value}" for name, value in result.versions.items())
    return "\n".join([*lines, f"Trained with {versions}.", ""])


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


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def _advice_sections(advice: Recommendation) -> list[str]:
    lines = [f"**{headline(advice)}**", "", "## Why", "", escape(advice.because), ""]
    lines += [f"Source: {advice.rule.source}.", ""]
    lines += _table(["measured", ""], [[name, escape(value)] for name, value in facts(advice)])
    lines += ["## Where these images lie", ""]
    lines += ["Similarity to ImageNet of the datasets that the advice was tested on:", ""]
    own = {"title": "**these images**", "score": advice.similarity.score or 0}
    rows = sorted([*landmarks(), own], key=lambda row: -row["score"])
    lines += _table(["dataset", "similarity"], [[row["title"], f"{row['score']:.2f}"] for row in rows])
    lines += ["## Freeze map", ""]
    phases = [f"{one.name} ({f'{one.steps:,} steps' if one.steps else 'exact'})" for one in advice.plan.phases]
    lines += _table(["stage", "weights", *phases], freeze_rows(advice))
    lines += [
        "Frozen: not updated, BatchNorm in inference mode. New: trained, not the pretrained layer as it is. "
        "BN inference: the four tensors of BatchNorm are held although the stage is trained.",
        "",
        "## Why not the others",
        "",
        *(f"- {escape(reason)}" for reason in advice.why_not.values()),
        "",
    ]
    if advice.cautions:
        cautions = (f"- {escape(one['message'])} ({escape(one['source'])})" for one in advice.cautions)
        lines += ["## Cautions", "", *cautions, ""]
    lines += ["## The images", ""]
    lines += _table(
        ["class", "images"], [[escape(name), f"{count:,}"] for name, count in advice.profile.images_per_class.items()]
    )
    if advice.profile.unreadable:
        lines += ["Left out, since they cannot be read:", ""]
        lines += [f"- {escape(one['path'])}: {escape(one['reason'])}" for one in advice.profile.unreadable]
        lines += [""]
    return lines


def _footer(advice: Recommendation) -> list[str]:
    return [
        f"transfer-advisor {__version__}, seed {advice.plan.seed}, images from {escape(advice.profile.source)}.",
        "",
    ]
