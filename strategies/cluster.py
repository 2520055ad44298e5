"""Ray: passes over many images, and trainings side by side, on the cores or the machines of a cluster.

`on_ray` is a context. Inside it, `map_images`, `map_parts` and `run_all` give their work to the workers of the cluster.
What is computed is the same as without it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from strategies.display.progress import silenced, track
from strategies.errors import UserError, in_a_sentence
from strategies.processes import PACKAGE_ROOT, limit_cores, num_cores
from strategies.startup import starting

LOCAL = "local"
STEP = 32  # images: the batch of a frozen pass, so that every batch is the same as without Ray
MAX_PART = 512  # images that a worker takes at once
MAX_PART_BYTES = 64 * 2**20  # of a part of images in memory
WAITING = 256  # images that are handed to threads in advance
PARTS_PER_WORKER = 4  # at least, so that no worker waits long for the last part of another
# Workers compute with the same settings. Credentials are not among them: they never leave a machine.
PASSED_ON = ("KERAS_BACKEND", "ADVISOR_ENGINE")
# The last bits of what these libraries compute depend on the number of threads, so it is that of this process.
THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")

_ACTIVE: ContextVar[bool] = ContextVar("on_ray", default=False)


@contextmanager
def on_ray(address: str | None = LOCAL) -> Iterator[None]:
    """Runs what is inside the block on a Ray cluster: measurements, frozen passes, predictions, trainings side by side.

    The results are those of a run without Ray. A cluster that is started here is stopped at the end of the block. Any
    other keeps running.

    Args:
        address: `"local"` starts a cluster of the cores of this machine. `"auto"` connects to the cluster that runs on
            this machine, or that the environment variable `RAY_ADDRESS` names. `"host:6379"` connects to another one.
            `None` changes nothing. If this process is connected to a cluster already, that one is used.

    Raises:
        UserError: If Ray is not installed, or the cluster does not answer.

    Example:
        >>> import strategies
        >>> with strategies.on_ray("10.0.0.5:6379"):  # doctest: +SKIP
        ...     features = strategies.extract_features("s3://bucket/photos")
    """
    if address is None:
        yield
        return
    ray = _import_ray()
    connected = ray.is_initialized()
    with _messages_on_stderr(ray):
        if not connected:
            _connect(ray, address)
        token = _ACTIVE.set(True)
        try:
            yield
        finally:
            _ACTIVE.reset(token)
            if not connected:
                ray.shutdown()


def is_on_ray() -> bool:
    """Returns whether the workers of a cluster do the work."""
    return _ACTIVE.get()


def map_images(function: Callable[[Any], Any], items: Sequence[Any], description: str) -> Iterator[Any]:
    """Calls a function with each image, in threads or on the workers of a cluster. Yields the results in order.

    Args:
        function: Function of an item of `ImageDataset.items`. For a cluster, it has to be picklable.
        items: The images.
        description: Label of the progress bar.
    """
    if is_on_ray():
        for results in map_parts(partial(_in_threads, function), items, description):
            yield from results
        return
    yield from track(_threaded(function, items), description, total=len(items))


def _in_threads(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return list(_threaded(function, items))


def _threaded(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Yields the results in order. `Executor.map` would hold a task for each of millions of images from the start."""
    pool, waiting = ThreadPoolExecutor(num_cores()), deque[Future[Any]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def map_parts(
    function: Callable[[Sequence[Any]], Any],
    items: Sequence[Any],
    description: str,
    *,
    size: int | None = None,
    gpu: bool = False,
) -> Iterator[Any]:
    """Calls a function with parts of the images on the workers of a cluster. Yields the results in order.

    The table of Ray Data has a row for each part. A part is done again if its worker is lost. Only results come back to
    this process, a few at a time.

    Args:
        function: Function of a part of `items`. Each worker gets it once.
        items: As `ImageDataset.items` holds them. Files are read by the workers, which need access to them.
        description: Label of the progress bar.
        size: Number of images in a part. Default: a multiple of `STEP` that keeps all workers busy, at most `MAX_PART`.
        gpu: Whether each worker takes a GPU, where the cluster has any.
    """
    import pyarrow
    import ray

    workers, resources = _workers(gpu)
    size = size or _part_size(items, workers)
    starts = range(0, len(items), size)
    data = _import_ray_data()
    rows = (pyarrow.table({"part": [ray.cloudpickle.dumps(list(items[start : start + size]))]}) for start in starts)
    with data.DataContext.current(_quiet_context(data)), _naming_losses():
        done = data.from_arrow_refs([ray.put(row) for row in rows]).map_batches(
            _Worker,
            fn_constructor_args=(_Setting.here(1), ray.cloudpickle.dumps(function)),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=min(workers, len(starts))),
            **resources,
        )
        for row in track(done.iter_rows(), description, total=len(starts)):
            yield _result(row["answer"])


