"""An evaluation in words: sections of a few sentences and a table, for Markdown, HTML and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strategies.display.numbers import duration, share
from strategies.display.results import baseline_rows

MOST_PAIRS = 10  # of confused classes


@dataclass(frozen=True, kw_only=True)
class Section:
    """A title, a few sentences and a table. Names in the cells are data: whoever shows them escapes them."""

    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def table(self) -> list[Sequence[str]]:
        """The header, then the rows."""
        return [self.header, *self.rows]


def evaluation_sections(test: Mapping[str, Any]) -> list[Section]:
    """Returns the sections of an evaluation: metrics, classes, confusions, calibration and mistakes.

    Args:
        test: Content of `metrics.json` under `test`, as `strategies.training.metrics.Evaluation.to_dict` returns it.
    """
    return [_metrics(test), _classes(test), *_confused(test), _calibration(test), *_mistakes(test)]


def baseline_section(recipe: str, metrics: Mapping[str, Any]) -> Section:
    """Returns a run compared with its baselines: always the most frequent class, and a new head alone.

    Args:
        recipe: Name of the recipe that was carried out.
        metrics: Content of `metrics.json`.
    """
    return Section(
        title="Compared with the baselines",
        text=gain_text(recipe, metrics["test"]["accuracy"], metrics["baseline"]["head"]),
        header=["", "accuracy", "95% interval", "time"],
        rows=[
            [name, share(accuracy), interval(low, high), duration(seconds)]
            for name, accuracy, low, high, seconds in baseline_rows(recipe, metrics)
        ],
    )


def gain_text(recipe: str, accuracy: float, head: Mapping[str, Any] | None) -> str:
    """Returns what a recipe gained over a new head alone and what that cost, in one sentence."""
    if head is None:
        return "The accuracy of a new head alone was not measured."
    if recipe == "head_only":
        return "This recipe is the head alone: the baseline of the other recipes."
    cost = head["extra_seconds"]
    return (
        f"A new head alone reaches {share(head['accuracy'])}, {recipe} {share(accuracy)}: {100 * head['gain']:+.1f} "
        f"points (standard error {100 * head['standard_error']:.1f}) for {duration(abs(cost))} "
        f"{'more' if cost >= 0 else 'less'}."
    )


def number_text(text: str) -> str:
    """Returns a number of `history.csv` with three decimals; a dash for an empty cell."""
    return f"{float(text):.3f}" if text else "–"


def interval(low: float | None, high: float | None) -> str:
    """Returns an interval of fractions in percent; a dash if there is none.

    Example:
        >>> from advisor.report.evaluation import interval
        >>> interval(0.743, 0.939), interval(None, None)
        ('74.3% to 93.9%', '–')
    """
    return "–" if low is None or high is None else f"{share(low)} to {share(high)}"


COURSE_HEADER = ("phase", "steps", "loss", "accuracy", "validation loss", "validation accuracy")
_COURSE = ("loss", "accuracy", "val_loss", "val_accuracy")


def course_rows(history: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Returns how each phase of a training ended, a row for each phase; columns as in `COURSE_HEADER`.

    Args:
        history: Rows of `history.csv`.
    """
    last = {row["phase"]: row for row in history}
    return [
        [phase, f"{int(row['step']):,}", *(number_text(row[name]) for name in _COURSE)] for phase, row in last.items()
    ]


def _metrics(test: Mapping[str, Any]) -> Section:
    return Section(
        title="Metrics",
        text=f"On {test['num_images']:,} images.",
        header=["", "value", "95% interval"],
        rows=[
            ["accuracy", share(test["accuracy"]), interval(test["low"], test["high"])],
            [
                "balanced accuracy",
                share(test["balanced_accuracy"]),
                interval(test["balanced_low"], test["balanced_high"]),
            ],
            ["macro F1", share(test["macro_f1"]), "–"],
            ["log loss", f"{test['log_loss']:.3f}", "–"],
            ["calibration error", share(test["reliability"]["error"]), "–"],
        ],
    )


def _classes(test: Mapping[str, Any]) -> Section:
    return Section(
        title="Results by class",
        text="Recall: share of the images of the class that are predicted as it. Precision: share of the predictions "
        "of the class that are correct.",
        header=["class", "images", "recall", "95% interval", "precision", "F1"],
        rows=[
            [
                name,
                f"{row['num_images']:,}",
                share(row["recall"]),
                interval(row["low"], row["high"]),
                *map(share, (row["precision"], row["f1"])),
            ]
            for name, row in test["per_class"].items()
        ],
    )


def _confused(test: Mapping[str, Any]) -> list[Section]:
    names = list(test["per_class"])
    pairs = [
        (count, true, predicted)
        for true, row in enumerate(test["confusion"])
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    if not pairs:
        return []
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    totals = [sum(row) for row in test["confusion"]]
    return [
        Section(
            title="Most often confused",
            text=f"Pairs of classes that are confused at least once: {len(pairs):,}.",
            header=["class", "predicted as", "images", "share of the class"],
            rows=[
                [names[true], names[predicted], f"{count:,}", share(count / totals[true])]
                for count, true, predicted in pairs[:MOST_PAIRS]
            ],
        )
    ]


def _calibration(test: Mapping[str, Any]) -> Section:
    found = test["reliability"]
    text = (
        f"Expected calibration error: {share(found['error'])}, over 15 bins of equal width (Guo et al. 2017). It is "
        "the mean gap between stated probability and accuracy."
    )
    if found["temperature"] is not None:
        text += (
            f" With the logits divided by {found['temperature']:.2f}, the temperature fitted on the validation images, "
            f"it would be {share(found['error_after'])}."
        )
    return Section(
        title="Can the probabilities be trusted?",
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
            title="Most confident mistakes",
            text="Look here first for wrong labels.",
            header=["image", "class", "predicted as", "probability"],
            rows=[
                [mistake["image"], mistake["true"], mistake["predicted"], share(mistake["probability"])]
                for mistake in test["mistakes"]
            ],
        )
    ]
