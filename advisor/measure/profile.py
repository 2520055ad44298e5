"""The profile of a dataset: its size, balance, resolution, quality and split."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from advisor.measure.sampling import sample
from advisor.quality.checks import CHECK_OF, Finding, Suspect, make_finding
from advisor.quality.image_statistics import ImageStatistics
from advisor.quality.scan import scan_images
from advisor.quality.suspects import copy_suspects, near_links, nested_suspects, picture_suspects
from strategies.cluster import on_ray
from strategies.data.dataset import SPLITS, ImageDataset, check_classes, check_unreadable, few_unreadable
from strategies.data.encoded import SQUEEZE, UnreadableImage
from strategies.data.loading import load_dataset
from strategies.data.pixels import PixelCache
from strategies.data.resizing import with_resize
from strategies.data.sources.unused import reasons_text
from strategies.data.splits import components, split_dataset, with_groups
from strategies.data.value_range import FULL_RANGE, range_of, with_range
from strategies.errors import DatasetError, listed
from strategies.features.cache import default_cache


@dataclass(frozen=True, kw_only=True)
class DatasetProfile:
    """Size, balance, resolution and quality of a dataset. Counts refer to readable images.

    Attributes:
        source: Where the images come from, as the user gave it.
        num_images: Number of images.
        num_classes: Number of classes.
        class_names: Names of the classes.
        images_per_class: Class name -> number of images.
        min_images_per_class: Number of images of the smallest class.
        median_images_per_class: Median number of images of a class.
        max_images_per_class: Number of images of the largest class.
        imbalance_ratio: `max_images_per_class / min_images_per_class`.
        image_sizes: `{"short_side": {"min", "median", "max"}, "long_side": ...}` of the original images, in pixels.
        num_grayscale: Number of images without color, whatever the color mode of their files.
        unreadable: `path` and `reason` of every file that could not be decoded.
        ignored: Files among the images that are not used.
        duplicates: Clusters of files with identical content, by name.
        num_duplicates: Number of images beyond the first of each cluster.
        duplicates_across_classes: The clusters whose images have different labels.
        images_per_split: Number of images in `train`, `val` and `test`.
        own_splits: Those of `train`, `val` and `test` that the user gave. The others are drawn at random.
        effective_num_images: Number of distinct images outside the test split: exact and near copies count once.
            Groups do not reduce it, because the gain from training more layers grows with the number of images, not
            of groups.
        findings: What the checks in `advisor.quality.checks.CHECKS` found.
        num_looked_at: Number of images that were read. If it is a sample, then `image_sizes`, `num_grayscale`, the
            copies, the unreadable files and the findings refer to the sample. All other images count as readable and
            as distinct.
        sampled: Whether only a sample of the images was read.
    """

    source: str
    num_images: int
    num_classes: int
    class_names: tuple[str, ...]
    images_per_class: Mapping[str, int]
    min_images_per_class: int
    median_images_per_class: float
    max_images_per_class: int
    imbalance_ratio: float
    image_sizes: Mapping[str, Mapping[str, float]]
    num_grayscale: int
    unreadable: tuple[Mapping[str, str], ...]
    ignored: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    num_duplicates: int
    duplicates_across_classes: tuple[tuple[str, ...], ...]
    images_per_split: Mapping[str, int] | None
    effective_num_images: int
    own_splits: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    num_looked_at: int = 0
    sampled: bool = False

    def __post_init__(self) -> None:
        numbers = [self.imbalance_ratio, self.median_images_per_class]
        numbers += [number for side in self.image_sizes.values() for number in side.values()]
        if not all(math.isfinite(number) for number in numbers):
            raise DatasetError(f"Expected finite measures of a dataset. Received: {numbers}. Check the images.")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for `fingerprint.json`."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DatasetProfile:
        """Reads the profile of `fingerprint.json`."""
        findings = tuple(Finding.from_dict(finding) for finding in values["findings"])
        lists = {
            name: tuple(values[name])
            for name in ("class_names", "unreadable", "ignored", "own_splits")
            if name in values
        }
        clusters = {name: tuple(map(tuple, values[name])) for name in ("duplicates", "duplicates_across_classes")}
        return cls(**{**values, **lists, **clusters, "findings": findings})


def profile_images(
    source: Any,
    *,
    seed: int = 0,
    max_unreadable: float = 0.05,
    group_by: str | None = None,
    ray: str | None = None,
    **columns: Any,
) -> DatasetProfile:
    """Reads every image once and reports the size, balance, resolution and quality of the dataset.

    No network is needed. `check_images` also looks for what only a network can see, such as likely wrong labels.

    Args:
        source: Anything `advisor.recommend` takes; see `strategies.load_dataset`.
        seed: Seed of the split.
        max_unreadable: Largest share of files that may be unreadable.
        group_by: As in `advisor.recommend`.
        ray: As in `advisor.recommend`.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`, `encoding`; for
            folders: `follow_links`.

    Returns:
        A `DatasetProfile`.

    Raises:
        DatasetError: If the images or labels cannot be used, or too many files are unreadable.

    Example:
        >>> import advisor, numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype="uint8")
        >>> profile = advisor.profile_images((images, ["cat", "dog"] * 10))
        >>> profile.num_images, profile.images_per_class, profile.images_per_split
        (20, {'cat': 10, 'dog': 10}, {'train': 12, 'val': 4, 'test': 4})
    """
    with on_ray(ray):
        dataset = with_groups(load_dataset(source, **columns), group_by)
        return profile_dataset(dataset, seed=seed, max_unreadable=max_unreadable)[0]


def profile_dataset(
    dataset: ImageDataset,
    *,
    seed: int = 0,
    max_unreadable: float = 0.05,
    max_images: int | None = None,
    cache: bool = False,
    pixel_cache: PixelCache | None = None,
) -> tuple[DatasetProfile, ImageDataset]:
    """Profiles a dataset, leaves out unreadable files, and assigns every image to a split.

    Args:
        dataset: From `strategies.load_dataset`.
        seed: Seed of the split and of the sample. Exact and near copies stay in one split.
        max_unreadable: Largest share of the files read that may be unreadable.
        max_images: Largest number of images to read; above it, a random sample with every class in it is read. The
            other images count without being read. Default: read all.
        cache: Whether image statistics are cached on disk.
        pixel_cache: Pixel cache that decoded images are added to, for later use.

    Returns:
        The profile, and the dataset with its split and without unreadable files.

    Raises:
        DatasetError: If more files are unreadable, or a class is left with fewer than two images.
    """
    check_classes(dataset)
    if not 0 <= max_unreadable <= 1:
        raise DatasetError(f"Expected a share from 0 to 1. Received: max_unreadable={max_unreadable}. Pass a fraction.")
    dataset = replace(dataset, items=with_resize(dataset.items, SQUEEZE))  # statistics are those of whole images
    chosen = np.arange(len(dataset)) if max_images is None else sample(dataset.labels, max_images, seed)
    results = _scan(dataset, chosen, cache, pixel_cache)
    bits = max((image.bits for image in results if isinstance(image, ImageStatistics)), default=0)
    if 0 < bits < FULL_RANGE:  # found with the full range, which would lose most of the levels
        dataset = replace(dataset, items=with_range(dataset.items, bits))
        results = _scan(dataset, chosen, cache, pixel_cache)
    statistics = [result for result in results if isinstance(result, ImageStatistics)]
    unreadable = tuple(
        {"path": dataset.names[index], "reason": result.reason}
        for index, result in zip(chosen.tolist(), results, strict=True)
        if isinstance(result, UnreadableImage)
    )
    readable = np.ones(len(dataset), dtype=bool)
    readable[chosen] = [isinstance(result, ImageStatistics) for result in results]
    kept = dataset.subset(np.flatnonzero(readable))
    places = (np.cumsum(readable) - 1)[chosen[readable[chosen]]]  # index in `kept` of each image that was read
    _check_unreadable(unreadable, kept, max_unreadable, len(chosen))
    duplicates = clusters([image.digest for image in statistics])
    near = near_links(statistics, duplicates)
    links = [places[np.array(link)].tolist() for link in (*duplicates, *near)]
    split = split_dataset(kept, seed=seed, duplicates=links)
    split = replace(split, picture=tuple(components(len(split), links)))
    profile = _profile(split, split.subset(places), statistics, unreadable, duplicates, near)
    return replace(profile, own_splits=tuple(part for part in SPLITS if part in (dataset.split or ()))), split


def _scan(
    dataset: ImageDataset, chosen: np.ndarray, cache: bool, pixel_cache: PixelCache | None
) -> list[ImageStatistics | UnreadableImage]:
    items: list[Any] = [dataset.items[index] for index in chosen.tolist()]
    return scan_images(items, cache=default_cache() if cache else None, pixel_cache=pixel_cache)


def _check_unreadable(
    unreadable: Sequence[Mapping[str, str]], kept: ImageDataset, max_unreadable: float, total: int
) -> None:
    reasons = {file["path"]: file["reason"] for file in unreadable}
    check_unreadable(reasons, total, source=kept.source, max_unreadable=max_unreadable)
    try:
        check_classes(kept)
    except DatasetError as error:
        if not unreadable:
            raise
        raise DatasetError(f"{error} Left out as unreadable: {few_unreadable(reasons)}.") from error


def clusters(digests: Sequence[bytes]) -> list[list[int]]:
    """Returns the indices of equal digests: one list for each digest that occurs at least twice."""
    members = defaultdict(list)
    for index, digest in enumerate(digests):
        members[digest].append(index)
    return [indices for indices in members.values() if len(indices) > 1]


def _profile(
    dataset: ImageDataset,
    examined: ImageDataset,
    statistics: Sequence[ImageStatistics],
    unreadable: tuple[Mapping[str, str], ...],
    duplicates: Sequence[Sequence[int]],
    near: Sequence[Sequence[int]],
) -> DatasetProfile:
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    sides = np.sort([image.size for image in statistics], axis=1)
    names = [tuple(examined.names[index] for index in cluster) for cluster in duplicates]
    labels = [{int(examined.labels[index]) for index in cluster} for cluster in duplicates]
    per_split = Counter(dataset.split)
    originals = components(len(examined), [*duplicates, *near])
    learning = [root for root, part in zip(originals, examined.split or (), strict=True) if part != "test"]
    copies = len(learning) - len(set(learning))
    return DatasetProfile(
        source=dataset.source,
        num_images=len(dataset),
        num_classes=len(dataset.class_names),
        class_names=dataset.class_names,
        images_per_class={name: int(count) for name, count in zip(dataset.class_names, counts, strict=True)},
        min_images_per_class=int(counts.min()),
        median_images_per_class=float(np.median(counts)),
        max_images_per_class=int(counts.max()),
        imbalance_ratio=float(counts.max() / counts.min()),
        image_sizes={"short_side": _spread(sides[:, 0]), "long_side": _spread(sides[:, 1])},
        num_grayscale=sum(image.grayscale for image in statistics),
        unreadable=unreadable,
        ignored=tuple(dataset.ignored),
        duplicates=tuple(names),
        num_duplicates=sum(len(cluster) - 1 for cluster in duplicates),
        duplicates_across_classes=tuple(
            cluster for cluster, classes in zip(names, labels, strict=True) if len(classes) > 1
        ),
        images_per_split={part: per_split[part] for part in SPLITS},
        effective_num_images=len(dataset) - per_split["test"] - copies,
        findings=_findings(examined, statistics, unreadable, duplicates, near),
        num_looked_at=len(examined),
        sampled=len(examined) < len(dataset),
    )


def _findings(
    dataset: ImageDataset,
    statistics: Sequence[ImageStatistics],
    unreadable: Sequence[Mapping[str, str]],
    duplicates: Sequence[Sequence[int]],
    near: Sequence[Sequence[int]],
) -> tuple[Finding, ...]:
    suspects = {
        "unreadable": [Suspect(path=file["path"], detail=file["reason"]) for file in unreadable],
        "ignored": [Suspect(path=name, detail=why) for name, why in dataset.ignored.items()],
        "fourth_channel": [
            Suspect(path=name, detail=CHECK_OF["fourth_channel"].detail)
            for name, image in zip(dataset.names, statistics, strict=True)
            if image.fourth_channel
        ],
        **copy_suspects(dataset, duplicates, near),
        **picture_suspects(dataset.names, statistics),
        "nested_classes": nested_suspects(dataset),
    }
    values = {
        "ignored": {"reasons": reasons_text(dataset.ignored)},
        "nested_classes": {"folders": listed([suspect.path for suspect in suspects["nested_classes"]], 4)},
    }
    totals = {"unreadable": len(dataset) + len(unreadable), "ignored": len(dataset.ignored)}
    totals["copies_across_splits"] = sum(part == "test" for part in dataset.split or ())
    findings = [
        make_finding(code, found, total=totals.get(code, len(dataset)), **values.get(code, {}))
        for code, found in suspects.items()
        if found
    ]
    if dataset.notes:
        notes = " ".join(dataset.notes)
        findings.insert(0, make_finding("notes", [], total=len(dataset), count=len(dataset.notes), notes=notes))
    bits = range_of(dataset.items)
    if bits < FULL_RANGE:
        count = sum(image.bits > 0 for image in statistics)
        found = make_finding("value_range", [], total=len(dataset), count=count, bits=bits, largest=2**bits - 1)
        findings.append(found)
    return tuple(findings)


def _spread(sides: np.ndarray) -> dict[str, float]:
    return {"min": int(sides.min()), "median": float(np.median(sides)), "max": int(sides.max())}
