"""New classes and new images join a finished run, whose network learns on; and what that cost the old classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.measure.profile import clusters
from advisor.quality.image_statistics import ImageStatistics
from advisor.quality.scan import scan_images
from advisor.quality.suspects import near_links
from advisor.report.files import save_extension
from advisor.report.terminal import plain
from advisor.report.text import extension_parts
from strategies.data.dataset import SPLITS, ImageDataset, check_unreadable, few_unreadable
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset
from strategies.data.resizing import as_planned
from strategies.data.sources.labels import check_names, spelling_notes
from strategies.data.splits import split_new
from strategies.display.progress import note
from strategies.errors import DatasetError, OutputError, RunError, few
from strategies.features.cache import default_cache
from strategies.networks.backbones import CLASSIFIER
from strategies.plans.plan import Plan, read_plan
from strategies.plans.planning import with_classes, with_new_head
from strategies.runs.run_folder import read_metrics, read_run
from strategies.training.result import TrainingResult
from strategies.training.run_files import METRICS, MODEL, PLAN, UNFINISHED, check_run, is_unfinished
from strategies.training.run_images import find_images


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Extension:
    """A run that was extended, and what happened to the classes that it had. Print it.

    Attributes:
        result: The result of the new run, on the test images of all classes.
        run: The earlier run.
        class_names: Its classes. They come first among those of the new run, in the same order.
        images_added: Number of new images in each split.
        num_copies: Number of images that were left out, since the earlier run has them already.
        num_tested: Number of test images of the earlier run.
        accuracy_before: Accuracy of the earlier run on them.
        accuracy_after: Accuracy of the new run on the same images, where all classes can be answered.
    """

    result: TrainingResult
    run: str
    class_names: tuple[str, ...]
    images_added: Mapping[str, int]
    num_copies: int
    num_tested: int
    accuracy_before: float
    accuracy_after: float

    def __repr__(self) -> str:
        return f"Extension({self.run!r}, {len(self.class_names)} to {len(self.result.plan.class_names)} classes)"

    def __str__(self) -> str:
        return plain(extension_parts(self.result, self.to_dict()))

    @property
    def new_classes(self) -> tuple[str, ...]:
        """The classes that the earlier run did not have."""
        return self.result.plan.class_names[len(self.class_names) :]

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry `extension` of `metrics.json`."""
        return {
            "run": self.run,
            "num_classes_before": len(self.class_names),
            "new_classes": list(self.new_classes),
            "images_added": dict(self.images_added),
            "num_copies": self.num_copies,
            "earlier_test": {
                "num_images": self.num_tested,
                "accuracy_before": self.accuracy_before,
                "accuracy_after": self.accuracy_after,
            },
        }


