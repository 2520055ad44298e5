"""Small pictures for a report, taken while the images are available, and kept in one file next to it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from advisor.advice import Advice
from advisor.quality.checks import Suspect
from strategies.data.dataset import ImageDataset
from strategies.data.decoding import decode_image
from strategies.data.encoded import UnreadableImage
from strategies.errors import UserError
from strategies.files import read_json, write_json
from strategies.training.run_files import PICTURES

if TYPE_CHECKING:
    from strategies.training.result import TrainingResult

PICTURES_VERSION = 1
SIDE = 96  # pixels, square, as the network sees them
QUALITY = 80
MOST_SAMPLED, MOST_CLASSES = 40, 20
MOST_OF_A_CLASS = 6
MOST_SUSPECTS = 4  # of each finding
_COPIES = ("copy of ", "looks like ")  # the detail of a suspect begins so where the name of another image follows


def advice_pictures(advice: Advice, data: ImageDataset) -> dict[str, Any]:
    """Returns the content of `pictures.json`: a few images of each class, and suspects of the findings.

    Args:
        advice: The advice.
        data: The images, split.
    """
    place = {name: index for index, name in enumerate(data.names)}
    return {
        "version": PICTURES_VERSION,
        "sample": [
            {"class": data.class_names[data.labels[index]], "image": data.names[index], "jpeg": jpeg}
            for index in _drawn(data, advice.plan.seed)
            if (jpeg := _picture(data, index)) is not None
        ],
        "suspects": {
            finding.code: shown
            for finding in advice.profile.findings
            if (shown := _suspects(data, place, finding.suspects))
        },
        "mistakes": [],
    }


def run_pictures(advice: Advice, data: ImageDataset, result: TrainingResult) -> dict[str, Any]:
    """Returns the pictures of the advice, and those of the most confident mistakes with their heat maps.

    Args:
        advice: The advice.
        data: The images, split.
        result: The result of training on them.
    """
    mistakes = result.test.mistakes
    place = {name: index for index, name in enumerate(data.names)}
    chosen = [place[mistake["image"]] for mistake in mistakes]
    seen = [decode_image(data.items[index], SIDE) for index in chosen]
    return advice_pictures(advice, data) | {
        "mistakes": [
            {"image": mistake["image"], "jpeg": encode(pixels), "heat": None if heat is None else encode(heat)}
            for mistake, pixels, heat in zip(mistakes, seen, _heated(result, data, chosen, seen), strict=True)
        ]
    }


def write_pictures(folder: Path, pictures: Mapping[str, Any]) -> None:
    """Writes `pictures.json`."""
    write_json(folder / PICTURES, pictures)


def read_pictures(folder: Path) -> Mapping[str, Any]:
    """Returns the pictures of a folder; none if it has no `pictures.json`, such as a run without advice.

    Raises:
        UserError: If the file does not follow its schema.
    """
    if not (folder / PICTURES).is_file():
        return {"sample": [], "suspects": {}, "mistakes": []}
    return read_json(folder / PICTURES, "pictures", package="advisor")


def encode(pixels: np.ndarray) -> str:
    """Returns a picture as a JPEG in base64.

    Args:
        pixels: uint8 RGB.

    Example:
        >>> import numpy as np
        >>> from advisor.report.pictures import encode
        >>> encode(np.zeros((96, 96, 3), dtype="uint8"))[:4]
        '/9j/'
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _picture(data: ImageDataset, index: int) -> str | None:
    try:
        return encode(decode_image(data.items[index], SIDE))
    except UnreadableImage:  # readable when it was profiled, but no longer
        return None


def _drawn(data: ImageDataset, seed: int) -> list[int]:
    """Returns the indices of a few images of each class; of many classes, some at even distances."""
    names = data.class_names
    shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_CLASSES)).astype(int))
    each = min(MOST_OF_A_CLASS, MOST_SAMPLED // len(shown))
    order = np.random.default_rng(seed).permutation(len(data))
    return [int(index) for label in shown for index in order[data.labels[order] == label][:each]]


def _suspects(data: ImageDataset, place: Mapping[str, int], suspects: Sequence[Suspect]) -> list[dict[str, Any]]:
    """Returns the first suspects that have a picture, each with its original if it is a copy."""
    shown = []
    for suspect in [suspect for suspect in suspects if suspect.path in place][:MOST_SUSPECTS]:
        jpeg = _picture(data, place[suspect.path])
        detail = suspect.detail
        original = next((detail.removeprefix(words) for words in _COPIES if detail.startswith(words)), "")
        if jpeg is not None:
            twin = _picture(data, place[original]) if original in place else None
            shown.append({"image": suspect.path, "jpeg": jpeg, "other": twin})
    return shown


def _heated(
    result: TrainingResult, data: ImageDataset, chosen: Sequence[int], seen: Sequence[np.ndarray]
) -> Sequence[np.ndarray | None]:
    """Returns each picture overlaid with where the model looked for the class that it predicted."""
    from strategies.runs.heatmaps import gradcam, overlay

    if not chosen:
        return []
    try:
        heats = gradcam(result.model, data.subset(chosen), resize=result.plan.resize)
    except UserError:  # images so small that no feature map has more than one cell, or a backend without gradients
        return [None] * len(chosen)
    return [overlay(pixels, heat) for pixels, heat in zip(seen, heats, strict=True)]
