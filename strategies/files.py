"""Reading and writing files safely: regular files only, whole or not at all, strict JSON checked against a schema."""

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
    """Opens a regular file for reading, and nothing else: a pipe would wait for ever, a device might do anything.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is something else, or larger than `max_bytes`.
    """
    _check_regular(os.stat(path))
    # Between the two looks it may have been replaced; opened like this, even a pipe does not wait.
    file: io.BufferedReader = open(  # noqa: SIM115 (returned)
        path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    )
    try:
        status = os.fstat(file.fileno())
        _check_regular(status)
        if max_bytes is not None and status.st_size > max_bytes:
            raise ValueError(f"{status.st_size:,} bytes, more than the {max_bytes:,} that are read")
    except BaseException:
        file.close()
        raise
    return file


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not a file")


def check_output(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Returns the output folder if it may be written to; writes nothing.

    Raises:
        OutputError: If it is a file, or holds anything and `overwrite` is false.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise OutputError(f"Expected an output folder. Received: {str(folder)!r}, a file. Name a folder.")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise OutputError(
            f"Expected a new or empty output folder. Received: {str(folder)!r}, which holds files. "
            f"Name another one, say --resume (resume=True) to go on with a run that was cut off, or --overwrite "
            f"(overwrite=True) to replace what an earlier run wrote there."
        )
    return path


def check_new_file(path: str | Path) -> None:
    """Checks that a file can be created; writes nothing.

    Raises:
        OutputError: If something is there already, or its folder is not.
    """
    if Path(path).exists() or not Path(path).absolute().parent.is_dir():
        problem = "which exists" if Path(path).exists() else "whose folder does not exist"
        raise OutputError(f"Expected a new file. Received: {str(path)!r}, {problem}. Name another file.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the name of a file to write beside `path`, and puts it in its place once it is whole and on the disk.

    Raises:
        OutputError: If the disk is full or the folder cannot be written to; what was there before stays.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"Expected to write {path}. Received: {in_a_sentence(error)}. Make room, and go on with --resume "
            f"(resume=True): the last state is kept."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: str | Path) -> Iterator[TextIO]:
    """Opens a text file that must not exist yet; what goes wrong within the block leaves no file behind.

    Raises:
        OutputError: If it exists or cannot be made.
    """
    try:
        stream = open(path, "x", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
    except OSError as error:
        raise OutputError(
            f"Expected the path of a new file. Received: {str(path)!r} ({in_a_sentence(error)}). Name another one."
        ) from error
    try:
        with stream:
            yield stream
    except BaseException:
        Path(path).unlink()
        raise


def write_json(path: Path, values: Any) -> None:
    """Writes strict JSON (no NaN) that a person can read and edit."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, name: str, *, package: str) -> Any:
    """Reads a JSON file and checks it against the schema `schemas/<name>.json` of a package.

    Raises:
        UserError: If the file is missing, is not JSON or does not follow the schema.
    """
    try:
        values = load_json(path)
    except OSError as error:
        raise UserError(
            f"Expected {path.name}. Received: {str(path)!r} ({error.strerror}). Check the folder."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"Expected {path.name} in JSON. Received: {str(path)!r} ({error}). Mend the file.") from error
    check_schema(values, name, package=package)
    return values


def load_json(path: str | Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, or no JSON in UTF-8.
        RecursionError: If it is nested too deeply.
    """
    with open_regular(path) as file:
        return json.loads(file.read().decode("utf-8"))


def check_schema(values: Any, name: str, *, package: str, error: type[UserError] = UserError) -> None:
    """Checks `values` against the JSON schema `schemas/<name>.json` of a package; raises `error` with a sentence."""
    import jsonschema

    schema = json.loads(files(package).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8"))
    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(values))
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "the top level"
        raise error(f"Expected a {name} that follows its schema. Received, at {place}: {problem.message}. Mend it.")
