"""Reads and writes files safely: only regular files, never half a file, and strict JSON checked against a schema."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from strategies.errors import OutputError, UserError, in_a_sentence

OWN = ".advisor-"  # begins the names of temporary files and of locks, which never count as files of the user
PLACING = f"{OWN}placing"  # names the files of an output folder while they are put in place, and after a kill meanwhile
AGAIN = "run the same command again"
_TEMPORARY = re.compile(rf"{re.escape(OWN)}(\d+)-")
_MOST_SHOWN = 200  # characters of a wrong value in a message
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half a character, which cannot be written again

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def first_bytes(file: BinaryIO, count: int) -> bytes:
    """Returns the first bytes of an open file, which is at its start and stays there."""
    start = file.read(count)
    file.seek(0)
    return start


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


def check_output(folder: str | Path, *, overwrite: bool | None = False, resumable: bool = False) -> Path:
    """Returns the path of an output folder that may and can be written to. Creates nothing.

    Files that a killed process was about to put in place do not count: the command begins again; see `filling`.

    Args:
        folder: The folder; it may not exist yet.
        overwrite: Whether a folder that holds files is accepted. `None`: no, and the message does not name the option.
        resumable: Whether the message for a folder that holds files names `--resume`.

    Raises:
        OutputError: If it is a file, if it holds files and `overwrite` is false, if the disk is full, or if the user
            may not write there.
    """
    path = Path(folder)
    try:
        if path.exists() and not path.is_dir():
            raise OutputError(f"Expected an output folder. Received: {str(folder)!r}, a file. Name a folder.")
        names = {item.name for item in path.iterdir()} if path.is_dir() else set()
        holds_files = any(not name.startswith(OWN) for name in names - _being_placed(path))
    except OSError as error:
        raise OutputError(
            f"Expected an output folder. Received: {str(folder)!r} ({in_a_sentence(error)}). Name another folder."
        ) from error
    if holds_files and not overwrite:
        resume = "give --resume (resume=True) to continue an interrupted run, or " if resumable else ""
        replace = f", or {resume}--overwrite (overwrite=True) to replace the files of an earlier run"
        raise OutputError(
            f"Expected a new or empty output folder. Received: {str(folder)!r}, which holds files. "
            f"Name another folder{'' if overwrite is None else replace}."
        )
    check_writable(path)
    return path


def _being_placed(folder: Path) -> set[str]:
    """Returns the names of the files that a process was putting in place in a folder, and may not have completed."""
    path = folder / PLACING
    return set(path.read_text(encoding="utf-8", errors="replace").splitlines()) if path.is_file() else set()


def check_writable(path: str | Path) -> None:
    """Checks that a file or folder, or the folder in which it is to be created, can be written to. Creates nothing.

    Raises:
        OutputError: If the user may not write there, or if the disk is read-only or full.
    """
    place = Path(path).absolute()
    place = next(folder for folder in (place, *place.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        problem = "which cannot be written to"
    elif not place.is_dir() and not place.is_file():
        problem = "which is not a folder"
    elif not shutil.disk_usage(place).free:
        problem = "on a full disk"
    else:
        return
    raise OutputError(
        f"Expected a place to write {str(path)!r}. Received: {str(place)!r}, {problem}. Name another place, allow "
        f"writing there, or free some space."
    )


def check_new_file(path: str | Path) -> None:
    """Checks that a file can be created. Creates nothing.

    Raises:
        OutputError: If the path exists already, if its folder does not exist, or if it cannot be written to.
    """
    if os.path.lexists(path) or not Path(path).absolute().parent.is_dir():
        problem = "which exists already" if os.path.lexists(path) else "whose folder does not exist"
        raise OutputError(f"Expected a new file. Received: {str(path)!r}, {problem}. Name another file.")
    check_writable(path)


def make_folder(path: Path) -> Path:
    """Creates a folder and those that it is in, and returns its path. The folder may exist.

    Raises:
        OutputError: If it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(path, error, AGAIN) from error
    return path


