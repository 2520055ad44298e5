"""The result of a training run as HTML, for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from strategies.display.charts import confusion_matrix, learning_charts, reliability_chart
from strategies.display.html import render
from strategies.display.numbers import duration, share
from strategies.errors import few


def result_html(*, recipe: str, network: str, metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Returns the result of a training run as a fragment of HTML.

    Args:
        recipe: Name of the recipe that was carried out.
        network: The pretrained network, in words.
        metrics: Content of `metrics.json`.
        history: Rows of `history.csv`.
    """
    test, seconds = metrics["test"], metrics["seconds"]
    return render(
        "result.html",
        title=f"{recipe}: test accuracy {share(test['accuracy'])}",
        sentence=f"95% interval {share(test['low'])} to {share(test['high'])} on {test['num_images']:,} images that "
        f"training never saw. {network}, {duration(seconds)}.",
        warnings=never_answered(test),
        charts=[*learning_charts(history), reliability_chart(test["reliability"])],
        rows=baseline_rows(recipe, metrics),
        confusion=confusion_matrix(list(test["per_class"]), test["confusion"]),
    )


def baseline_rows(recipe: str, metrics: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Returns a row for each baseline, then one for the recipe.

    Args:
        recipe: Name of the recipe.
        metrics: Content of `metrics.json`.

    Returns:
        Rows `(name, accuracy, low, high, seconds)`, with the 95% interval from `low` to `high`. Unknown values are
        `None`.
    """
    test, head = metrics["test"], metrics["baseline"]["head"]
    rows: list[tuple[Any, ...]] = [("majority class", metrics["baseline"]["majority_accuracy"], None, None, None)]
    if head is not None and recipe != "head_only":
        rows.append(("head alone", head["accuracy"], head["low"], head["high"], head["seconds"]))
    rows.append((recipe, test["accuracy"], test["low"], test["high"], metrics["seconds"]))
    return rows


def never_answered(test: Mapping[str, Any]) -> list[str]:
    """Returns a sentence on the classes with test images that the model answered for no image; nothing without one."""
    names = [name for name, row in test["per_class"].items() if row["num_images"] and row["precision"] is None]
    if not names:
        return []
    advice = "Add images of such classes, and look at the balanced accuracy."
    return [
        f"{few(names)} {'was' if len(names) == 1 else 'were'} never answered: no test image got that class. {advice}"
    ]
