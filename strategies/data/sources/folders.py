"""Class folders: the folder of an image is its class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dataset import ImageDataset
from strategies.data.sources.layout import Layout, find_layout
from strategies.data.sources.paths import (
    closed_folder,
    existing_folder,
    file_name,
    why_not_followed,
)
from strategies.data.sources.unused import (
    ARRAY,
    CLOSED,
    HIDDEN,
    LINK_TO_FOLDER,
    NO_CLASS,
    NO_IMAGE,
    RESULT_FILES,
    RESULTS,
    SAME_NAME,
    advice_for,
    is_hidden,
    reasons_text,
    why_unused,
)
from strategies.errors import DatasetError, few


@dataclass
class Listing:
    """The files and folders below a root. Names are relative to the root, with `/` between folders.

    Attributes:
        images: Images by name: each a `Path` or an `Encoded`.
        folders: Names of all folders, including empty ones.
        ignored: Why a file is not used as an image, by its name.
        arrays: Those of the ignored files that are arrays. They are images where there are no others.
    """

    images: dict[str, Any] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, item: Any, *, why: str = "") -> None:
        """Adds a file to the images, or to the ignored files if there is a reason, `why` or one that is found here."""
        why = why or why_unused(name, item) or (SAME_NAME if name in self.images else "")
        if not why:
            self.images[name] = item
            return
        while name in self.ignored:
            name += " (again)"
        self.ignored[name] = why
        if why == ARRAY:
            self.arrays[name] = item

    def settle(self) -> Listing:
        """Returns the listing, in which arrays are images if there are no others: beside photos, they are data."""
        if self.arrays and not self.images:
            self.images = self.arrays
            self.ignored = {name: why for name, why in self.ignored.items() if name not in self.arrays}
        return self


def read_folder(source: Any, *, follow_links: bool = False) -> ImageDataset:
    """Reads a class folder; see `by_folder`.

    Args:
        source: Path of the folder.
        follow_links: Whether to follow links that lead out of it, and links to folders.
    """
    root = existing_folder(source, "a class folder")
    return by_folder(list_folder(root, follow_links=follow_links), str(source))


def by_folder(listing: Listing, source: str) -> ImageDataset:
    """Labels images by their folder: `<class>/...`, or `<train, val or test>/<class>/...`; see `find_layout`.

    Args:
        listing: The files and folders.
        source: Where the images come from, in a few words.

    Raises:
        DatasetError: If there is no class folder, or it is not clear which folders are classes.
    """
    results = _result_folders(listing.settle())
    folders = [name for name in listing.folders if not is_hidden(name) and not _is_below(name, results)]
    layout = find_layout(folders, listing.images, source)
    class_names = tuple(sorted({name.split("/")[layout.depth(name)] for name in folders if layout.is_class(name)}))
    if not class_names:
        raise _no_class_folder(listing, source)
    class_of = {name: layout.class_of(name) for name in listing.images}
    used = {name: item for name, item in listing.images.items() if class_of[name] is not None}
    ignored = {name: RESULTS if _is_below(name, results) else why for name, why in listing.ignored.items()}
    if len(used) < len(listing.images):
        ignored |= _without_class([name for name in listing.images if name not in used], used, layout)
    index_of = {name: index for index, name in enumerate(class_names)}
    return ImageDataset(
        class_names=class_names,
        labels=np.array([index_of[str(class_of[name])] for name in used], dtype="int64"),
        items=list(used.values()),
        names=tuple(used),
        source=source,
        split=tuple(layout.split(name) for name in used) if layout.splits else None,
        ignored=dict(sorted(ignored.items())),
    )


def _result_folders(listing: Listing) -> set[str]:
    """Returns the outermost folders that hold results of this package and no image, such as run folders."""
    found = {name.split("/")[0] for name in listing.ignored if "/" in name and name.split("/")[-1] in RESULT_FILES}
    return found and found - {name.split("/")[0] for name in listing.images}


def _is_below(name: str, folders: set[str]) -> bool:
    return bool(folders) and name.split("/")[0] in folders


def _without_class(names: Sequence[str], used: Iterable[str], layout: Layout) -> dict[str, str]:
    """Returns why images are not used that lie in no class folder."""
    read = {layout.split(name) for name in used}
    reasons = {}
    for name in names:
        part = layout.split(name)
        reasons[name] = NO_CLASS
        if part and "/" in name:
            lost = "" if part in read else f", and no {part} split is read from there"
            reasons[name] = f"directly in {name.rpartition('/')[0]!r}, so without a class{lost}"
    return reasons


def _no_class_folder(listing: Listing, source: str) -> DatasetError:
    received = f"{len(listing.images):,} images outside of class folders"
    advice = "Create a folder for each class and put its images there, or a table with the columns path and label"
    tables = [name for name in listing.ignored if name.lower().endswith((".csv", ".tsv", ".parquet"))]
    if tables:
        advice = (
            f"If the table {tables[0]!r} names the classes, give its path. Otherwise, create a folder for each class"
        )
    elif listing.ignored and not listing.images:
        received = f"files that are not used ({reasons_text(listing.ignored)})"
        advice = advice_for(listing.ignored, advice)[:-1]
    return DatasetError(f"Expected one sub-folder per class. Received: {source!r} with none, and {received}. {advice}.")


def check_folders(dataset: ImageDataset) -> None:
    """Checks for training that there is a train split, and that no class lacks images because its files are not used.

    Raises:
        DatasetError: If not. The message says why the files are not used, and what to do.
    """
    parts = dataset.split or ("train",) * len(dataset)
    if parts and not {"train", None} & set(parts):
        raise DatasetError(
            f"Expected a train split. Received: {dataset.source!r} with only {few(sorted(set(map(str, parts))))}. "
            f"Call a part of it train, or give the path of the images to train on."
        )
    trained = Counter(
        label for label, part in zip(dataset.labels.tolist(), parts, strict=True) if part in ("train", None)
    )
    if len(dataset.class_names) == 1:
        _check_one_class(dataset)
    short, unused = [], {}
    for index, name in enumerate(dataset.class_names):
        # Beside an image, files of other kinds are no surprise.
        no_surprise = (HIDDEN, RESULTS, *((NO_IMAGE,) if trained[index] else ()))
        found = {
            file: why
            for file, why in (dataset.ignored.items() if trained[index] < 2 else ())
            if name in file.split("/")[:-1] and not why.startswith(no_surprise)
        }
        if found:
            short.append(name)
            unused.update(found)
    if short:
        raise DatasetError(
            f"Expected two or more images of every class. Received: {dataset.source!r} with fewer of {few(short)}, and "
            f"with files there that are not used ({reasons_text(unused)}). {advice_for(unused)}"
        )


def _check_one_class(dataset: ImageDataset) -> None:
    """Raises a `DatasetError` if other folders than the only class folder may be the classes."""
    (name,) = dataset.class_names
    inside = {image.partition(f"{name}/")[2].rpartition("/")[0].split("/")[0] for image in dataset.names} - {""}
    links = [file for file, why in dataset.ignored.items() if why == LINK_TO_FOLDER]
    if len(inside) > 1:
        raise DatasetError(
            f"Expected two or more class folders. Received: {dataset.source!r} with one, {name!r}, whose sub-folders "
            f"{few(sorted(inside))} may be the classes. Give the path of the folder that holds the class folders."
        )
    if links:
        raise DatasetError(
            f"Expected two or more class folders. Received: {dataset.source!r} with one, {name!r}, and {few(links)}, "
            f"each a {LINK_TO_FOLDER}. {advice_for(dict.fromkeys(links, LINK_TO_FOLDER))}"
        )


def list_folder(root: Path, *, follow_links: bool = False) -> Listing:
    """Lists every file below `root`. Only files without a suffix are opened, for a look at their first bytes.

    Pipes, sockets and devices are listed as ignored. So are links to folders and links out of the root, since they may
    lead anywhere, even in a circle. With `follow_links`, links are followed, but each folder is visited only once.

    Raises:
        DatasetError: If a folder that is not hidden cannot be listed.
    """
    found = Listing()

    def refuse(error: OSError) -> None:
        name = file_name(Path(error.filename), root)
        if not is_hidden(name):
            raise closed_folder(error)
        found.ignored[f"{name}/"] = CLOSED

    real_root = os.path.realpath(root)
    visited = {real_root}
    for parent, folders, files in os.walk(root, onerror=refuse, followlinks=follow_links):
        folders.sort()
        for folder in list(folders):
            path = Path(parent, folder)
            target = os.path.realpath(path)
            if path.is_symlink() and (not follow_links or target in visited):
                folders.remove(folder)
                found.ignored[file_name(path, root)] = LINK_TO_FOLDER
            else:
                visited.add(target)
                found.folders.append(file_name(path, root))
        for file in sorted(files):
            path = Path(parent, file)
            found.add(file_name(path, root), path, why=why_not_followed(path, real_root, follow_links))
    return found.settle()


def folders_of(names: Iterable[str]) -> list[str]:
    """Returns every folder that contains files of these names, directly or not."""
    parts = [name.split("/")[:-1] for name in names]
    return sorted({"/".join(part[: depth + 1]) for part in parts for depth in range(len(part))})
