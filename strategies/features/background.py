"""Runs Keras jobs in a background process and caches what they produce.

The background process uses Keras' OpenVINO backend, whatever backend this process uses. It starts in two seconds, a
third of the time that TensorFlow takes. Meanwhile this process continues.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from subprocess import PIPE

import numpy as np

from strategies.errors import in_a_sentence
from strategies.features.cache import FeatureCache
from strategies.features.engines import import_openvino
from strategies.processes import end_with_parent, start_python

Make = Callable[[], list[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class BackgroundJob:
    """Arrays that a background process computes once and that are then cached.

    Args:
        key: Key of the cache entry.
        cache: The cache that keeps the arrays.
        make: Function that computes the arrays. It is sent to another process, so it must be a function of a module, or
            a `functools.partial` of one.
        in_process: Whether this process computes the arrays instead, because OpenVINO is not used.
    """

    key: str
    cache: FeatureCache
    make: Make
    in_process: bool = False

    def arrays(self) -> tuple[list[np.ndarray], bool]:
        """Returns the arrays, and whether they have just been computed. Waits for the job if it is still running.

        Raises:
            RuntimeError: If the job failed. The message says why.
        """
        kept = self.cache.load(self.key)
        if kept is not None:
            return kept, False
        if self.in_process:
            made = self.make()
            return made, self.cache.store(self.key, made)
        found = _start({self.key: self.make})[self.key].result()
        _RUNNING.pop(self.key, None)
        if isinstance(found, str):
            raise RuntimeError(found)
        return found, self.cache.store(self.key, found)


_RUNNING: dict[str, Future[list[np.ndarray] | str]] = {}  # by key
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RUNNING.clear)  # nobody would answer in a forked process


def start_jobs(*jobs: BackgroundJob | None) -> None:
    """Starts jobs in one background process, so that their arrays are ready when they are needed.

    Args:
        jobs: The jobs. `None`, and jobs whose arrays are cached or being computed, are skipped.
    """
    _start(
        {job.key: job.make for job in jobs if job is not None and not job.in_process and not job.cache.holds(job.key)}
    )


def _start(makers: Mapping[str, Make]) -> dict[str, Future[list[np.ndarray] | str]]:
    """Starts the jobs that are not running yet, and returns the results that all of them will have, by key."""
    new: dict[str, Future[list[np.ndarray] | str]] = {key: Future() for key in makers}
    found = {key: _RUNNING.setdefault(key, future) for key, future in new.items()}
    missing = {key: future for key, future in new.items() if found[key] is future}

    def work() -> None:
        try:
            for future, result in zip(missing.values(), _run_in_process([makers[key] for key in missing]), strict=True):
                future.set_result(result)
        except Exception as error:  # such as a process that cannot be started: those who wait need an answer
            for future in missing.values():
                if not future.done():
                    future.set_result(in_a_sentence(error))

    if missing:
        threading.Thread(target=work, daemon=True).start()
    return found


def _run_in_process(makers: Sequence[Make]) -> Iterator[list[np.ndarray] | str]:
    """Yields the arrays of each job as soon as it is done, or one line on why it failed."""
    code = f"from {__name__} import main; main()"
    environment = {"KERAS_BACKEND": "openvino"}
    with (
        tempfile.TemporaryFile() as errors,
        start_python(code, environment=environment, stdout=PIPE, stderr=errors) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):
            pickle.dump(list(makers), child.stdin)
            child.stdin.flush()
        for _ in makers:
            try:
                yield pickle.load(child.stdout)
            except (EOFError, pickle.UnpicklingError):
                child.wait()
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                yield lines[-1] if lines else f"exit code {child.returncode}"


def main() -> None:
    """Runs the jobs that it reads from stdin and writes each result to stdout."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # anything that libraries print on stdout goes to stderr
        import_openvino()
        makers = pickle.load(sys.stdin.buffer)
        end_with_parent()
        for make in makers:
            pickle.dump(_result(make), out)
            out.flush()


def _result(make: Make) -> list[np.ndarray] | str:
    try:
        return make()
    except Exception as error:  # converters raise different errors, depending on layer and version
        return in_a_sentence(error)
