"""What is seen of single images, and which of them are suspect: odd pictures and copies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from advisor.checks import CHECK_OF, CHECKS, Suspect
from advisor.copies import near_copies, picture_hash, thumbnail
from strategies.cache import content_digest
from strategies.encoded import Encoded, open_encoded
from strategies.images import ImageDataset
from strategies.pixels import Shelf, UnreadableImage, decode_image, decode_sizes, readable
from strategies.splits import components

LOOK_SIZE = 128  # pixels, square: what every image is looked at in
NUM_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one pass over an image keeps of it: about a kilobyte.

    Attributes:
        digest: Of the content of the file, or of the array.
        size: Width and height of the original in pixels.
        grayscale: Whether it is without colour.
        deviation: Standard deviation of the gray levels at 128 px.
        brightest: 99th percentile of the gray levels.
        sharpness: Variance of the Laplacian at 128 px.
        hash: For near copies.
        thumbnail: Likewise, uint8 of shape `(1024,)`.
    """

    digest: bytes
    size: tuple[int, int]
    grayscale: bool
    deviation: float
    brightest: float
    sharpness: float
    hash: int
    thumbnail: np.ndarray


def look_at(item: Path | Encoded | np.ndarray, shelf: Shelf | None = None) -> Look | UnreadableImage:
    """Reads an image once, to its end.

    Args:
        item: A file, encoded bytes, or an array: see `ImageDataset.items`.
        shelf: Where its pixels are put at the sizes that will be asked for.
    """
    if isinstance(item, np.ndarray):
        return _look(content_digest(item), (item.shape[1], item.shape[0]), decode_image(item, LOOK_SIZE))
    try:
        with readable(item), open_encoded(item) as file:
            content = file.read()
            sizes = shelf.sizes if shelf is not None else ()
            # Small, yet every byte of the file goes through the decoder, so that cut-off files are found.
            size, (pixels, *others) = decode_sizes(content, (LOOK_SIZE, *sizes))
    except UnreadableImage as error:
        return error
    for other, decoded in zip(sizes, others, strict=True):
        assert shelf is not None
        shelf.put(item, other, decoded)
    return _look(hashlib.sha256(content).digest(), size, pixels)


def _look(digest: bytes, size: tuple[int, int], pixels: np.ndarray) -> Look:
    gray = Image.fromarray(pixels).convert("L")
    values, counts = np.arange(256), np.array(gray.histogram())
    mean = (values * counts).sum() / counts.sum()
    levels = np.asarray(gray).astype("float32")
    inner = 4 * levels[1:-1, 1:-1]
    laplacian = inner - levels[:-2, 1:-1] - levels[2:, 1:-1] - levels[1:-1, :-2] - levels[1:-1, 2:]
    return Look(
        digest=digest,
        size=size,
        grayscale=bool((pixels == pixels[..., :1]).all()),
        deviation=math.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()),
        brightest=float(np.searchsorted(counts.cumsum(), 0.99 * counts.sum())),
        sharpness=float(laplacian.var()),
        hash=picture_hash(gray),
        thumbnail=thumbnail(gray),
    )


def measures(looks: Sequence[Look]) -> dict[str, np.ndarray]:
    """Returns what single pictures are judged by, one array each; NaN where a measure says nothing."""
    width, height = np.array([look.size for look in looks], dtype="float64").T
    deviation = np.array([look.deviation for look in looks])
    short = np.minimum(width, height)
    # Enlarging blurs, and a blank picture has no edge: both are found by measures of their own.
    judged = (short >= LOOK_SIZE) & (deviation >= CHECK_OF["blank"].limit)
    return {
        "deviation": deviation,
        "brightest": np.where(
            deviation >= CHECK_OF["blank"].limit, np.array([look.brightest for look in looks]), np.nan
        ),
        "sharpness": np.where(judged, np.array([look.sharpness for look in looks]), np.nan),
        "short_side": short,
        "shape": _times_median(width / height),
        "size": _times_median(np.sqrt(width * height)),
    }


def _times_median(values: np.ndarray) -> np.ndarray:
    ratio = values / np.median(values)
    return np.maximum(ratio, 1 / ratio)


def picture_suspects(names: Sequence[str], looks: Sequence[Look]) -> dict[str, list[Suspect]]:
    """Returns what the checks of single pictures find.

    Args:
        names: Of the images.
        looks: One for each.
    """
    found, values = {}, measures(looks)
    for check in CHECKS:
        if check.measure:
            value = values[check.measure]
            suspect = value > check.limit if check.above else value < check.limit
            found[check.code] = [
                (names[int(index)], check.detail.format(value=value[index])) for index in np.flatnonzero(suspect)
            ]
    return found


def near_links(looks: Sequence[Look], duplicates: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Returns pairs of indices of near copies; of exact copies the first alone is looked at.

    Args:
        looks: One for each image.
        duplicates: Clusters of indices of identical images.
    """
    copies = {index for cluster in duplicates for index in cluster[1:]}
    kept = np.array([index for index in range(len(looks)) if index not in copies])
    hashes = np.array([looks[index].hash for index in kept], dtype="uint64")
    pairs = near_copies(hashes, np.array([looks[index].thumbnail for index in kept]))
    return [(int(kept[one]), int(kept[other])) for one, other in pairs]


def copy_suspects(
    dataset: ImageDataset, duplicates: Sequence[Sequence[int]], near: Sequence[Sequence[int]]
) -> dict[str, list[Suspect]]:
    """Returns what is found of exact and near copies, within and across classes and splits.

    Args:
        dataset: The images with their split.
        duplicates: Clusters of indices of identical images.
        near: Pairs of indices of near copies.
    """
    names, labels = dataset.names, dataset.labels
    found: dict[str, list[Suspect]] = {
        code: [] for code in ("duplicates", "near_copies", *_ACROSS.values(), "copies_across_splits")
    }
    for code, links in (("duplicates", duplicates), ("near_copies", near)):
        roots = components(len(dataset), links)
        members: dict[int, list[int]] = {}
        for index, root in enumerate(roots):
            members.setdefault(root, []).append(index)
        for root, cluster in members.items():
            found[code] += [(names[index], f"copy of {names[root]}") for index in cluster[1:]]
            first = {int(labels[index]): index for index in reversed(cluster)}  # of each label
            if len(first) > 1:
                for index in cluster:
                    other = min(one for label, one in first.items() if label != labels[index])
                    found[_ACROSS[code]].append((names[index], f"copy of {names[other]}"))
    trained: dict[int, int] = {}
    roots, split = components(len(dataset), [*duplicates, *near]), dataset.split or ()
    for index, part in enumerate(split):
        if part != "test":
            trained.setdefault(roots[index], index)
    found["copies_across_splits"] = [
        (names[index], f"copy of {names[trained[roots[index]]]}")
        for index, part in enumerate(split)
        if part == "test" and roots[index] in trained
    ]
    return found


_ACROSS = {"duplicates": "duplicates_across_classes", "near_copies": "near_copies_across_classes"}