@contextmanager
def replacing(path: Path, *, again: str = AGAIN) -> Iterator[Path]:
    """Yields a temporary path to write to, and moves that file to `path` once it is complete and on the disk.

    Temporary files of processes that were killed are removed from the folder first.

    Args:
        path: The file.
        again: What to do once there is space, for the message of the error.

    Raises:
        OutputError: If the disk is full or the folder cannot be written to. An earlier file at `path` is kept.
    """
    temporary = path.with_name(f"{OWN}{os.getpid()}-{path.name}")
    try:
        sweep(path.parent)
        _remove(temporary)  # of a killed process with the same number
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise _not_written(path, error, again) from error
    finally:
        _remove(temporary)


@contextmanager
def filling(folder: Path, *, on_placed: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yields a temporary folder to write to, and moves what it holds to `folder` once all of it is complete.

    Files and folders of the same names are replaced; others are kept. If the process is killed before `on_placed` has
    ended, `check_output` lets the command begin again.

    Args:
        folder: The folder, which may not exist yet.
        on_placed: Called when everything is in its place, to write what belongs to it elsewhere.

    Raises:
        OutputError: If the disk is full or the folder cannot be written to.
    """
    created = [place for place in (folder, *folder.parents) if not place.exists()]
    temporary = make_folder(folder) / f"{OWN}{os.getpid()}-new"
    try:
        sweep(folder)
        _remove(temporary)
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        items = sorted(temporary.iterdir())
        write_text(folder / PLACING, "\n".join(item.name for item in items))
        for item in items:  # first, so that an interruption leaves no mixture of old and new
            _remove(folder / item.name)
        for item in items:
            os.replace(item, folder / item.name)
        _remove(temporary)
        on_placed()
        (folder / PLACING).unlink()  # last: after a kill before it, all is done again and nothing is left
    except OSError as error:
        raise _not_written(folder, error, AGAIN) from error
    finally:
        _remove(temporary)
        with suppress(OSError):  # a folder that holds something stays
            for place in created:
                place.rmdir()


def _flush(file: Path) -> None:
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def _not_written(path: Path, error: OSError, again: str) -> OutputError:
    return OutputError(
        f"Expected to write {path}. Received: {in_a_sentence(error)}. Free some space or allow writing there, then "
        f"{again}."
    )


def sweep(folder: Path) -> None:
    """Removes the temporary files that processes of this machine left in a folder when they were killed."""
    for item in folder.iterdir():
        found = _TEMPORARY.match(item.name)
        if found and not _is_running(int(found[1])):
            _remove(item)


def remove_files(paths: Iterable[Path]) -> None:
    """Removes files, where they exist.

    Raises:
        OutputError: If one cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"Expected a file that can be replaced. Received: {str(path)!r} ({in_a_sentence(error)}). Remove it, "
                f"or name another folder."
            ) from error


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return True
    if os.name == "nt":  # there, os.kill ends the process instead of asking
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to someone else
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def new_file(path: str | Path) -> Iterator[TextIO]:
    """Creates a text file that must not exist yet. It appears only once it is complete, not if the block fails.

    Raises:
        OutputError: If the file exists or cannot be created.
    """
    check_new_file(path)
    with replacing(Path(path)) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        check_new_file(path)  # it may have been created meanwhile


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step.

    Raises:
        OutputError: If the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any, *, again: str = AGAIN) -> None:
    """Writes indented JSON, which a person can read and edit. NaN is refused.

    Raises:
        ValueError: If a number is NaN or infinite.
        OutputError: If the file cannot be written.
    """
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path, again=again) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, name: str, *, package: str, error: type[UserError] = UserError) -> Any:
    """Reads a JSON file and checks it against the schema `schemas/<name>.json` of a package.

    Raises:
        UserError: Or the given subclass `error`, if the file cannot be read, is not JSON or does not follow the schema.
    """
    values = load_json(path, error=error)
    check_schema(values, name, package=package, error=error, path=path)
    return values


