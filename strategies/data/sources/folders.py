"""Class folders: the folder of an image is its class."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.dataset import EXTENSIONS, ImageDataset
from strategies.data.sources.paths import SPLIT_NAMES, existing_folder, file_name
from strategies.errors import DatasetError, few


@dataclass
class Listing:
    """The files and folders below a root. Names are relative to the root, with `/` between folders.

    Attributes:
        images: Images by name: each a `Path` or an `Encoded`.
        folders: Names of all folders, including empty ones.
        ignored: Names of all files that are not used as images.
    """

    images: dict[str, Any] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def add(self, name: str, item: Any, *, usable: bool = True) -> None:
        """Adds a file to the images, or to the ignored files.

        It is ignored if it is not `usable`, is hidden, has no suffix of an image, or has the name of an earlier image.
        """
        if usable and name not in self.images and name.lower().endswith(EXTENSIONS) and not is_hidden(name):
            self.images[name] = item
        else:
            self.ignored.append(name)


def is_hidden(name: str) -> bool:
    """Returns whether a file, or a folder above it, is hidden. macOS adds `__MACOSX` folders to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def read_folder(source: Any, *, follow_links: bool = False) -> ImageDataset:
    """Reads a class folder; see `by_folder`.

    Args:
        source: Path of the folder.
        follow_links: Whether to follow links that lead out of it, and links to folders.
    """
    root = existing_folder(source, "a class folder")
    return by_folder(list_folder(root, follow_links=follow_links), str(source))


def by_folder(listing: Listing, source: str) -> ImageDataset:
    """Labels images by their folder: `<class>/...`, or `<train, val or test>/<class>/...`.

    Args:
        listing: The files and folders.
        source: Where the images come from, in a few words.

    Raises:
        DatasetError: If there is no class folder, or there are class folders next to train, val and test folders.
    """
    folders = [name for name in listing.folders if not is_hidden(name)]
    tops = sorted(name for name in folders if "/" not in name)
    kinds = {SPLIT_NAMES[name.lower()] for name in tops if name.lower() in SPLIT_NAMES}
    has_splits = "train" in kinds and all(name.lower() in SPLIT_NAMES for name in tops)
    if len(kinds) > 1 and "train" in kinds and not has_splits:
        raise DatasetError(
            f"Expected either class folders or train, val and test folders. Received: {source!r} with both, "
            f"{few(tops)}. Move the class folders away, or into the train folder."
        )
    depth = 1 if has_splits else 0
    class_names = tuple(sorted({name.split("/")[depth] for name in folders if name.count("/") == depth}))
    if not class_names:
        raise DatasetError(
            f"Expected one sub-folder per class. Received: {source!r} with none, and {len(listing.images)} images "
            f"outside of class folders. Create a folder for each class and put its images there."
        )
    # Images outside of class folders have no class.
    used = {name: item for name, item in listing.images.items() if name.count("/") > depth}
    index_of = {name: index for index, name in enumerate(class_names)}
    return ImageDataset(
        class_names=class_names,
        labels=np.array([index_of[name.split("/")[depth]] for name in used], dtype="int64"),
        items=list(used.values()),
        names=tuple(used),
        source=source,
        split=tuple(SPLIT_NAMES[name.split("/")[0].lower()] for name in used) if has_splits else None,
        ignored=tuple(sorted([*listing.ignored, *(name for name in listing.images if name not in used)])),
    )


def list_folder(root: Path, *, follow_links: bool = False) -> Listing:
    """Lists every file below `root` without opening any.

    Pipes, sockets and devices are listed as ignored. So are links to folders and links out of the root, since they may
    lead anywhere, even in a circle. With `follow_links`, links are followed, but each folder is visited only once.

    Raises:
        DatasetError: If a folder that is not hidden cannot be listed.
    """
    found = Listing()

    def refuse(error: OSError) -> None:
        name = file_name(Path(error.filename), root)
        if not is_hidden(name):
            raise DatasetError(
                f"Expected folders that can be read. Received: {error.filename!r} ({error.strerror}). Allow access to "
                f"it or remove it."
            )
        found.ignored.append(f"{name}/")

    real_root = os.path.realpath(root)
    visited = {real_root}
    for parent, folders, files in os.walk(root, onerror=refuse, followlinks=follow_links):
        folders.sort()
        for folder in list(folders):
            path = Path(parent, folder)
            target = os.path.realpath(path)
            if path.is_symlink() and (not follow_links or target in visited):
                folders.remove(folder)
                found.ignored.append(file_name(path, root))
            else:
                visited.add(target)
                found.folders.append(file_name(path, root))
        for file in sorted(files):
            path = Path(parent, file)
            found.add(file_name(path, root), path, usable=_is_usable(path, real_root, follow_links))
    return found


def _is_usable(path: Path, real_root: str, follow_links: bool) -> bool:
    """Returns whether to use a file. If its status is unknown, it is used, and later reported as unreadable."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            if not follow_links and not Path(os.path.realpath(path)).is_relative_to(real_root):
                return False
            mode = path.stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode)


def without_wrapping(listing: Listing) -> Listing:
    """Removes an outer folder that contains all class folders, as in archives of a folder."""
    tops = [name for name in listing.folders if "/" not in name and not is_hidden(name)]
    inside = [name for name in listing.folders if "/" in name and not is_hidden(name)]
    wrapped = len(tops) == 1 and tops[0].lower() not in SPLIT_NAMES and inside
    if not wrapped or any(name.count("/") < 2 for name in listing.images):
        return listing
    start = len(tops[0]) + 1
    return Listing(_without_prefix(listing.images, start), [name[start:] for name in inside], listing.ignored)


def _without_prefix(images: Mapping[str, Any], start: int) -> dict[str, Any]:
    return {name[start:]: item for name, item in images.items()}


def folders_of(names: Iterable[str]) -> list[str]:
    """Returns every folder that contains files of these names, directly or not."""
    parts = [name.split("/")[:-1] for name in names]
    return sorted({"/".join(part[: depth + 1]) for part in parts for depth in range(len(part))})
