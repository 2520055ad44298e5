"""Cells of the study -> what the advice keeps of them in `calibration.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np

from advisor.calibration import StudiedCell
from advisor.evidence.cells import StudyCell, by_size
from advisor.evidence.scoring import studied

# What the datasets of the study show, for the scale on which a report places the user's images; others keep their name.
TITLES = {
    "arabic28": "handwritten letters",
    "asl36": "signed letters",
    "busi3": "breast ultrasound",
    "caltech101": "photos of objects",
    "chessmen6": "chess pieces",
    "cifar10": "photos at 32 px",
    "clothing10": "clothing",
    "colon5": "colon tissue",
    "cornleaf4": "corn leaves",
    "dtd10": "textures",
    "fashion10": "Fashion-MNIST",
    "fish23": "fish",
    "flowers5": "flowers",
    "furniture7": "furniture",
    "genre10": "spectrograms of music",
    "gtsrb43": "traffic signs",
    "intel_scenes": "scenes",
    "malaria2": "malaria cells",
    "neu_steel6": "steel defects",
    "objects30": "objects",
    "plankton30": "plankton",
    "pneumonia2": "chest X-rays",
    "pokemon15": "cartoon characters",
    "rsscn7": "aerial photos",
    "shoes3": "shoes",
    "skin7": "skin lesions",
    "solarcell2": "solar cells",
    "sports14": "sports",
    "stanford_dogs": "dogs",
    "ucmerced21": "land use from above",
    "vehicles6": "vehicles",
    "wbc4_test": "blood cells",
    "weather4": "weather",
}
DIGITS = 4  # of numbers in the file; decisions at run time use what is in it


def make_study(cells: Sequence[StudyCell], *, on: date | None = None) -> dict[str, Any]:
    """Returns the part `study` of `calibration.json`: `provenance`, `landmarks` and `cells`.

    Args:
        cells: Cells of the study.
        on: The date in the provenance; default: today.
    """
    names = sorted({cell.dataset for cell in cells})
    return {
        "provenance": _provenance(cells, names, on or date.today()),
        "landmarks": [_landmark([cell for cell in cells if cell.dataset == name]) for name in names],
        "cells": [plain(studied(cell)) for cell in cells],
    }


def plain(cell: StudiedCell) -> dict[str, Any]:
    """Returns a cell as plain values for JSON, in which an unknown measure is `None`."""
    return {
        name: {key: _rounded(number) for key, number in value.items()} if isinstance(value, Mapping) else value
        for name, value in asdict(cell).items()
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)


def _landmark(cells: Sequence[StudyCell]) -> dict[str, Any]:
    largest = max(cells, key=lambda cell: max(facts.effective_num_images for facts in cell.facts.values()))
    scores = [float(facts.similarity.score or 0) for facts in largest.facts.values()]
    name = largest.dataset
    return {"name": name, "title": TITLES.get(name, name), "score": round(float(np.mean(scores)), DIGITS)}


def _provenance(cells: Sequence[StudyCell], names: Sequence[str], on: date) -> dict[str, Any]:
    measures = [facts.measures() for cell in cells for facts in cell.facts.values()]
    return {
        "datasets": list(names),
        "sizes": sorted({cell.size for cell in cells}, key=by_size),
        "num_cells": len(cells),
        "num_runs": sum(len(methods) for cell in cells for methods in cell.accuracy.values()),
        "cells_with_one_seed": sum(len(cell.seeds) == 1 for cell in cells),
        "backbones": sorted({f"{cell.backbone} at {cell.image_size} px" for cell in cells}),
        "trainer_versions": sorted({version for cell in cells for version in cell.trainer_versions}),
        "ranges": {
            name: [min(row[name] for row in measures), max(row[name] for row in measures)]
            for name in ("effective_num_images", "similarity")
        },
        "date": on.isoformat(),
    }
