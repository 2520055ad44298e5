"""Predictions as text, in parts: a table, CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from strategies.display.html import printable
from strategies.runs.prediction import ranked_columns

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
WIDEST = 30  # characters of a class name in the table


def as_table(parts: Iterable[pd.DataFrame], class_names: Sequence[str]) -> Iterator[str]:
    """Yields the lines of a table; its columns are as wide as the class names, so no row waits for later ones."""
    names = [printable(name) for name in class_names]
    width = min(WIDEST, max(len("class_2"), *map(len, names)))
    shown, scores = False, list[str]()
    for part in parts:
        ranked = _ranked(part)
        columns = [column for column in part.columns if column.startswith("p(")]
        widths = [max(6, min(WIDEST, len(name))) for name in names][: len(columns)]
        if not shown:
            shown = True
            scores = ["unsure", "novelty"] if "unsure" in part else []
            heads = [f"{name:<{width}}  {probability}" for name, probability in ranked]
            heads += scores
            heads += [f"{_cut(name, size):>{size}}" for name, size in zip(names, widths, strict=False)]
            yield "  ".join([*heads, "path"]) + "\n"
        for _, row in part.iterrows():
            path = printable(row["path"])
            if row["unreadable"] is not None:
                cells = [f"{'–':<{width}}  {'–':>{len(probability)}}" for _, probability in ranked]
                cells += [f"{'–':>{size}}" for size in [*map(len, scores), *widths]]
                path += f" (unreadable: {printable(row['unreadable'])})"
            else:
                cells = [
                    f"{_cut(printable(row[name]), width):<{width}}  {row[probability]:>{len(probability)}.1%}"
                    for name, probability in ranked
                ]
                cells += [f"{'yes' if row['unsure'] else 'no':>6}", f"{row['novelty']:>7.2f}"] if scores else []
                cells += [f"{row[column]:>{size}.1%}" for column, size in zip(columns, widths, strict=True)]
            yield "  ".join([*cells, path]) + "\n"


def _ranked(part: pd.DataFrame) -> list[tuple[str, str]]:
    """Returns the columns of the most probable classes, in that order, and of their probabilities."""
    return ranked_columns(sum(column.startswith("class_") for column in part.columns) + 1)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def as_csv(parts: Iterable[pd.DataFrame]) -> Iterator[str]:
    """Yields CSV with the columns of `strategies.predict`; missing values are empty cells."""
    for number, part in enumerate(parts):
        yield part.to_csv(index=False, header=number == 0, lineterminator="\n")


def as_json(parts: Iterable[pd.DataFrame], *, ascii_only: bool = False) -> Iterator[str]:
    """Yields one JSON object, `{"version", "predictions": [...]}`, one line per image; missing values are null.

    Args:
        parts: The predictions.
        ascii_only: Whether all other characters are escaped.
    """
    separator = f'{{"version": {VERSION}, "predictions": [\n'
    for part in parts:
        ranked = _ranked(part)
        for _, row in part.iterrows():
            missing = row["unreadable"] is not None
            names = [name for name in ("class", "probability", "novelty", "unsure") if name in part]
            values = {name: None if missing else row[name] for name in names}
            values = {"path": row["path"], **values, "unreadable": row["unreadable"]}
            if len(ranked) > 1:
                best = [{"class": row[name], "probability": row[probability]} for name, probability in ranked]
                values["top"] = None if missing else best
            every = {column[2:-1]: row[column] for column in part.columns if column.startswith("p(")}
            if every:
                values["probabilities"] = None if missing else every
            yield separator + json.dumps(values, ensure_ascii=ascii_only, allow_nan=False)
            separator = ",\n"
    yield "\n]}\n"
