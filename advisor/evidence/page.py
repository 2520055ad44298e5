"""The tables and figures of the evidence, written from the results that lie beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from advisor.evidence.cells import read_cells
from advisor.evidence.scoring import score
from advisor.evidence.tables import (
    BATCH_NORM,
    RATES,
    cells_table,
    confidence_table,
    evidence_table,
    groups_table,
    methods_table,
    numbers_table,
    policies_table,
    summary_table,
    variants_table,
)
from advisor.results import read_results
from advisor.thresholds import calibration, thresholds

FOLDER = Path(__file__).parent
METHODS = "mobilenet_0.25_96px.csv"  # every method, three seeds
STUDY = "mobilenet_0.25_96px*.csv"  # what the advice is fitted to
SECOND = "mobilenetv2_0.35_96px.csv"  # another backbone, never fitted to
UNSEEN = "unseen_mobilenet_0.25_96px.csv"  # datasets that were tried once the advice was fitted


def results(pattern: str) -> list[dict[str, str]]:
    """Returns the rows of the results in the package whose file name matches."""
    return [row for path in sorted((FOLDER / "results").glob(pattern)) for row in read_results(path)]


@cache
def study_score(pattern: str = STUDY) -> Mapping[str, Any]:
    """Returns the score of the advice on results in the package."""
    return score(read_cells(results(pattern)))


def tables() -> dict[str, str]:
    """Returns every table of the page by its mark."""
    methods, found, second, unseen = results(METHODS), study_score(), study_score(SECOND), study_score(UNSEEN)
    return {
        "summary": summary_table(found),
        "policies": policies_table(found),
        "numbers": numbers_table(calibration()["fit"]),
        "evidence": evidence_table(found),
        "confidence": confidence_table(found),
        "groups": groups_table(found),
        "second": policies_table(second),
        "second-cells": cells_table(second),
        "unseen": policies_table(unseen),
        "unseen-cells": cells_table(unseen),
        "cells": cells_table(found),
        "methods": methods_table(methods),
        "batch-norm": variants_table(methods, BATCH_NORM),
        "rates": variants_table(methods, RATES),
    }


def fill(text: str, found: Mapping[str, str]) -> str:
    """Returns a page with every table between its two marks replaced; other text stays as it is.

    Example:
        >>> from advisor.evidence.page import fill
        >>> print(fill("<!-- one -->\\nold\\n<!-- /one -->", {"one": "new\\n"}))
        <!-- one -->
        new
        <!-- /one -->
    """
    for name, table in found.items():
        marks = re.compile(f"(<!-- {name} -->\\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = marks.sub(lambda match, table=table: f"{match[1]}{table}{match[2]}", text)  # type: ignore[misc]
    return text


def write_page(folder: Path = FOLDER) -> list[Path]:
    """Fills the page of the evidence and the README of the project, and draws the figures; returns what was written."""
    from advisor.evidence.plots import draw_figures

    found = tables()
    pages = [path for path in (folder / "README.md", folder.parent.parent / "README.md") if path.is_file()]
    for page in pages:
        page.write_text(fill(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    return [*pages, *draw_figures(study_score(), thresholds(), folder / "plots")]
