"""Patterns of paths, such as `"photos/**/*.jpg"`: they find files in their folder, and follow no link out of it."""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from strategies.data.sources.folders import Listing
from strategies.data.sources.paths import (
    as_text,
    closed_folder,
    existing_file,
    file_name,
    is_path,
    why_not_followed,
)
from strategies.data.sources.unused import LINK_OUT, LINK_TO_FOLDER
from strategies.errors import DatasetError, few


def list_pattern(pattern: str) -> Listing:
    """Lists the files that match a pattern such as `"photos/**/*.jpg"`, and those in folders that do.

    The root is the part of the pattern before its first special character. As in a folder, links are not followed out
    of it.
    """
    found, root = Listing(), fixed_part(pattern)
    real_root = os.path.realpath(root)
    paths = set(matches(pattern))
    folders = {path for path in paths if path.is_dir() and not path.is_symlink()}
    for folder in folders:
        if folders.isdisjoint(folder.parents):
            paths.update(below(folder))
    for path in sorted(paths):
        if path.is_symlink() or not path.is_dir():
            why = LINK_TO_FOLDER if path.is_dir() else why_not_followed(path, real_root)
            found.add(file_name(path, root), path, why=why)
    return found.settle()


def shard_paths(source: Any) -> list[Path]:
    """Returns the files that are meant by a path, a pattern such as `"data/*.tar"` or a list of paths.

    A path that exists is never taken as a pattern, even with brackets or asterisks. Matches of a pattern are sorted.

    Raises:
        DatasetError: If one of them does not exist.
    """
    expected = "files of records or shards"
    if not is_path(source):
        return [existing_file(path, expected) for path in source]
    found = [] if os.path.lexists(source) else sorted(set(matches(os.fspath(source))))
    real_root = os.path.realpath(fixed_part(os.fspath(source))) if found else ""
    if links := [path for path in found if why_not_followed(path, real_root) == LINK_OUT]:
        raise DatasetError(
            f"Expected {expected} in their folder. Received: {str(source)!r}, which matches "
            f"{few([as_text(path) for path in links])}, a {LINK_OUT}. Copy the files "
            f"there, or give their own paths as a list."
        )
    return [existing_file(path, expected) for path in found or [source]]


def fixed_part(pattern: str) -> Path:
    """Returns the folder that a pattern names before its first special character."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1]))


def matches(pattern: str) -> Iterator[Path]:
    """Yields the files and folders that match a pattern, in no order: `**` stands for any folders, or none.

    Links to folders are not followed, since they may lead anywhere, even in a circle. Hidden names match only what
    begins with a dot.
    """
    folder = fixed_part(pattern)
    parts = Path(pattern).parts[len(folder.parts) :]
    yield from _matches(folder, [part for part, _ in itertools.groupby(parts)] if "**" in parts else parts)


def below(folder: Path) -> Iterator[Path]:
    """Yields what is below a folder and is not hidden, in no order. Links to folders are not followed."""
    return _matches(folder, ["**"])


def _matches(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    head, rest = parts[0], parts[1:]
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except PermissionError as error:
        raise closed_folder(error) from error
    except (OSError, ValueError):  # there is no such folder; a name may hold a zero byte
        return
    if head == "**" and rest:
        yield from _matches(folder, rest)
    for entry in entries:
        path = folder / entry.name
        is_open = entry.is_dir(follow_symlinks=False)
        if head == "**" and not entry.name.startswith("."):
            if not rest:
                yield path
            if is_open:
                yield from _matches(path, parts)
        elif head != "**" and _is_match(entry.name, head):
            if not rest:
                yield path
            elif is_open:
                yield from _matches(path, rest)


def _is_match(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
