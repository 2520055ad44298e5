"""Which folders are classes and which are splits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from strategies.data.dataset import SPLITS
from strategies.data.sources.labels import spelling
from strategies.data.sources.paths import SPLIT_NAMES
from strategies.errors import DatasetError, few

# A word for a split, with or without something around it: `train`, `seg_train`, `test-set`, `val2017`.
_SPLIT = re.compile(rf"(.*[\W_\d])?({'|'.join(SPLIT_NAMES)})([\W_\d].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """Where the classes are.

    Attributes:
        outer: Number of folders around everything else.
        splits: `train`, `val` or `test`, for each folder that means one.
        wrapped: Folders of a split that hold another folder around everything, such as `seg_train/seg_train`.
    """

    outer: int = 0
    splits: Mapping[str, str] = field(default_factory=dict)
    wrapped: frozenset[str] = frozenset()

    def top(self, name: str) -> str:
        """Returns the outermost folder of a file, or of a folder, that has a meaning."""
        return "/".join(name.split("/")[: self.outer + 1])

    def depth(self, name: str) -> int:
        """Returns the place of the class among the folders of a file, or of a folder."""
        return self.outer + bool(self.splits) + (self.top(name) in self.wrapped if self.wrapped else 0)

    def class_of(self, name: str) -> str | None:
        """Returns the class of a file; `None` if it is in no class folder."""
        parts, depth = name.split("/"), self.depth(name)
        return parts[depth] if len(parts) > depth + 1 else None

    def is_class(self, folder: str) -> bool:
        """Returns whether a folder is a class folder."""
        return folder.count("/") == self.depth(folder)

    def split(self, name: str) -> str | None:
        """Returns the split of a file; `None` if it has none."""
        return self.splits.get(self.top(name)) if self.splits else None


def find_layout(folders: Sequence[str], images: Iterable[str], source: str) -> Layout:
    """Returns which folders are classes: `<class>/...`, or `<train, val or test>/<class>/...`.

    Folders around everything else are skipped. So are those inside the folders of splits, if every split has one, or
    if it has the name of the split.

    Args:
        folders: Names of all folders, including empty ones, with `/` between folders.
        images: Names of all images.
        source: Where the images come from, for the messages.

    Raises:
        DatasetError: If it is not clear which folders are classes.

    Example:
        >>> from strategies.data.sources.layout import find_layout
        >>> names = ["photos", "photos/Training", "photos/Training/cat", "photos/Testing", "photos/Testing/cat"]
        >>> layout = find_layout(names, ["photos/Training/cat/1.jpg"], "photos")
        >>> layout.splits, layout.depth("photos/Training/cat/1.jpg")
        ({'photos/Testing': 'test', 'photos/Training': 'train'}, 2)
    """
    below: dict[str, list[str]] = defaultdict(list)
    for name in sorted(folders):
        below[name.rpartition("/")[0]].append(name)
    holders = {name.rpartition("/")[0] for name in images}
    root, outer = "", 0
    while len(below[root]) == 1 and root not in holders:
        (only,) = below[root]
        if _last(only).lower() in SPLIT_NAMES or only in holders or not below[only]:
            break
        root, outer = only, outer + 1
    splits = _splits(below[root], source)
    only_child = {top: below[top][0] for top in splits if len(below[top]) == 1 and top not in holders}
    around_classes = [top for top, child in only_child.items() if below[child] and child not in holders]
    same_name = [top for top, child in only_child.items() if _last(child).lower() == _last(top).lower()]
    wrapped = around_classes if len(around_classes) == len(splits) else same_name
    layout = Layout(outer, splits, frozenset(wrapped))
    _check_spelling([name for name in folders if layout.is_class(name)], layout, source)
    return layout


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _splits(tops: Sequence[str], source: str) -> dict[str, str]:
    """Returns the split that each folder means; nothing if they are classes, such as freight trains and others."""
    groups: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # by what is around the word
    for top in tops:
        if match := _SPLIT.fullmatch(_last(top)):
            groups[(match[1] or "").lower(), (match[3] or "").lower()][top] = SPLIT_NAMES[match[2].lower()]
    every = {top: split for group in groups.values() for top, split in group.items()}
    plain = groups[("", "")]
    for splits in (every,) if len(every) == len(tops) else (plain, *groups.values()):
        others = [top for top in tops if top not in splits]
        if len(set(splits.values())) < 2 and (others or splits != plain):
            continue
        if others:
            raise DatasetError(
                f"Expected either class folders or train, val and test folders. Received: {source!r} with both, "
                f"{_few(tops)}. Move {_few(others)} away, or into the train folder."
            )
        for meant in SPLITS:
            twice = [top for top, split in splits.items() if split == meant]
            if len(twice) > 1:
                raise DatasetError(
                    f"Expected one folder for each of train, val and test. Received: {source!r} with {_few(twice)}, "
                    f"which all seem to mean {meant}. Join or rename them."
                )
        return splits
    return {}


def _few(folders: Sequence[str]) -> str:
    return few([_last(name) for name in folders])


def _check_spelling(class_folders: Iterable[str], layout: Layout, source: str) -> None:
    """Raises a `DatasetError` if a class of one split is in the train split under a name that is spelled otherwise."""
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for folder in class_folders if layout.splits else ():
        names[layout.split(folder) == "train"].add(_last(folder))
    trained = {spelling(name): name for name in sorted(names[True])}
    for name in sorted(names[False] - names[True]):
        if spelling(name) in trained:
            raise DatasetError(
                f"Expected the same name for a class in every split. Received: {source!r} with "
                f"{trained[spelling(name)]!r} in the train split and {name!r} in another, which differ only in case, "
                f"spaces or hyphens. Rename one of them."
            )
