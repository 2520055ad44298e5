"""Paths of sources: checks that they exist, patterns, names as text, and the names that mean a split."""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from strategies.data.sources.unused import LINK_OUT, SPECIAL
from strategies.errors import DatasetError, few

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def is_path(source: Any) -> bool:
    """Returns whether `source` is a path, as text or as a `Path`."""
    return isinstance(source, str | os.PathLike)


def ends_in(source: Any, *suffixes: str) -> bool:
    """Returns whether `source` is a path that ends in one of the suffixes, in upper or lower case."""
    return is_path(source) and os.fspath(source).lower().endswith(suffixes)


def existing_file(source: str | os.PathLike[str], expected: str) -> Path:
    """Returns the path of a regular file.

    Args:
        source: The path.
        expected: What the file should be, for the message.

    Raises:
        DatasetError: If it does not exist or is not a regular file.
    """
    return _existing(source, expected, os.path.isfile, "Give the path of a file.")


def existing_folder(source: str | os.PathLike[str], expected: str) -> Path:
    """Returns the path of a folder.

    Args:
        source: The path.
        expected: What the folder should be, for the message.

    Raises:
        DatasetError: If it does not exist or is not a folder.
    """
    return _existing(source, expected, os.path.isdir, "Give the folder.")


def _existing(source: str | os.PathLike[str], expected: str, is_right: Any, advice: str) -> Path:
    path = Path(source)
    if is_right(path):
        return path
    if os.path.lexists(path):
        raise DatasetError(f"Expected {expected}. Received: {str(source)!r}, another kind of file. {advice}")
    raise DatasetError(f"Expected {expected}. Received: {str(source)!r}, which does not exist. Check the path.")


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


def closed_folder(error: OSError) -> DatasetError:
    """Returns the error for a folder that may not be opened."""
    return DatasetError(
        f"Expected folders that can be read. Received: {error.filename!r} ({error.strerror}). Allow access to it or "
        f"remove it."
    )


def _is_match(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def file_name(path: Path, root: Path) -> str:
    """Returns the path relative to `root` as text."""
    return as_text(path.relative_to(root))


def as_text(path: Path) -> str:
    """Returns a path as text that can be encoded as UTF-8, whatever bytes the name holds."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def why_not_followed(path: Path, real_root: str, follow_links: bool = False) -> str:
    """Returns why a file is not opened, or `""`. If its status is unknown, it is used, and later found unreadable."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            if not follow_links and not Path(os.path.realpath(path)).is_relative_to(real_root):
                return LINK_OUT
            mode = path.stat().st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) else SPECIAL