def load_json(path: str | Path, *, error: type[UserError] = UserError) -> Any:
    """Returns the content of a JSON file. Numbers are finite, and whole numbers have at most 64 bits.

    Raises:
        UserError: Or the given subclass `error`, if it cannot be read, is not a regular file, or is not JSON in UTF-8.
    """
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8")
        values = parse_json(text)
        if _SURROGATE.search(text):
            json.dumps(values, ensure_ascii=False).encode("utf-8")
    except RecursionError as problem:
        raise error(
            f"Expected JSON. Received: {str(path)!r}, which is nested too deeply. Fix or restore the file."
        ) from problem
    except OSError as problem:
        raise error(
            f"Expected a file in JSON. Received: {str(path)!r} ({in_a_sentence(problem)}). Check the path."
        ) from problem
    except ValueError as problem:
        raise error(
            f"Expected a file in JSON. Received: {str(path)!r} ({_short(in_a_sentence(problem))}). Fix or restore it."
        ) from problem
    return values


def parse_json(text: str) -> Any:
    """Returns the content of JSON. Numbers are finite, and whole numbers have at most 64 bits.

    Raises:
        ValueError: If it is not JSON, or a number is none of these.
    """
    return json.loads(text, parse_constant=_refuse_number, parse_float=_finite, parse_int=_whole)


def _refuse_number(text: str) -> float:
    raise ValueError(f"the number {text[:20]}{'...' * (len(text) > 20)}, which is not finite or too large")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _whole(text: str) -> int | float:
    return int(text) if len(text) < 19 else _refuse_number(text)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def check_schema(
    values: Any, name: str, *, package: str, error: type[UserError] = UserError, path: Path | None = None
) -> None:
    """Checks `values` against the JSON schema `schemas/<name>.json` of a package.

    Args:
        values: Content of a JSON file.
        name: Name of the schema.
        package: The package that holds it.
        error: Class of the error.
        path: The file, for the message.

    Raises:
        UserError: Or the given subclass `error`, if they do not follow it. The message names the file and the place.
    """
    import jsonschema

    schema = json.loads(files(package).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8"))
    where = "" if path is None else f"{str(path)!r}, "
    try:
        problem = jsonschema.exceptions.best_match(_validator()(schema).iter_errors(values))
    except RecursionError as nested:
        raise error(
            f"Expected content that follows the schema of {name}.json. Received: {where}nested too deeply. Fix it."
        ) from nested
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "the top level"
        raise error(
            f"Expected content that follows the schema of {name}.json. Received: {where}at {_short(place)}: "
            f"{_short(problem.message)}. Fix it."
        )


@cache
def _validator() -> Callable[[Any], Any]:
    """Returns a validator for which 1.0 is no whole number, and which checks a list of plain numbers as a whole."""
    import jsonschema

    slow = jsonschema.Draft202012Validator

    def items(validator: Any, rule: Any, values: Any, schema: Any) -> Iterator[Any]:
        if not _are_numbers(values, rule):
            found = slow.VALIDATORS["items"](validator, rule, values, schema)
            yield from islice(found, 1) if _is_numeric(rule) else found

    whole = slow.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator: Callable[[Any], Any] = jsonschema.validators.extend(slow, {"items": items}, type_checker=whole)
    return validator


def _is_numeric(rule: Any) -> bool:
    return isinstance(rule, dict) and rule.get("type") in _NUMBERS and set(rule) <= {"type", "minimum", "maximum"}


_NUMBERS: dict[str, set[type]] = {"integer": {int}, "number": {int, float}}


def _are_numbers(values: Any, rule: Any) -> bool:
    """Returns whether a list holds plain numbers alone, by a rule that asks for nothing else."""
    if not isinstance(values, list) or not _is_numeric(rule) or not set(map(type, values)) <= _NUMBERS[rule["type"]]:
        return False
    return not values or (
        rule.get("minimum", -math.inf) <= min(values) and max(values) <= rule.get("maximum", math.inf)
    )
