"""Starts Python in a new process, which runs no code from the current folder; and the cores that a process may use."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any

PACKAGE_ROOT = Path(__file__).resolve().parent.parent


class _Share:
    """The cores that this process may use; `None` for all of the machine."""

    cores: int | None = None


def num_cores() -> int:
    """Returns how many cores this process may use: those of the machine, or the share of a worker of a cluster."""
    return _Share.cores or os.cpu_count() or 1


def limited_cores() -> int | None:
    """Returns the share of a worker of a cluster; `None` where a process may use every core."""
    return _Share.cores


def limit_cores(number: int) -> None:
    """Gives this process, a worker of a cluster, a share of the cores."""
    _Share.cores = number


def start_python(
    code: str, *arguments: object, stdout: int | IO[Any], stderr: int | IO[Any], environment: Mapping[str, str] = {}
) -> subprocess.Popen[bytes]:
    """Starts Python code in a new process.

    The new process finds modules where this process finds them, but never in the current folder: that may hold files of
    a stranger, who may have named them like modules. Relative paths are those of this process.

    Args:
        code: The code. It should call `end_with_parent`.
        arguments: Its arguments, `sys.argv[1:]`.
        stdout: Where its output goes, as for `subprocess.Popen`.
        stderr: Where its errors go.
        environment: Environment variables that are changed.

    Returns:
        The process. Its stdin is a pipe: while it is open, this process is running.

    Raises:
        OSError: If the process cannot be started.
    """
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(_trusted_paths()), **environment}
    return subprocess.Popen(command, env=variables, stdin=PIPE, stdout=stdout, stderr=stderr)


def _trusted_paths() -> list[str]:
    """Returns the folders in which modules are found, without the current one, unless it holds this package."""
    current = Path.cwd().resolve()
    found = []
    for path in sys.path:
        folder = Path(path).resolve()
        # A separator within a name would make two folders of it, the second of them in the current one.
        if folder == PACKAGE_ROOT or (os.path.isabs(path) and folder != current and os.pathsep not in path):
            found.append(os.path.abspath(path))
    return found


def end_with_parent() -> None:
    """Ends a process that `start_python` started as soon as its parent ends, however that happens.

    Call it when everything that the parent sends has been read from stdin.
    """

    def wait() -> None:
        os.read(0, 1)  # not from sys.stdin, whose lock would be held while this process ends
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
