"""Checks as rows: what can be wrong with a dataset, how it is reported, and what effect it has."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strategies.files import new_file


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An image that a check found.

    Attributes:
        path: Name of the file.
        detail: What is unusual about it.
    """

    path: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found in a dataset.

    Attributes:
        code: Name of the check.
        count: Number of images that it found.
        total: Number of images that were examined.
        message: What was found, as a sentence.
        effect: What that means for the advice and the training, as a sentence.
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
    """Something that can be wrong with a dataset.

    Attributes:
        code: Name of the check, and of its finding.
        looks_for: What it looks for.
        message: What was found, for any number of images: a template over `count`, `total`, `limit` and other values
            of the finding.
        effect: What that means for the advice and the training.
        source: Where the idea and the limit come from.
        measure: For checks of single images, the measure that is compared with `limit`; see
            `advisor.quality.suspects.measures`. Otherwise `""`.
        limit: An image is suspect below the limit, or above it where `above` is true.
        above: See `limit`.
        detail: What is said about a single image: a template over `value`.
        is_fault: Whether `advisor check --strict` fails because of it.
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
        looks_for="files that cannot be read, or are truncated",
        message="{count:,} of {total:,} files cannot be read.",
        effect="Such files are left out.",
        source="decoding with Pillow",
    ),
    Check(
        code="ignored",
        looks_for="files among the images that are not used",
        message="Files that are not used: {count:,} ({reasons}).",
        effect="Such files are left out.",
        source="names of the files",
        is_fault=False,
    ),
    Check(
        code="notes",
        looks_for="what was assumed while the images were read",
        message="{notes}",
        effect="If that is not what you mean, correct the source or say it with an option.",
        source="how the source was read",
        is_fault=False,
    ),
    Check(
        code="nested_classes",
        looks_for="sub-folders of class folders that may be the classes",
        message="Every class folder holds sub-folders: {folders}. If these are the classes, move them up by one "
        "folder. If they are groups, such as patients, name them with --group-by (group_by=...).",
        effect="The class of an image is the outer folder.",
        source="names of the folders",
        is_fault=False,
    ),
    Check(
        code="value_range",
        looks_for="16-bit images whose values need fewer bits",
        message="16-bit images: {count:,} of {total:,}. Their largest values need {bits} bits, so 0 to {largest:,} is "
        "taken as black to white.",
        effect="This holds for training and for new images too: image_bits in plan.json, where you can change it.",
        source="the smallest of 8, 10, 12, 14 and 16 bits that holds all values, as cameras and scanners deliver them",
        is_fault=False,
    ),
    Check(
        code="fourth_channel",
        looks_for="fourth channels that may be more than transparency",
        message="Images whose fourth channel does not look like transparency (it may be near infrared): {count:,} of "
        "{total:,}.",
        effect="If the file marks the channel as transparency, the image is shown on white through it. Otherwise it is "
        "left out. --channels 1,2,3,4 (channels=...) uses all four.",
        source="most of its pixels are neither clear nor opaque, or the file does not say what it is",
        detail="fourth channel",
    ),
    Check(
        code="duplicates",
        looks_for="exact copies",
        message="Exact copies of other images: {count:,} of {total:,}.",
        effect="An image and its copies count once and stay in one split.",
        source="SHA-256 of the content",
    ),
    Check(
        code="duplicates_across_classes",
        looks_for="exact copies with different labels",
        message="Exact copies with different labels: {count:,} of {total:,} images. At least one of the labels is "
        "probably wrong.",
        effect="An image and its copies count once. Training also learns the wrong label.",
        source="SHA-256 of the content",
    ),
    Check(
        code="near_copies",
        looks_for="near copies: the same picture in another size, encoding or brightness",
        message="Near copies of other images (another size, encoding or brightness): {count:,} of {total:,}.",
        effect="An image and its near copies count once and stay in one split.",
        source="difference hash of 64 bits, of which at most 8 differ; thumbnails with a correlation of at least 0.98, "
        "and of 0.8 in their detail",
    ),
    Check(
        code="near_copies_across_classes",
        looks_for="near copies with different labels",
        message="Near copies with different labels: {count:,} of {total:,} images. At least one of the labels is "
        "probably wrong.",
        effect="An image and its near copies count once. Training also learns the wrong label.",
        source="as for near copies",
    ),
    Check(
        code="copies_across_splits",
        looks_for="test images with an exact or near copy among the training or validation images",
        message="Leak between splits: test images with a copy among the training and validation images: {count:,} of "
        "{total:,}.",
        effect="Your split is kept, so the test accuracy will be too high.",
        source="as for copies and near copies",
    ),
    Check(
        code="lookalikes",
        looks_for="test images that are much closer to one training image than to all others",
        message="Possible leak between splits: test images that look far more like one training image than like any "
        "other: {count:,} of {total:,}. Frames of one video do, or photos of one object. Use --group-by (group_by=...) "
        "to keep such images in one split.",
        effect="The test accuracy will be higher than the accuracy on new images.",
        source="nearest and fifth nearest neighbor in frozen features, measured on eleven datasets",
    ),
    Check(
        code="groups",
        looks_for="how much too high a random split would make the accuracy, where groups are known",
        message="Each of {count:,} groups stays in one split. A new head alone reaches {grouped:.1%} on such splits, "
        "and {random:.1%} on random splits of the same images, a difference of {gap:.1f} points.",
        effect="Expect the figure for grouped splits on new groups.",
        source="linear classifier on frozen features of {total:,} images, mean of three splits of each kind",
        is_fault=False,
    ),
    Check(
        code="label_mistakes",
        looks_for="images that a classifier, trained without them, confidently assigns to another class",
        message="Images that look like another class than their own: {count:,} of {total:,}. Their labels may be "
        "wrong, or they are hard cases.",
        effect="Training uses them with the labels that they have.",
        source="confident learning: Northcutt et al. 2021",
    ),
    Check(
        code="blank",
        looks_for="images of a single color",
        message="Blank images (standard deviation of their gray levels below {limit:g}): {count:,} of {total:,}.",
        effect="Training uses them.",
        source="no image of thirteen datasets is below 2",
        measure="deviation",
        limit=1.5,
        detail="standard deviation of gray levels {value:.1f}",
    ),
    Check(
        code="dark",
        looks_for="images that are nearly black",
        message="Nearly black images (99% of their pixels are darker than {limit:g} of 255): {count:,} of {total:,}.",
        effect="Training uses them.",
        source="the 99th percentile of brightness, as in CleanVision; its limit is higher and also finds night scenes",
        measure="brightest",
        limit=50,
        detail="99% of the pixels are darker than {value:.0f}",
    ),
    Check(
        code="blurred",
        looks_for="images without any sharp edge",
        message="Blurred images (variance of the Laplacian at 128 px below {limit:g}): {count:,} of {total:,}.",
        effect="They look less similar to ImageNet than they are.",
        source="variance of the Laplacian: Pech-Pacheco et al. 2000; a blur of 4 px at 128 px is below the limit, and "
        "none of 4,400 images from eleven datasets is",
        measure="sharpness",
        limit=4,
        detail="variance of the Laplacian {value:.1f}",
    ),
    Check(
        code="tiny",
        looks_for="images that are enlarged at least three times",
        message="Tiny images (short side below {limit:g} px): {count:,} of {total:,}.",
        effect="They are enlarged at least three times and look less similar to ImageNet than they are.",
        source="a third of 96 px, the smallest default input",
        measure="short_side",
        limit=32,
        detail="short side {value:.0f} px",
    ),
    Check(
        code="odd_shape",
        looks_for="images of another shape than most",
        message="Images of unusual shape (aspect ratio more than {limit:g} times above or below the median): {count:,} "
        "of {total:,}.",
        effect="Squeezed to a square, these look distorted compared with the others.",
        source="aspect ratio compared with the median; CleanVision compares with a square, and its limit is 2.9",
        measure="shape",
        limit=3,
        above=True,
        detail="aspect ratio {value:.1f} times above or below the median",
    ),
    Check(
        code="odd_size",
        looks_for="images of another size than most",
        message="Images of unusual size (side more than {limit:g} times above or below the median): {count:,} of "
        "{total:,}.",
        effect="All images are resized to one input size.",
        source="square root of the area compared with the median",
        measure="size",
        limit=5,
        above=True,
        detail="side {value:.1f} times above or below the median",
    ),
)
CHECK_OF = {check.code: check for check in CHECKS}


def make_finding(code: str, suspects: Sequence[Suspect], *, total: int, **values: Any) -> Finding:
    """Returns what a check found, in the words of its row.

    Args:
        code: Code of the row in `CHECKS`.
        suspects: The images that were found.
        total: Number of images that were examined.
        **values: Other values that the message of the row names; `count` where it is not the number of suspects.
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
    """Returns the findings for which `advisor check --strict` exits with code 1."""
    return [finding for finding in findings if CHECK_OF[finding.code].is_fault]


def save_suspects(findings: Sequence[Finding], path: str | Path) -> None:
    """Writes one row for each suspect to a new CSV file: `path`, `finding`, `detail`.

    Args:
        findings: Findings of a profile.
        path: A file that does not exist yet; see `strategies.files.check_new_file`.
    """
    with new_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(("path", "finding", "detail"))
        writer.writerows(
            (suspect.path, finding.code, suspect.detail) for finding in findings for suspect in finding.suspects
        )
