"""Health of a dataset: what is looked for as rows, what was found, and what that does to the advice."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from advisor.copies import near_copies, picture_hash, thumbnail
from strategies.cache import content_digest
from strategies.encoded import Encoded, open_encoded
from strategies.errors import OutputError
from strategies.images import ImageDataset, load_dataset
from strategies.pixels import Shelf, UnreadableImage, decode_image, decode_sizes, readable
from strategies.splits import components, split_dataset, with_groups

if TYPE_CHECKING:
    from advisor.probes import FrozenNetwork, Probe
    from advisor.profiling import DatasetProfile

LOOK_SIZE = 128  # pixels, square: what every image is looked at in
NUM_EXAMPLES = 3
MOST_TEST_IMAGES = 300  # whose neighbours are looked for in advice
MOST_CHECKED = 2_000  # images for training that `check_images` sends through a network, and likewise for testing
# A lookalike lies, in the features of a frozen network, less than 0.6 times as far as the fifth nearest training image.
# That is 13 to 36 % of the test images where frames of one video or pictures of one hand lie on both sides of a random
# split, none where they do not, and at most 8 % of those of nine other datasets (three seeds, two networks).
NEIGHBOUR, NEARER, LEAKING = 5, 0.6, 0.1
# With 5 % of the labels of eight datasets changed, this margin named 27 to 57 % of the changed ones and at most 2 % of
# the others; without a margin it was 66 to 78 % and up to 21 %.
MISTAKE_MARGIN = 0.7
GAP_SPLITS, GAP_HELD_OUT = 3, 0.25

Suspect = tuple[str, str]  # the name of a file, and what is the matter with it


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
        effect="None: they are trained on as they are labelled.",
        source="confident learning: Northcutt et al. 2021",
    ),
    Check(
        code="blank",
        looks_for="pictures of one colour",
        message="{count:,} images are blank: their gray levels deviate by less than {limit:g}.",
        effect="None: they are trained on.",
        source="no picture of thirteen datasets lies below 2",
        measure="deviation",
        limit=1.5,
        detail="gray levels deviate by {value:.1f}",
    ),
    Check(
        code="dark",
        looks_for="pictures that are nearly black",
        message="{count:,} images are nearly black: 99 % of their pixels are darker than {limit:g} of 255.",
        effect="None: they are trained on.",
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
        effect="None: all are resized to one input.",
        source="root of the area against the median",
        measure="size",
        limit=5,
        above=True,
        detail="{value:.1f} times the median side, or that much below",
    ),
)
_CHECKS = {check.code: check for check in CHECKS}


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
    judged = (short >= LOOK_SIZE) & (deviation >= _CHECKS["blank"].limit)
    return {
        "deviation": deviation,
        "brightest": np.where(
            deviation >= _CHECKS["blank"].limit, np.array([look.brightest for look in looks]), np.nan
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


def make_finding(code: str, suspects: Sequence[Suspect], *, total: int, **values: Any) -> dict[str, Any]:
    """Returns a finding as plain values: what, how many of how many, what it does to the advice, and the suspects.

    Args:
        code: Of the row in `CHECKS`.
        suspects: Files, and what is the matter with each.
        total: How many were looked at.
        **values: What else the row's message speaks of; `count` where it is not the number of suspects.
    """
    check = _CHECKS[code]
    filled = {"count": len(suspects), "total": total, "limit": check.limit, **values}
    return {
        "code": code,
        "count": filled["count"],
        "total": total,
        "message": check.message.format_map(filled),
        "effect": check.effect,
        "source": check.source.format_map(filled),
        "suspects": [{"path": path, "detail": detail} for path, detail in suspects],
    }


def faults(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the findings that `advisor check --strict` refuses a dataset for."""
    return [one for one in findings if _CHECKS[one["code"]].is_fault]