def run_all(
    function: Callable[[Any], Any], tasks: Iterable[Any], *, at_once: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Calls a function with each task, here one after the other, or side by side on the workers of a cluster.

    A task is run again, up to three times, if its worker is lost.

    Args:
        function: Function of a task. For a cluster, it has to be picklable.
        tasks: The tasks. Each is taken when there is a free worker.
        at_once: How many tasks there are at once, if it is known: each gets that share of the cores. Default: a core
            each. Where the cluster has GPUs, each task takes one of them.

    Yields:
        The number of a task, from 0 on, and its result, in the order in which they are finished.
    """
    if not is_on_ray():
        for number, task in enumerate(tasks):
            yield number, function(task)
        return
    import ray

    workers, resources = _workers(gpu=True)
    if at_once is not None and not resources.get("num_gpus"):
        largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        resources = {"num_cpus": max(1, min(largest, workers // at_once))}
        workers //= resources["num_cpus"]
    remote = ray.remote(_run).options(max_retries=3, **resources)
    shared = ray.put(ray.cloudpickle.dumps(function)), _Setting.here(resources["num_cpus"])
    running: dict[Any, int] = {}

    def finished() -> tuple[int, Any]:
        with _naming_losses():
            (ref,), _ = ray.wait(list(running))
            return running.pop(ref), _result(ray.get(ref))

    try:
        for number, task in enumerate(tasks):
            running[remote.remote(*shared, ray.cloudpickle.dumps(task))] = number
            if len(running) >= workers:
                yield finished()
        while running:
            yield finished()
    finally:
        for ref in running:
            ray.cancel(ref, force=True)


@dataclass(frozen=True)
class _Setting:
    """What a worker takes over from this process: the folder of relative paths and settings; and its cores."""

    folder: str
    environment: dict[str, str]
    cores: int

    @classmethod
    def here(cls, cores: int) -> _Setting:
        schedulable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else num_cores()
        environment = {name: os.environ.get(name, str(schedulable)) for name in THREADS}
        environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return cls(os.getcwd(), environment, cores)

    def enter(self) -> None:
        limit_cores(self.cores)
        os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", **self.environment})
        with suppress(OSError):  # a machine without this folder has no relative paths
            os.chdir(self.folder)


class _Worker:
    """Holds the function of `map_parts`, and with it a network, in a process of its own."""

    def __init__(self, setting: _Setting, function: bytes) -> None:
        setting.enter()
        self._function = pickle.loads(function)

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        return {"answer": [_answer(self._function, part) for part in rows["part"]]}


def _run(function: bytes, setting: _Setting, task: bytes) -> bytes:
    setting.enter()
    return _answer(pickle.loads(function), task)


def _answer(function: Callable[[Any], Any], argument: bytes) -> bytes:
    """Returns the result or the error, pickled: Ray would wrap an error, and print it."""
    import ray

    try:
        with silenced():
            return ray.cloudpickle.dumps((function(pickle.loads(argument)), None))
    except Exception as error:
        return ray.cloudpickle.dumps((None, error))


def _result(answer: bytes) -> Any:
    result, error = pickle.loads(answer)
    if error is not None:
        raise error
    return result


@contextmanager
def _naming_losses() -> Iterator[None]:
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        raise UserError(
            f"Expected a cluster that finishes its work. Received: {type(error).__name__} ({_first_line(error)}). "
            f"Look at the memory of its machines, and run the same again: what is in the cache is not computed again."
        ) from error


def _first_line(error: Exception) -> str:
    return in_a_sentence(Exception((str(error).strip().splitlines() or [""])[0]))


def _workers(gpu: bool) -> tuple[int, dict[str, int]]:
    """Returns the number of workers of the cluster, and what each of them takes."""
    import ray

    found = ray.cluster_resources()
    if gpu and found.get("GPU", 0) >= 1:
        return int(found["GPU"]), {"num_cpus": 1, "num_gpus": 1}
    return max(1, int(found.get("CPU", 1))), {"num_cpus": 1}


def _part_size(items: Sequence[Any], workers: int) -> int:
    """Returns the number of images in a part, a multiple of `STEP`."""
    most = MAX_PART
    if len(items) and isinstance(items[0], np.ndarray):
        most = min(most, MAX_PART_BYTES // max(1, items[0].nbytes))
    wanted = min(most, -(-len(items) // (PARTS_PER_WORKER * workers)))
    return max(1, -(-wanted // STEP)) * STEP


def _import_ray() -> Any:
    try:
        import pyarrow  # noqa: F401 - Ray Data needs it
        import ray
    except ImportError as error:
        raise UserError(
            "Expected Ray for --ray (ray=...). Received: an environment without it. Install it with "
            "pip install 'transfer-advisor[ray]', or leave the option out."
        ) from error
    return ray


def _import_ray_data() -> Any:
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray.data


def _connect(ray: Any, address: str) -> None:
    """Connects to a cluster, or starts one. Ray prints nothing, and does not report its use."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options["include_dashboard"] = False
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    # Ray lets workers find modules in the current folder: that may hold files of a stranger.
    with _environment(quiet), contextlib.chdir(PACKAGE_ROOT), starting():
        try:
            ray.init(address=address, **options)
        except Exception as error:  # an unknown address, other versions, no space: each has its own error
            raise UserError(
                f"Expected 'local', 'auto' or the address of a Ray cluster. Received: {address!r} "
                f"({in_a_sentence(error)}). Start a cluster with 'ray start --head', or use 'local'."
            ) from error


@contextmanager
def _messages_on_stderr(ray: Any) -> Iterator[None]:
    """Ray prints on stdout that a worker was lost, where a command prints its result. It has no setting for that."""
    module = ray._private.worker
    real = module.print_to_stdstream
    module.print_to_stdstream = lambda data, **options: real({**data, "is_err": True}, **options)
    try:
        yield
    finally:
        module.print_to_stdstream = real


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _quiet_context(data: Any) -> Any:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # about Ray's own old settings
        context = data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return context
