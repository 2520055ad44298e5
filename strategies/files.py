"""Reads and writes files safely: only regular files, never half a file, and strict JSON checked against a schema."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from strategies.errors import OutputError, UserError, in_a_sentence

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path | str, max_bytes: int | None = None) -> io.BufferedReader:
    """Opens a regular file for reading. Anything else is refused: reading a pipe may never end.

    Args:
        path: The file.
        max_bytes: Largest size that is accepted; `None` accepts any size.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not a regular file, or larger than `max_bytes`.
    """
    _check_regular(os.stat(path))
    # The file may be replaced between the two checks. With O_NONBLOCK, opening a pipe does not wait either.
    file: io.BufferedReader = open(  # noqa: SIM115 (returned)
        path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    )
    try:
        status = os.fstat(file.fileno())
        _check_regular(status)
        if max_bytes is not None and status.st_size > max_bytes:
            raise ValueError(f"{status.st_size:,} bytes, more than the limit of {max_bytes:,}")
    except BaseException:
        file.close()
        raise
    return file


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not a file")


def check_output(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Returns the path of an output folder that may be written to. Creates nothing.

    Args:
        folder: The folder; it may not exist yet.
        overwrite: Whether a folder that holds files is accepted.

    Raises:
        OutputError: If it is a file, or if it holds files and `overwrite` is false.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise OutputError(f"Expected an output folder. Received: {str(folder)!r}, a file. Name a folder.")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise OutputError(
            f"Expected a new or empty output folder. Received: {str(folder)!r}, which holds files. "
            f"Name another folder, or give --resume (resume=True) to continue an interrupted run, or --overwrite "
            f"(overwrite=True) to replace the files of an earlier run."
        )
    return path


def check_new_file(path: str | Path) -> None:
    """Checks that a file can be created. Creates nothing.

    Raises:
        OutputError: If the path exists already, or if its folder does not exist.
    """
    if Path(path).exists() or not Path(path).absolute().parent.is_dir():
        problem = "which exists already" if Path(path).exists() else "whose folder does not exist"
        raise OutputError(f"Expected a new file. Received: {str(path)!r}, {problem}. Name another file.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to, and moves that file to `path` once it is complete and on the disk.

    Raises:
        OutputError: If the disk is full or the folder cannot be written to. An earlier file at `path` is kept.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"Expected to write {path}. Received: {in_a_sentence(error)}. Free some space, then "
            f"continue with --resume (resume=True): the last saved state is kept."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: str | Path) -> Iterator[TextIO]:
    """Creates a text file that must not exist yet, and removes it again if the block fails.

    Raises:
        OutputError: If the file exists or cannot be created.
    """
    try:
        stream = open(path, "x", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
    except OSError as error:
        raise OutputError(
            f"Expected the path of a new file. Received: {str(path)!r} ({in_a_sentence(error)}). Name another file."
        ) from error
    try:
        with stream:
            yield stream
    except BaseException:
        Path(path).unlink()
        raise


def write_json(path: Path, values: Any) -> None:
    """Writes indented JSON, which a person can read and edit. NaN is refused.

    Raises:
        ValueError: If a number is NaN or infinite.
        OutputError: If the file cannot be written.
    """
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, name: str, *, package: str) -> Any:
    """Reads a JSON file and checks it against the schema `schemas/<name>.json` of a package.

    Raises:
        UserError: If the file does not exist, is not JSON or does not follow the schema.
    """
    try:
        values = load_json(path)
    except OSError as error:
        raise UserError(
            f"Expected {path.name}. Received: {str(path)!r} ({error.strerror}). Check the folder."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"Expected {path.name} in JSON. Received: {str(path)!r} ({error}). Fix the file.") from error
    check_schema(values, name, package=package)
    return values


def load_json(path: str | Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a regular file, or not JSON in UTF-8.
        RecursionError: If its values are nested too deeply.
    """
    with open_regular(path) as file:
        return json.loads(file.read().decode("utf-8"))


def check_schema(values: Any, name: str, *, package: str, error: type[UserError] = UserError) -> None:
    """Checks `values` against the JSON schema `schemas/<name>.json` of a package.

    Raises:
        UserError: Or the given subclass `error`, if they do not follow it. The message names the place.
    """
    import jsonschema

    schema = json.loads(files(package).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8"))
    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(values))
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "the top level"
        raise error(f"Expected a {name} that follows its schema. Received, at {place}: {problem.message}. Fix it.")