def extend(
    run: str | Path,
    more: Any,
    out: str | Path,
    *,
    old_data: Any = None,
    head: bool = False,
    max_unreadable: float = 0.05,
    overwrite: bool = False,
    resume: bool = False,
    cache: bool = True,
    **columns: Any,
) -> Extension:
    """Adds new classes, or new images of the classes that it has, to a finished run.

    The images of the run keep their split. New images are split with the same seed and shares, unless they have a
    split. Copies of images of the run are left out, and near copies go to the same split. New classes come after the
    old ones, so the numbers of the old classes stay the same.

    The plan of the run is carried out again on all images. It starts from the network as the run has trained it, and
    has more steps where there are more images. If the run was refitted, its validation images have been trained on: the
    validation accuracy of the new run is then somewhat too good. Its test accuracy is not.

    Args:
        run: A finished run folder, which is not changed.
        more: The new images: anything that `strategies.load_dataset` takes. One class is enough.
        out: Folder for the new run, new or empty.
        old_data: Where the images of the run are now. Default: where they were, if they were files.
        head: Whether the network stays as the run has trained it, and only a new head is solved, which takes seconds.
        max_unreadable: Largest share of new files that may be unreadable. They are left out.
        overwrite: As in `strategies.train`.
        resume: As in `strategies.train`.
        cache: As in `strategies.train`.
        **columns: For new images in a table: `path_column`, `label_column`, `split_column`, `group_column`, `root`,
            `encoding`; for a folder: `follow_links`.

    Returns:
        An `Extension`; `.result` is the `TrainingResult` of the new run.

    Raises:
        RunError: If the run is not finished, or its files do not belong together.
        DatasetError: If images of the run are missing or have changed, or if the new images cannot be used.
        OutputError: If the new run cannot be written to its folder.

    Example:
        >>> import advisor
        >>> more = advisor.extend("run/", "more_photos/", "run2/")  # doctest: +SKIP
        >>> more.accuracy_before, more.accuracy_after  # doctest: +SKIP
        (0.917, 0.908)
    """
    folder = read_run(run)
    if is_unfinished(folder.path):
        raise RunError(
            f"Expected a finished run. Received: {str(run)!r}, which has {UNFINISHED} or no {METRICS}. Continue it "
            f"with --resume (resume=True) first."
        )
    if os.path.realpath(out) == os.path.realpath(run):
        raise OutputError(
            f"Expected another folder than that of the run. Received: {str(out)!r} for both. Name a new folder."
        )
    check_run(out, overwrite=overwrite, resume=resume)
    plan, before = read_plan(folder.path / PLAN), read_metrics(folder.path, folder.class_names)["test"]
    new = load_dataset(more, channels=plan.channels, for_training=False, **columns)
    new = replace(new, items=as_planned(new.items, plan.image_bits, plan.resize, plan.channels, plan.mixing))
    old = find_images(
        folder.path,
        plan.class_names,
        old_data,
        image_bits=plan.image_bits,
        resize=plan.resize,
        channels=plan.channels,
        mixing=plan.mixing,
    )
    num_tested = (old.split or ()).count("test")
    if num_tested != before["num_images"]:
        raise RunError(
            f"Expected {METRICS} on the {num_tested:,} test images of the run. Received: {str(run)!r}, where it is on "
            f"{before['num_images']:,}. Keep the files of a run together."
        )
    dataset, num_copies = _joined(old, new, plan.seed, max_unreadable, cache)
    for text in (*new.notes, *spelling_notes(dataset.class_names)):
        note(text)
    if new.ignored:
        note(f"{len(new.ignored):,} files are not used: {few(list(new.ignored))}")
    split = np.array(dataset.split)
    added = {part: int((split[len(old) :] == part).sum()) for part in SPLITS}
    found: list[Extension] = []

    def save(result: TrainingResult) -> None:
        right = result.predicted[:num_tested] == old.labels[split[: len(old)] == "test"]  # the old images come first
        extension = Extension(
            result=result,
            run=str(run),
            class_names=plan.class_names,
            images_added=added,
            num_copies=num_copies,
            num_tested=num_tested,
            accuracy_before=before["accuracy"],
            accuracy_after=float(right.mean()),
        )
        save_extension(result.to_dict() | {"extension": extension.to_dict()}, Path(out))
        found.append(extension)

    from strategies.training.trainer import train

    larger = _larger_plan(plan, folder.path, dataset, (old.split or ()).count("train"), head=head)
    train(larger, dataset, out, overwrite=overwrite, resume=resume, cache=cache, on_end=save)
    return found[0]


def _larger_plan(plan: Plan, run: Path, dataset: ImageDataset, num_train: int, *, head: bool) -> Plan:
    """Returns the plan of a run for the joined images, which starts from the network that the run has trained."""
    labels = dataset.labels[np.array(dataset.split) == "train"]
    counts = np.bincount(labels, minlength=len(dataset.class_names)).tolist()
    larger = with_classes(plan, dataset.class_names, counts, num_train=num_train)
    trained = {stage for phase in plan.phases for stage in phase.trains}
    if trained != {CLASSIFIER} or plan.network.is_of_run or plan.weights == "random":  # else it is the pretrained one
        larger = replace(larger, network=replace(plan.network, weights=str((run / MODEL).resolve())))
    return with_new_head(larger) if head else larger


