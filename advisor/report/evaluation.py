"""An evaluation in words: sections of a sentence and a table, which Markdown and a terminal show alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strategies.display.html import share

MOST_PAIRS = 10  # of classes that are confused


@dataclass(frozen=True, kw_only=True)
class Section:
    """A title, a sentence and a table; names in the cells are data, to be escaped by whoever shows them."""

    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def table(self) -> list[Sequence[str]]:
        """The header and the rows below it."""
        return [self.header, *self.rows]


def evaluation_sections(test: Mapping[str, Any]) -> list[Section]:
    """Returns what an evaluation found, from the content of `metrics.json` under `test`.

    Args:
        test: What `strategies.training.metrics.Evaluation.to_dict` returns.
    """
    return [_metrics(test), _classes(test), *_confused(test), _calibration(test), *_mistakes(test)]


def baseline_section(recipe: str, test: Mapping[str, Any], baseline: Mapping[str, Any], seconds: float) -> Section:
    """Returns what a run is to be measured by: the most frequent class, and a new head alone."""
    head = baseline["head"]
    rows = [["majority class", share(baseline["majority_accuracy"]), "–", "–"]]
    if head is not None and recipe != "head_only":
        rows.append(["head alone", share(head["accuracy"]), interval(head), f"{head['seconds']:.0f} s"])
    rows.append([recipe, share(test["accuracy"]), interval(test), f"{seconds:.0f} s"])
    return Section(
        title="Beside the baselines",
        text=gain_text(recipe, test["accuracy"], head),
        header=["", "accuracy", "95 % interval", "time"],
        rows=rows,
    )


def gain_text(recipe: str, accuracy: float, head: Mapping[str, Any] | None) -> str:
    """Returns what a recipe gained over a new head alone, and what that cost, in one sentence."""
    if head is None:
        return "What a new head alone reaches was not measured."
    if recipe == "head_only":
        return "This recipe is the head alone, the baseline of the others."
    cost = head["extra_seconds"]
    return (
        f"A new head alone reaches {share(head['accuracy'])}; {recipe} {share(accuracy)}: {100 * head['gain']:+.1f} "
        f"points (± {100 * head['standard_error']:.1f}) for {abs(cost):.0f} s {'more' if cost >= 0 else 'less'}."
    )


def number_text(text: str) -> str:
    """Returns a number of `history.csv` for people; a dash where there is none."""
    return f"{float(text):.3f}" if text else "–"


def interval(row: Mapping[str, Any], low: str = "low", high: str = "high") -> str:
    """Returns the interval of a row as per cent; a dash where there is none."""
    return "–" if row[low] is None else f"{row[low]:.1%} to {row[high]:.1%}"


def _metrics(test: Mapping[str, Any]) -> Section:
    return Section(
        title="Metrics",
        text=f"On {test['num_images']:,} images.",
        header=["", "value", "95 % interval"],
        rows=[
            ["accuracy", share(test["accuracy"]), interval(test)],
            ["balanced accuracy", share(test["balanced_accuracy"]), interval(test, "balanced_low", "balanced_high")],
            ["macro F1", share(test["macro_f1"]), "–"],
            ["log loss", f"{test['log_loss']:.3f}", "–"],
            ["calibration error", share(test["reliability"]["error"]), "–"],
        ],
    )


def _classes(test: Mapping[str, Any]) -> Section:
    return Section(
        title="Each class",
        text="Recall: share of the class's images that were found. Precision: share of its predictions that are "
        "correct.",
        header=["class", "images", "recall", "95 % interval", "precision", "F1"],
        rows=[
            [
                name,
                f"{row['num_images']:,}",
                share(row["recall"]),
                interval(row),
                *map(share, (row["precision"], row["f1"])),
            ]
            for name, row in test["per_class"].items()
        ],
    )


def _confused(test: Mapping[str, Any]) -> list[Section]:
    names = list(test["per_class"])
    pairs = [
        (count, true, called)
        for true, row in enumerate(test["confusion"])
        for called, count in enumerate(row)
        if count and true != called
    ]
    if not pairs:
        return []
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    totals = [sum(row) for row in test["confusion"]]
    return [
        Section(
            title="Most often confused",
            text=f"{len(pairs):,} pairs of classes are confused at least once.",
            header=["class", "called", "images", "of the class"],
            rows=[
                [names[true], names[called], f"{count:,}", share(count / totals[true])]
                for count, true, called in pairs[:MOST_PAIRS]
            ],
        )
    ]


def _calibration(test: Mapping[str, Any]) -> Section:
    found = test["reliability"]
    text = f"Expected calibration error {share(found['error'])}, over 15 bins of equal width (Guo et al. 2017)."
    if found["temperature"] is not None:
        text += (
            f" With logits divided by {found['temperature']:.2f}, the temperature that the validation images ask for, "
            f"it is {share(found['error_after'])}."
        )
    return Section(
        title="Can the probabilities be believed?",
        text=text,
        header=["probability", "images", "mean probability", "accuracy"],
        rows=[
            [
                f"{row['low']:.2f} to {row['high']:.2f}",
                f"{row['num_images']:,}",
                share(row["confidence"]),
                share(row["accuracy"]),
            ]
            for row in found["bins"]
        ],
    )


def _mistakes(test: Mapping[str, Any]) -> list[Section]:
    if not test["mistakes"]:
        return []
    return [
        Section(
            title="Most confidently wrong",
            text="The first place to look for wrong labels.",
            header=["image", "class", "called", "with probability"],
            rows=[[row["image"], row["true"], row["predicted"], share(row["probability"])] for row in test["mistakes"]],
        )
    ]
