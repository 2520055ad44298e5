"""Runs Keras jobs in a background process and caches what they produce.

The background process uses Keras' OpenVINO backend, whatever the backend is here. It starts in two seconds, a third of
what TensorFlow takes, and this process can do something else in the meantime.
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
    """Arrays that are computed once, by a background process, and cached.

    Args:
        key: Key of the cache entry.
        cache: Where the arrays are kept.
        make: Computes the arrays. A function of a module, or a `functools.partial` of one, since it is sent to another
            process.
        in_process: Whether this process computes them instead, where OpenVINO is not used.
    """

    key: str
    cache: FeatureCache
    make: Make
    in_process: bool = False

    def arrays(self) -> tuple[list[np.ndarray], bool]:
        """Returns the arrays and whether they were computed just now; waits for a job that is running.

        Raises:
            RuntimeError: If the job failed; the text says why.
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
    """Starts jobs in one background process, so that their arrays are ready by the time they are asked for.

    Args:
        jobs: Those that are cached or running already, and `None`, are skipped.
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
        except Exception as error:  # such as a process that cannot be started: whoever waits must learn of it
            for future in results.values():
                if not future.done():
                    future.set_result(in_a_sentence(error))

    threading.Thread(target=work, daemon=True).start()


def _run_in_process(makers: Sequence[Make]) -> Iterator[list[np.ndarray] | str]:
    """Yields the arrays of each job as soon as it is done, or one line that says why it failed."""
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
    """Runs the jobs that arrive on stdin, and writes each result to stdout."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what others print goes to stderr
        import_openvino()
        for make in pickle.load(sys.stdin.buffer):
            pickle.dump(_made(make), out)
            out.flush()


def _made(make: Make) -> list[np.ndarray] | str:
    try:
        return make()
    except Exception as error:  # what a converter raises differs by layer and version
        return in_a_sentence(error)