def _joined(
    old: ImageDataset, new: ImageDataset, seed: int, max_unreadable: float, cache: bool
) -> tuple[ImageDataset, int]:
    """Returns the images of a run and then the new ones, with their split, and the number of copies left out."""
    if not len(new) or (new.labels < 0).any():
        raise DatasetError(
            f"Expected new images with their classes. Received: {new.source!r} without any. Put the images of each "
            f"class into a folder of its own."
        )
    names = (*old.class_names, *(name for name in new.class_names if name not in old.class_names))
    check_names(names)
    old, known = _readable(old, 0.0, cache)
    new, added = _readable(new, max_unreadable, cache)
    new = replace(new, labels=np.array([names.index(name) for name in new.class_names])[new.labels])
    kept = _without_copies(old, known, new, added)
    num_copies = len(new) - len(kept)
    new, images = new.subset(kept), [*known, *(added[index] for index in kept)]
    parts = new.split or (None,) * len(new)
    given = {f"{part}_fraction": 0.0 for part in ("val", "test") if part in parts}  # others are taken from training
    grouped = old.group is not None or new.group is not None
    dataset = ImageDataset(
        class_names=names,
        labels=np.concatenate([old.labels, new.labels]),
        items=[*old.items, *new.items],
        names=(*old.names, *new.names),
        source=f"{old.source} and {new.source}",
        split=(*(old.split or ()), *(None if len(given) < 2 and part == "train" else part for part in parts)),
        group=(*(old.group or old.names), *(new.group or new.names)) if grouped else None,
    )
    duplicates = clusters([image.digest for image in images])
    links = [*duplicates, *near_links(images, duplicates)]
    return split_new(dataset, seed=seed, duplicates=links, **given), num_copies


def _readable(dataset: ImageDataset, max_unreadable: float, cache: bool) -> tuple[ImageDataset, list[ImageStatistics]]:
    """Returns the images that can be read, and their statistics, by which copies are found."""
    results = scan_images(dataset.items, cache=default_cache() if cache else None)
    found = {index: result for index, result in enumerate(results) if isinstance(result, ImageStatistics)}
    reasons = {
        name: result.reason
        for name, result in zip(dataset.names, results, strict=True)
        if isinstance(result, UnreadableImage)
    }
    check_unreadable(reasons, len(dataset), source=dataset.source, max_unreadable=max_unreadable)
    if reasons:
        note(f"{len(reasons):,} of {len(dataset):,} new images cannot be read: {few_unreadable(reasons)}")
    return dataset.subset(found), list(found.values())


def _without_copies(
    old: ImageDataset, known: Sequence[ImageStatistics], new: ImageDataset, added: Sequence[ImageStatistics]
) -> list[int]:
    """Returns the indices of the new images that the run does not have yet; labels count in the classes of both."""
    labels: dict[bytes, set[int]] = {}
    for image, label in zip(known, old.labels.tolist(), strict=True):
        labels.setdefault(image.digest, set()).add(label)
    moved = [
        name
        for image, label, name in zip(added, new.labels.tolist(), new.names, strict=True)
        if label not in labels.get(image.digest, {label})
    ]
    if moved:
        raise DatasetError(
            f"Expected new images. Received: {len(moved):,} in {new.source!r} that the run has in another class, such "
            f"as {moved[0]!r}. Leave them out, or train a new run on all images in their new classes."
        )
    kept = [index for index, image in enumerate(added) if image.digest not in labels]
    if not kept:
        raise DatasetError(
            f"Expected new images. Received: {new.source!r}, whose {len(new):,} images are all in the run already. "
            f"Give other images."
        )
    return kept
