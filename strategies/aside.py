"""What takes Keras to make, made once, by a process aside, and kept in the cache.

Keras has its OpenVINO backend there: it takes two seconds, a third of what TensorFlow does, whichever backend is Keras'
here, and this process can do something else meanwhile.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from subprocess import PIPE
from typing import Any

import numpy as np

from strategies.cache import FeatureCache
from strategies.errors import in_a_sentence

Make = Callable[[], list[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Aside:
    """Arrays that are made aside once.

    Args:
        key: Of the entry in the cache.
        cache: Where they are kept.
        make: Returns them. A function of a module, a `functools.partial` of one, or a method of what can be pickled,
            since it goes to another process.
        here: Whether this process makes them instead, where OpenVINO is not used.
    """

    key: str
    cache: FeatureCache
    make: Make
    here: bool = False

    def arrays(self) -> tuple[list[np.ndarray], bool]:
        """Returns the arrays and whether they were made just now; waits for them where they are being made.

        Raises:
            RuntimeError: If they could not be made; the text says why.
        """
        kept = self.cache.load(self.key)
        if kept is not None:
            return kept, False
        if self.here:
            made = self.make()
            return made, self.cache.store(self.key, made)
        prepare(self)
        found = _UNDER_WAY.pop(self.key).result()
        if isinstance(found, str):
            raise RuntimeError(found)
        return found, self.cache.store(self.key, found)


_UNDER_WAY: dict[str, Future[list[np.ndarray] | str]] = {}  # by key


def prepare(*wanted: Aside | None) -> None:
    """Begins to make what will be asked for, all of it by one process, so that it is ready by then.

    Args:
        wanted: What; that which is in the cache, and `None`, is left out.
    """
    missing = {
        one.key: one.make
        for one in wanted
        if one is not None and not one.here and one.key not in _UNDER_WAY and not one.cache.holds(one.key)
    }
    if not missing:
        return
    results: dict[str, Future[list[np.ndarray] | str]] = {key: Future() for key in missing}
    _UNDER_WAY.update(results)

    def work() -> None:
        try:
            for future, found in zip(results.values(), _make_aside(list(missing.values())), strict=True):
                future.set_result(found)
        except Exception as error:  # such as a process that cannot be started: who waits for it shall hear of it
            for future in results.values():
                if not future.done():
                    future.set_result(in_a_sentence(error))

    threading.Thread(target=work, daemon=True).start()


def import_openvino() -> Any:
    """Imports OpenVINO without the package by which it reports its use to its makers; it does without."""
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
    import openvino

    return openvino


def _make_aside(makers: Sequence[Make]) -> Iterator[list[np.ndarray] | str]:
    """Yields what each of them returns, as soon as it does, or in words why it does not."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "KERAS_BACKEND": "openvino", "PYTHONPATH": paths}
    command = [sys.executable, "-c", "from strategies.aside import main; main()"]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, stderr=errors) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):
            pickle.dump(list(makers), child.stdin)
            child.stdin.close()
        for _ in makers:
            try:
                yield pickle.load(child.stdout)
            except (EOFError, pickle.UnpicklingError):
                child.wait()
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                yield lines[-1] if lines else f"exit code {child.returncode}"


def main() -> None:
    """Makes what comes in at stdin, and writes it to stdout piece by piece."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what others print goes elsewhere
        import_openvino()
        for make in pickle.load(sys.stdin.buffer):
            pickle.dump(_made(make), out)
            out.flush()


def _made(make: Make) -> list[np.ndarray] | str:
    try:
        return make()
    except Exception as error:  # what a converter raises differs by layer and version
        return in_a_sentence(error)
