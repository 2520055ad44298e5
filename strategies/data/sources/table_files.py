"""The files that the paths of a table mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from strategies.data.dataset import EXTENSIONS
from strategies.errors import DatasetError, few

# What people's paths have, and how a path is read if no file exists under it as it is.
_REPAIRS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Spaces around the paths were dropped.", str.strip),
    ("Backslashes in the paths are taken as slashes.", lambda path: path.strip().replace("\\", "/")),
)


def find_files(paths: Sequence[str], root: Path, notes: list[str]) -> list[str]:
    """Returns the paths as files exist under them: repaired, with an extension, or without their start.

    A path under which a file exists is never changed. A start is left out only if no file exists at all.

    Args:
        paths: The paths of a table.
        root: Folder that they are relative to.
        notes: What was taken for what is added to them.

    Raises:
        DatasetError: If a path without extension may mean several files.
    """
    found = {path: path for path in paths if (root / path).exists()}
    for note, repair in _REPAIRS:
        repaired = {path: repair(path) for path in paths if path not in found}
        if there := {path: name for path, name in repaired.items() if name != path and (root / name).exists()}:
            found |= there
            notes.append(note)
    if len(found) < len(set(paths)):
        found |= _with_extension({path: repaired[path] for path in paths if path not in found}, root, notes)
    if not found and paths:
        return _without_start(list(map(repaired.__getitem__, paths)), root, notes) or list(paths)
    return [found.get(path, path) for path in paths]


def _with_extension(missing: dict[str, str], root: Path, notes: list[str]) -> dict[str, str]:
    """Returns the files that paths without extension mean."""
    extensions = [*EXTENSIONS, *map(str.upper, EXTENSIONS)]
    found: dict[str, str] = {}
    for path, name in missing.items():
        names = [f"{name}{extension}" for extension in extensions if (root / f"{name}{extension}").exists()]
        if len(names) > 1 and not os.path.samefile(root / names[0], root / names[1]):
            raise DatasetError(
                f"Expected one file for each path of the table. Received: a path without extension and the files "
                f"{few(names)}. Add the extensions to the paths."
            )
        found |= {path: names[0]} if names else {}
    if found:
        first = next(iter(found.values()))
        notes.append(f"Paths without extension are taken as the files of that name, such as {first!r}.")
    return found


def _without_start(paths: Sequence[str], root: Path, notes: list[str]) -> list[str] | None:
    """Returns the longest ends of the paths that are files here, as of paths of another computer."""
    slashed = [path.lstrip("/") for path in paths]
    for start in range(max(path.count("/") for path in slashed) + 1):
        inner = ["/".join(path.split("/")[start:]) or path for path in slashed]
        if any((root / path).is_file() for path in inner):
            outer = paths[0].removesuffix(inner[0])
            notes.append(f"Paths begin with {outer!r}, which is not here: the rest is looked up in {str(root)!r}.")
            return inner
    return None


def check_any_exists(items: Sequence[Path], source: str) -> None:
    """Raises a `DatasetError` if none of the files exists, since the root is then wrong."""
    if items and not any(path.exists() for path in items):
        raise DatasetError(
            f"Expected paths of image files. Received: {source!r} with {len(items)} paths, none of which exists, such "
            f"as {str(items[0])!r}. Check the paths, or give the folder that they are relative to as root=... (--root)."
        )
