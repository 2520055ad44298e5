"""Paths of sources: checks that they exist, names as text, and the folder names that mean a split."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from strategies.errors import DatasetError

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


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
    found = [] if os.path.lexists(source) else sorted(glob.glob(os.fspath(source), recursive=True))
    return [existing_file(path, expected) for path in found or [source]]


def file_name(path: Path, root: Path) -> str:
    """Returns the path relative to `root` as text."""
    return as_text(path.relative_to(root))


def as_text(path: Path) -> str:
    """Returns a path as text that can be encoded as UTF-8, whatever bytes the name holds."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