def save_suspects(findings: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Writes one row for each suspect to a CSV file: `path`, `finding`, `detail`.

    Args:
        findings: Of a profile.
        path: Of a file that is not there yet; `check_new_file` tells before the work is done.
    """
    with Path(path).open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "finding", "detail"))
        writer.writerows((one["path"], found["code"], one["detail"]) for found in findings for one in found["suspects"])


def check_new_file(path: str | Path) -> None:
    """Checks that a file can be made.

    Raises:
        OutputError: If something is there already, or its folder is not.
    """
    if Path(path).exists() or not Path(path).absolute().parent.is_dir():
        problem = "which exists" if Path(path).exists() else "whose folder does not exist"
        raise OutputError(f"Expected a new file. Received: {str(path)!r}, {problem}. Name another file.")


def health_cautions(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Returns findings as cautions of the advice: code, message and source."""
    return [
        {"code": one["code"], "message": f"{one['message']} {one['effect']}", "source": one["source"]}
        for one in findings
    ]


# What takes a frozen network


def label_mistakes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the class that held-out predictions are confident of, -1 where they do not contradict the label.

    A class is confident of an image where its probability reaches the mean that it has over the images of that label.
    Of such classes the most probable one is the image's; a mistake is likely where it is not the label, and by 0.7 more
    probable than it.

    Args:
        probabilities: Of each class for each image when held out, shape `(num_images, num_classes)`.
        labels: Class indices, shape `(num_images,)`.

    Reference:
        Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, equation 1.

    Example:
        >>> import numpy as np
        >>> from advisor.health import label_mistakes
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
        >>> label_mistakes(probabilities, np.array([0, 0, 1, 1])).tolist()
        [-1, -1, -1, 0]
    """
    classes = probabilities.shape[1]
    means = np.array(
        [probabilities[labels == one, one].mean() if (labels == one).any() else 2 for one in range(classes)]
    )
    confident = np.where(probabilities >= means - 1e-6, probabilities, -1.0)  # equal ones, but for rounding
    found = confident.argmax(axis=1)
    rows = np.arange(len(labels))
    margin = confident[rows, found] - probabilities[rows, labels]
    return np.where((found != labels) & (margin >= MISTAKE_MARGIN), found, -1)


def lookalikes(features: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Returns for each image the index of the one among others that it lies suspiciously near to, else -1.

    Near is what lies less than 0.6 times as far as the fifth nearest: pictures of one class lie about as far from one
    another as from the next, frames of one video do not.

    Args:
        features: Of each stage, shape `(num_images, channels)`; centred on the others and divided by their length, so
            that every stage has a say.
        others: Likewise.

    Example:
        >>> import numpy as np
        >>> from advisor.health import lookalikes
        >>> others = np.random.default_rng(0).normal(size=(50, 8))
        >>> lookalikes([others[:2] + [[0.01], [3]]], [others]).tolist()
        [0, -1]
    """
    if len(others[0]) < NEIGHBOUR:
        return np.full(len(features[0]), -1)
    centres = [other.mean(axis=0) for other in others]
    ours, theirs = (
        np.concatenate([_unit(one - centre) for one, centre in zip(side, centres, strict=True)], axis=1)
        for side in (features, others)
    )
    found = []
    for start in range(0, len(ours), 1_000):
        distance = np.sqrt(np.maximum(2 * len(others) - 2 * ours[start : start + 1_000] @ theirs.T, 0))
        nearest = distance.argmin(axis=1)
        fifth = np.partition(distance, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1]
        found.append(np.where(distance.min(axis=1) < NEARER * fifth, nearest, -1))
    return np.concatenate(found)


def _unit(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)


def split_gap(dataset: ImageDataset, features: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Returns the accuracy of a linear classifier on held-out images, with a random split and with one by groups.

    Args:
        dataset: Labelled images with groups.
        features: Of one stage, shape `(num_images, channels)`.
        seed: Of the splits; each kind is drawn three times, a quarter of the images held out.
    """
    from strategies.classifier import cross_validate

    accuracy = []
    for group in (None, dataset.group):
        right, count = 0.0, 0
        for number in range(GAP_SPLITS):
            drawn = split_dataset(
                replace(dataset, split=None, group=group),
                seed=seed + number,
                val_fraction=0,
                test_fraction=GAP_HELD_OUT,
            )
            is_test = np.array(drawn.split) == "test"
            held = np.flatnonzero(is_test)
            right += cross_validate(features, dataset.labels, [(np.flatnonzero(~is_test), held)]).correct[held].sum()
            count += len(held)
        accuracy.append(right / max(count, 1))
    return accuracy[0], accuracy[1]


def measure_and_examine(
    profile: DatasetProfile,
    dataset: ImageDataset,
    network: FrozenNetwork,
    *,
    most: int,
    most_tested: int,
    seed: int,
    whole: bool = True,
) -> tuple[DatasetProfile, Probe]:
    """Sends images through a frozen network once, and returns the profile with what that shows of their health.

    Args:
        profile: Of the dataset.
        dataset: Images with their split.
        network: Which network.
        most: Images for training and validation that are measured; a random sample where there are more.
        most_tested: Test images, likewise.
        seed: Of the samples, the folds and the splits.
        whole: Whether every stage is judged, or the last alone.
    """
    from advisor.probes import probe, sample

    is_test = np.array(dataset.split) == "test"
    learning, tested = (dataset.subset(np.flatnonzero(part)).without_copies() for part in (~is_test, is_test))
    drawn = np.random.default_rng(seed).permutation(len(tested))[:most_tested]
    probed = probe(
        learning.subset(sample(learning.labels, most, seed)),
        network,
        seed=seed,
        tested=tested.subset(np.sort(drawn)),
        whole=whole,
    )
    order = [check.code for check in CHECKS]
    found = sorted([*profile.findings, *_network_findings(probed, seed)], key=lambda one: order.index(one["code"]))
    return replace(profile, findings=tuple(found)), probed


def _network_findings(probed: Probe, seed: int) -> list[dict[str, Any]]:
    """Returns what features show: likely wrong labels, a split that leaks, and what a random split would hide."""
    images, tested = probed.images, probed.tested
    features = list(probed.features.values())
    found = []
    if len(tested):
        nearest = lookalikes(list(probed.tested_features.values()), features)
        alike = np.flatnonzero(nearest >= 0)
        if len(alike) >= LEAKING * len(tested):
            suspects = [(tested.names[index], f"looks like {images.names[nearest[index]]}") for index in alike]
            found.append(make_finding("lookalikes", suspects, total=len(tested)))
    if probed.probabilities is not None:
        other = label_mistakes(probed.probabilities, images.labels)
        suspects = [
            (images.names[index], f"looks like {images.class_names[other[index]]}")
            for index in np.flatnonzero(other >= 0)
        ]
        if suspects:
            found.append(make_finding("label_mistakes", suspects, total=len(images)))
    if images.group is not None and probed.curve is not None:
        random, grouped = split_gap(images, features[-1], seed=seed)
        values = {"gap": 100 * (random - grouped), "random": random, "grouped": grouped}
        found.append(make_finding("groups", [], total=len(images), count=len(set(images.group)), **values))
    return found


def check_images(
    source: Any, *, group_by: str | None = None, seed: int = 0, cache: bool = True, **columns: Any
) -> DatasetProfile:
    """Looks for everything in `CHECKS`.

    Every image is read. Up to 2,000 for training and as many for testing, drawn at random where there are more, also go
    through the network that similarity is measured with: a finding says how many were looked at. Nothing of yours is
    moved, changed or deleted.

    Args:
        source: Anything `advisor.recommend` takes.
        group_by: As in `advisor.recommend`.
        seed: Seed of the split and of what is drawn.
        cache: Whether frozen features are kept on disk and read from there.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`.

    Returns:
        A `DatasetProfile`; its `findings` say what was found, and name the files.

    Raises:
        DatasetError: If the images or labels cannot be used.

    Example:
        >>> import advisor
        >>> profile = advisor.check_images("photos/", group_by="patient[0-9]+")  # doctest: +SKIP
        >>> [(found["code"], found["count"]) for found in profile.findings]  # doctest: +SKIP
        [('near_copies', 12), ('label_mistakes', 3)]
    """
    from advisor.probes import FrozenNetwork
    from advisor.profiling import profile_dataset
    from advisor.similarity import default_ruler

    dataset = with_groups(load_dataset(source, **columns), group_by)
    profile, dataset = profile_dataset(dataset, seed=seed, max_unreadable=1.0, cache=cache)
    ruler = default_ruler()
    network = FrozenNetwork(ruler.backbone, ruler.image_size, ruler.weights, cache)
    return measure_and_examine(
        profile, dataset, network, most=MOST_CHECKED, most_tested=MOST_CHECKED, seed=seed, whole=False
    )[0]
