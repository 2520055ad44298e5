"""Runs Keras jobs in a background process and caches what they produce.

The background process uses Keras' OpenVINO backend, whatever backend this process uses. It starts in two seconds, a
third of the time that TensorFlow takes. Meanwhile this process continues.
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

import numpy as np

from strategies.errors import in_a_sentence
from strategies.features.cache import FeatureCache
from strategies.features.engines import import_openvino

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
        start_jobs(self)
        found = _RUNNING.pop(self.key).result()
        if isinstance(found, str):
            raise RuntimeError(found)
        return found, self.cache.store(self.key, found)


_RUNNING: dict[str, Future[list[np.ndarray] | str]] = {}  # by key


def start_jobs(*jobs: BackgroundJob | None) -> None:
    """Starts jobs in one background process, so that their arrays are ready when they are needed.

    Args:
        jobs: The jobs. `None`, and jobs whose arrays are cached or being computed, are skipped.
    """
    missing = {
        job.key: job.make
        for job in jobs
        if job is not None and not job.in_process and job.key not in _RUNNING and not job.cache.holds(job.key)
    }
    if not missing:
        return
    results: dict[str, Future[list[np.ndarray] | str]] = {key: Future() for key in missing}
    _RUNNING.update(results)

    def work() -> None:
        try:
            for future, found in zip(results.values(), _run_in_process(list(missing.values())), strict=True):
                future.set_result(found)
        except Exception as error:  # such as a process that cannot be started: those who wait need an answer
            for future in results.values():
                if not future.done():
                    future.set_result(in_a_sentence(error))

    threading.Thread(target=work, daemon=True).start()


def _run_in_process(makers: Sequence[Make]) -> Iterator[list[np.ndarray] | str]:
    """Yields the arrays of each job as soon as it is done, or one line on why it failed."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "KERAS_BACKEND": "openvino", "PYTHONPATH": paths}
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
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
    """Runs the jobs that it reads from stdin and writes each result to stdout."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # anything that libraries print on stdout goes to stderr
        import_openvino()
        for make in pickle.load(sys.stdin.buffer):
            pickle.dump(_result(make), out)
            out.flush()


def _result(make: Make) -> list[np.ndarray] | str:
    try:
        return make()
    except Exception as error:  # converters raise different errors, depending on layer and version
        return in_a_sentence(error)
