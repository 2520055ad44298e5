"""Writes the tables and figures of the evidence into a clone of the project, from the results of the study there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from advisor.evidence.cells import StudyCell, read_cells
from advisor.evidence.races import race_worth
from advisor.evidence.scoring import score
from advisor.evidence.tables import (
    cells_table,
    confidence_table,
    expected_table,
    gains_table,
    left_out_table,
    likeness_table,
    methods_table,
    places_table,
    policies_table,
    races_table,
    refit_table,
    summary_table,
)
from advisor.results import read_results
from strategies.errors import UserError
from strategies.files import write_text

# Paths below the root of a clone.
RESULTS = "advisor/evidence/results"
PAGES = ("docs/explanations/evidence.md", "docs/explanations/recipes.md", "README.md")
PLOTS = "docs/explanations/plots"

STUDY = "*px.csv"  # a file for each network
# With Keras' loop and logistic regression.
COMPARED = ("efficientnet_lite0_128px.csv", "mobilenet_0.25_96px.csv")
RACES = "races_*.csv"


def results(pattern: str, root: Path) -> list[dict[str, str]]:
    """Returns the rows of all results files of the study whose name matches a pattern.

    Args:
        pattern: Pattern of file names, such as `STUDY`.
        root: Root of a clone of the project.

    Raises:
        UserError: If no file matches: the folder is not a clone of the project.
    """
    paths = sorted((root / RESULTS).glob(pattern))
    if not paths:
        raise UserError(
            f"Expected a clone of the project with results in {RESULTS}/{pattern}. Received: {str(root.resolve())!r}. "
            "Name the root of a clone, or run the command there."
        )
    return [row for path in paths for row in read_results(path)]


@cache
def study_cells(root: Path) -> list[StudyCell]:
    """Returns the cells of the study in a clone."""
    return read_cells(results(STUDY, root))


@cache
def study_score(root: Path) -> Mapping[str, Any]:
    """Returns the score of the advice on the study in a clone."""
    return score(study_cells(root))


def tables(root: Path) -> dict[str, str]:
    """Returns all tables of the pages by the names of their markers.

    Args:
        root: Root of a clone of the project.
    """
    found = study_score(root)
    return {
        "summary": summary_table(found),
        "policies": policies_table(found),
        **{f"policies-{network}": policies_table(found, network) for network in found["places"]},
        "left-out": left_out_table(found),
        "confidence": confidence_table(found),
        "expected": expected_table(found),
        "likeness": likeness_table(found),
        "refit": refit_table(found),
        **{f"places-{network}": places_table(found, network) for network in found["places"]},
        "cells": cells_table(found),
        "gains": gains_table(found),
        "races": races_table(race_worth(results(RACES, root), study_cells(root))),
        **{f"methods-{Path(name).stem}": methods_table(results(name, root)) for name in COMPARED},
    }


def fill(text: str, found: Mapping[str, str]) -> str:
    """Replaces each table of a page between its two markers; all other text stays as it is.

    Args:
        text: The page, in Markdown.
        found: Name of a marker -> table.

    Example:
        >>> from advisor.evidence.page import fill
        >>> print(fill("<!-- sizes -->\\nold\\n<!-- /sizes -->", {"sizes": "new\\n"}))
        <!-- sizes -->
        new
        <!-- /sizes -->
    """
    for name, table in found.items():
        markers = re.compile(f"(<!-- {name} -->\\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = markers.sub(lambda match, table=table: f"{match[1]}{table}{match[2]}", text)  # type: ignore[misc]
    return text


def write_page(root: Path) -> list[Path]:
    """Fills the tables of the evidence page and of the README, and draws the figures; returns the files written.

    Args:
        root: Root of a clone of the project.

    Raises:
        UserError: If the folder is not a clone of the project, or matplotlib is not installed.
    """
    from advisor.evidence.plots import draw_figures

    pages = [root / name for name in PAGES]
    if missing := [page for page in pages if not page.is_file()]:
        raise UserError(
            f"Expected a clone of the project with {' and '.join(PAGES)}. Received: {str(root.resolve())!r} without "
            f"{missing[0].relative_to(root)}. Name the root of a clone, or run the command there."
        )
    found = tables(root)
    for page in pages:
        write_text(page, fill(page.read_text(encoding="utf-8"), found))
    return [*pages, *draw_figures(study_score(root), root / PLOTS)]
