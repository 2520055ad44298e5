"""What may be wrong with a dataset, as rows; what was found of them, and what that does to the advice."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An image that a check names.

    Attributes:
        path: Name of the file.
        detail: What is wrong with it.
    """

    path: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found in a dataset.

    Attributes:
        code: Name of the check.
        count: How many images it found, of `total` that were looked at.
        message: What was found, in a sentence.
        effect: What that does to the advice.
        source: Where the idea and the limit come from.
        suspects: The images.
    """

    code: str
    count: int
    total: int
    message: str
    effect: str
    source: str
    suspects: tuple[Suspect, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """Reads a finding of `fingerprint.json`."""
        return cls(**{**values, "suspects": tuple(Suspect(**suspect) for suspect in values["suspects"])})


@dataclass(frozen=True, kw_only=True)
class Check:
    """Something that may be wrong with a dataset.

    Attributes:
        code: Name of the finding.
        looks_for: What it looks for.
        message: What was found; a template over `count`, `total`, `limit` and what else the finding holds.
        effect: What that does to the advice.
        source: Where the idea and the limit come from.
        measure: Of single pictures: which of `measures` is compared with `limit`; `""` for what takes a search.
        limit: A picture is suspect below it, or where `above` is true, above it.
        detail: What is said of one picture; a template over `value`.
        is_fault: Whether `advisor check --strict` refuses a dataset with it.
    """

    code: str
    looks_for: str
    message: str
    effect: str
    source: str
    measure: str = ""
    limit: float = 0.0
    above: bool = False
    detail: str = ""
    is_fault: bool = True


CHECKS: tuple[Check, ...] = (
    Check(
        code="unreadable",
        looks_for="files that cannot be decoded to their end",
        message="{count:,} files cannot be read; fingerprint.json names them.",
        effect="They are left out.",
        source="Pillow",
    ),
    Check(
        code="ignored",
        looks_for="files among the images that are not used",
        message="{count:,} files are not used: no images, hidden, or links; fingerprint.json names them.",
        effect="They are left out.",
        source="names of the files",
        is_fault=False,
    ),
    Check(
        code="duplicates",
        looks_for="exact copies",
        message="{count:,} images are exact copies of others.",
        effect="They count once and stay in one split.",
        source="SHA-256 of the content",
    ),
    Check(
        code="duplicates_across_classes",
        looks_for="exact copies with different labels",
        message="{count:,} images stand in more than one class: probably wrong labels; fingerprint.json names them.",
        effect="They count once; whichever label is wrong is learned.",
        source="SHA-256 of the content",
    ),
    Check(
        code="near_copies",
        looks_for="the same picture in another size, encoding or brightness",
        message="{count:,} images are near copies of others.",
        effect="They count once and stay in one split.",
        source="difference hash of 64 bits, at most 8 of them other; thumbnails correlate by 0.98, their detail by 0.8",
    ),
    Check(
        code="near_copies_across_classes",
        looks_for="near copies with different labels",
        message="{count:,} images have a near copy in another class: probably wrong labels; fingerprint.json names "
        "them.",
        effect="They count once; whichever label is wrong is learned.",
        source="as near copies",
    ),
    Check(
        code="copies_across_splits",
        looks_for="test images with an exact or near copy among the training or validation images",
        message="Leak: {count:,} of {total:,} test images have a copy among the images for training and validation.",
        effect="Your split is kept; the accuracy on it is too high.",
        source="as copies and near copies",
    ),
    Check(
        code="lookalikes",
        looks_for="test images much closer to one training image than to others",
        message="Leak: {count:,} of {total:,} test images look far more like one training image than like others, as "
        "frames of one video or pictures of one object do. Name what belongs together with --group-by (group_by=...).",
        effect="The accuracy on such a split is higher than on new images.",
        source="nearest and fifth nearest neighbour in frozen features: measured on eleven datasets",
    ),
    Check(
        code="groups",
        looks_for="what a random split would hide",
        message="{count:,} groups stay in one split each. With a random split the same images would look {gap:.1f} "
        "points better: {random:.1%} instead of {grouped:.1%} for a new head alone.",
        effect="The lower figure is what to expect on new groups.",
        source="linear classifier on frozen features, {total:,} images, the mean of three splits of each kind",
        is_fault=False,
    ),
    Check(
        code="label_mistakes",
        looks_for="images that held-out predictions are confident belong to another class",
        message="{count:,} of {total:,} images look like another class than their own: wrong labels, or hard cases; "
        "fingerprint.json names them.",
        effect="They are trained on as they are labelled.",
        source="confident learning: Northcutt et al. 2021",
    ),
    Check(
        code="blank",
        looks_for="pictures of one colour",
        message="{count:,} images are blank: their gray levels deviate by less than {limit:g}.",
        effect="They are trained on.",
        source="no picture of thirteen datasets lies below 2",
        measure="deviation",
        limit=1.5,
        detail="gray levels deviate by {value:.1f}",
    ),
    Check(
        code="dark",
        looks_for="pictures that are nearly black",
        message="{count:,} images are nearly black: 99 % of their pixels are darker than {limit:g} of 255.",
        effect="They are trained on.",
        source="the 99th percentile of brightness as in CleanVision; lower than its limit, which names night scenes",
        measure="brightest",
        limit=50,
        detail="99 % of the pixels are darker than {value:.0f}",
    ),
    Check(
        code="blurred",
        looks_for="pictures without any edge",
        message="{count:,} images are blurred: the variance of their Laplacian at 128 px is below {limit:g}.",
        effect="They look further from ImageNet than they are.",
        source="variance of the Laplacian: Pech-Pacheco et al. 2000; a blur of 4 px at 128 px falls below it, none of "
        "4,400 pictures from eleven datasets",
        measure="sharpness",
        limit=4,
        detail="variance of the Laplacian {value:.1f}",
    ),
    Check(
        code="tiny",
        looks_for="pictures that are enlarged three times and more",
        message="{count:,} images have a short side below {limit:g} px.",
        effect="They are enlarged three times or more, and look further from ImageNet than they are.",
        source="a third of the smallest default input, 96 px",
        measure="short_side",
        limit=32,
        detail="short side {value:.0f} px",
    ),
    Check(
        code="odd_shape",
        looks_for="pictures of another shape than the others",
        message="{count:,} images are {limit:g} times as wide or as high, for their size, as half of the others.",
        effect="They are squeezed to a square as all are, and look distorted beside the others.",
        source="aspect ratio against the median; CleanVision's limit is 2.9 against a square",
        measure="shape",
        limit=3,
        above=True,
        detail="{value:.1f} times the median aspect ratio, or that much below",
    ),
    Check(
        code="odd_size",
        looks_for="pictures of another size than the others",
        message="{count:,} images are {limit:g} times as large or as small as half of the others.",
        effect="All are resized to one input.",
        source="root of the area against the median",
        measure="size",
        limit=5,
        above=True,
        detail="{value:.1f} times the median side, or that much below",
    ),
)
CHECK_OF = {check.code: check for check in CHECKS}


def make_finding(code: str, suspects: Sequence[Suspect], *, total: int, **values: Any) -> Finding:
    """Returns what a check found, in the words of its row.

    Args:
        code: Code of the row in `CHECKS`.
        suspects: The images, and what is wrong with each.
        total: How many images were looked at.
        **values: What else the row's message names; `count` where it is not the number of suspects.
    """
    check = CHECK_OF[code]
    filled = {"count": len(suspects), "total": total, "limit": check.limit, **values}
    return Finding(
        code=code,
        count=filled["count"],
        total=total,
        message=check.message.format_map(filled),
        effect=check.effect,
        source=check.source.format_map(filled),
        suspects=tuple(suspects),
    )


def faults(findings: Sequence[Finding]) -> list[Finding]:
    """Returns the findings for which `advisor check --strict` exits with 1."""
    return [finding for finding in findings if CHECK_OF[finding.code].is_fault]


def save_suspects(findings: Sequence[Finding], path: str | Path) -> None:
    """Writes one row for each suspect to a new CSV file: `path`, `finding`, `detail`.

    Args:
        findings: Findings of a profile.
        path: A file that does not exist yet: `strategies.files.check_new_file`.
    """
    with Path(path).open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "finding", "detail"))
        writer.writerows(
            (suspect.path, finding.code, suspect.detail) for finding in findings for suspect in finding.suspects
        )
