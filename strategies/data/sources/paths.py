"""Paths of sources: checks that they exist, links, names as text, and the names that mean a split."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from strategies.data.sources.unused import LINK_OUT, SPECIAL
from strategies.errors import DatasetError

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


def closed_folder(error: OSError) -> DatasetError:
    """Returns the error for a folder that may not be opened."""
    return DatasetError(
        f"Expected folders that can be read. Received: {error.filename!r} ({error.strerror}). Allow access to it or "
        f"remove it."
    )


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
