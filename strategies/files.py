"""Files between stages: where they may be written, and strict JSON checked against a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from strategies.errors import OutputError, UserError, in_a_sentence


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
            f"Name another one, or say --overwrite (overwrite=True) to replace what an earlier run wrote there."
        )
    return path


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
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def check_schema(values: Any, name: str, *, package: str, error: type[UserError] = UserError) -> None:
    """Checks `values` against the JSON schema `schemas/<name>.json` of a package; raises `error` with a sentence."""
    import jsonschema

    schema = json.loads(files(package).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8"))
    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(values))
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "the top level"
        raise error(f"Expected a {name} that follows its schema. Received, at {place}: {problem.message}. Mend it.")
