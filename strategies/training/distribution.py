"""Data-parallel training on Keras' own distribution: the devices that share each batch, and the processes they are in.

Only the training steps are distributed. Everything else, from decoding to evaluation, is done on the first device of
each process, and the first process alone writes files.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.display.progress import note, silenced
from strategies.errors import UserError, in_a_sentence
from strategies.networks.backend import keras_backend, start_keras
from strategies.startup import starting, use_threads
from strategies.training.checkpoint import State, assign, pack, unpack, values_of, variables

if TYPE_CHECKING:
    import keras

# Keras' own variables. Each process has its own number, from 0.
ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
NUM_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
PROCESS_ID = "KERAS_DISTRIBUTION_PROCESS_ID"


@dataclass(frozen=True, kw_only=True, eq=False)
class Devices:
    """The devices that train a model together. Each takes an equal part of every batch, and all hold the same weights.

    Attributes:
        distribution: Keras' distribution over these devices. `None` for a training on one device, as Keras does it.

    Example:
        >>> from strategies.training.distribution import Devices
        >>> devices = Devices()
        >>> devices.is_first, devices.num_devices
        (True, 1)
    """

    distribution: keras.distribution.DataParallel | None = None

    @property
    def num_devices(self) -> int:
        """Number of devices in all processes."""
        return 1 if self.distribution is None else int(self.distribution.num_model_replicas)

    @property
    def num_processes(self) -> int:
        """Number of processes."""
        return 1 if self.distribution is None else int(self.distribution.num_processes)

    @property
    def process(self) -> int:
        """Number of this process, from 0."""
        return 0 if self.distribution is None else int(self.distribution.data_shard_id)

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which alone writes files and shows progress."""
        return self.process == 0

    def __str__(self) -> str:
        parts = ((self.num_devices, "device", "devices"), (self.num_processes, "process", "processes"))
        counted = [f"{number} {one if number == 1 else many}" for number, one, many in parts]
        return f"Training on {counted[0]} in {counted[1]}"

    @contextmanager
    def together(self) -> Iterator[None]:
        """Words the errors of what all processes compute together: most often, one of them has ended.

        Raises:
            UserError: In place of an error of JAX, where there are several processes.
        """
        if self.num_processes == 1:
            yield
            return
        import jax

        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            raise UserError(
                f"Expected all {self.num_processes} processes to go on. Received: {in_a_sentence(error)[:200]}. If one "
                f"has ended, start all of them again with --resume (resume=True)."
            ) from error

    def check_batches(self, batch_size: int) -> None:
        """Checks that a batch can be divided equally among the devices.

        Raises:
            UserError: If it cannot.
        """
        if batch_size % self.num_devices:
            raise UserError(
                f"Expected a batch size that is a multiple of the number of devices. Received: batch_size "
                f"{batch_size} and {self.num_devices} devices. Change batch_size in the plan, or use fewer devices."
            )

    def check_same(self, describe: Callable[[], str]) -> None:
        """Checks that what a training depends on is the same in every process.

        Args:
            describe: Returns it as a text. It is called only where there are other processes.

        Raises:
            UserError: If a process has others, in every process.
        """
        if self.num_processes == 1:
            return
        from jax.experimental import multihost_utils

        digest = np.frombuffer(hashlib.sha256(describe().encode()).digest(), dtype="uint8")
        found = np.asarray(multihost_utils.process_allgather(digest))
        if others := np.flatnonzero((found != found[0]).any(axis=1)).tolist():
            raise UserError(
                f"Expected the same plan, labels and pretrained weights in every process. Received: others in process "
                f"{others[0]} than in process 0. Start every process with the same command, files and versions."
            )

    def replica(self, model: keras.Model) -> keras.Model:
        """Returns a copy of a model with its weights on every device. On one device, it is the model itself."""
        if self.distribution is None:
            return model
        from strategies.networks.backend import keras

        with self.scope():
            copy = keras.models.clone_model(model)
        self.load(variables(copy), values_of(variables(model)))
        return copy

    def collect(self, replica: keras.Model, model: keras.Model) -> None:
        """Copies the weights of a replica back to the model that it is a copy of."""
        if replica is not model:
            assign(variables(model), values_of(variables(replica)))

    def load(self, held: Sequence[Any], values: Sequence[np.ndarray]) -> None:
        """Assigns values to variables of a replica, in order. They are the same in every process."""
        if self.distribution is None:
            assign(held, values)
            return
        import jax

        # Without it, JAX would compare the values of each variable between the processes, one after the other.
        arrays = [
            jax.make_array_from_process_local_data(variable.value.sharding, np.asarray(value, dtype=variable.dtype))
            for variable, value in zip(held, values, strict=True)
        ]
        assign(held, arrays)

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the context in which a replica is compiled."""
        return nullcontext() if self.distribution is None else self.distribution.scope()

    def train_on_batch(self, replica: keras.Model, batch: Sequence[np.ndarray]) -> dict[str, float]:
        """Trains a replica for one step; returns the measures of the whole batch.

        Args:
            replica: From `replica`, compiled within `scope`.
            batch: The part of the batch that belongs to this process, as `Batches` returns it.
        """
        with self.scope():
            return dict(replica.train_on_batch(*batch, return_dict=True))

    def of_first(self, array: np.ndarray) -> np.ndarray:
        """Returns the array of the first process, in every process: a choice by rounding errors is then the same.

        Args:
            array: Array of the same shape and type in every process.
        """
        if self.num_processes == 1:
            return array
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(array))

    def write(self, action: Callable[[], None]) -> None:
        """Runs a function that writes files, in the first process only. The others wait for it.

        Raises:
            UserError: In every process, if the function raised one.
        """

        def nothing() -> bytes:
            action()
            return b""

        self._bytes_of_first(nothing)

    def state(self, read: Callable[[], State | None]) -> State | None:
        """Returns the state of a training that the first process reads, in every process.

        Raises:
            UserError: In every process, if the function raised one.
        """
        if self.num_processes == 1:
            return read()

        def packed() -> bytes:
            state, file = read(), io.BytesIO()
            if state is not None:
                pack(state, file)
            return file.getvalue()

        content = self._bytes_of_first(packed)
        return unpack(io.BytesIO(content)) if content else None

    def _bytes_of_first(self, compute: Callable[[], bytes]) -> bytes:
        """Returns the bytes that a function returns in the first process, or raises its error, in every process."""
        if self.num_processes == 1:
            return compute()
        content, problem = b"", None
        if self.is_first:
            try:
                content = compute()
            except UserError as error:
                content, problem = f"{type(error).__name__}\n{error}".encode(), error
        length, failed = self.of_first(np.array([len(content), problem is not None], dtype="uint32")).tolist()
        buffer = np.zeros(length, dtype="uint8")
        if self.is_first:
            buffer[:] = np.frombuffer(content, dtype="uint8")
        received = self.of_first(buffer).tobytes() if length else b""
        if failed:
            name, _, message = received.decode().partition("\n")
            kinds = {kind.__name__: kind for kind in UserError.__subclasses__()}
            raise problem or kinds.get(name, UserError)(message)
        return received


ONE_DEVICE = Devices()


def find_devices() -> Devices:
    """Returns all devices of this process, or of all processes that the environment variables of Keras name.

    The processes find each other by `keras.distribution.initialize`. It has to come before Keras computes anything, so
    call this function or that one first.

    Raises:
        UserError: If the backend of Keras is not JAX, if the variables are incomplete or wrong, if Keras has computed
            something already, or if the processes have different numbers of devices.
    """
    if keras_backend() != "jax":
        raise UserError(
            f"Expected the JAX backend for data-parallel training, which Keras cannot do with the others. Received: "
            f"{keras_backend()!r}. Install jax, and set the environment variable KERAS_BACKEND to jax."
        )
    given = _given_variables()
    from strategies.networks.backend import keras  # and with it JAX, quietly

    use_threads()
    import jax

    if given and not jax.distributed.is_initialized():
        _join_processes(given)
    start_keras()
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    devices = Devices(distribution=distribution)
    if devices.num_devices != devices.num_processes * jax.local_device_count():
        raise UserError(
            f"Expected the same number of devices in every process. Received: {jax.local_device_count()} in process "
            f"{devices.process}, of {devices.num_devices} in {devices.num_processes} processes. Hide some, for example "
            f"with CUDA_VISIBLE_DEVICES."
        )
    return devices


def _given_variables() -> dict[str, str]:
    """Returns the environment variables of Keras that name the processes, after checking them; none for one process."""
    given = {name: os.environ[name] for name in (ADDRESSES, NUM_PROCESSES, PROCESS_ID) if os.environ.get(name)}
    missing = [name for name in (ADDRESSES, NUM_PROCESSES, PROCESS_ID) if name not in given]
    number, count = given.get(PROCESS_ID, ""), given.get(NUM_PROCESSES, "")
    if not given:
        return {}
    if missing:
        received = f"none in {missing[0]}"
    elif not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        received = f"{PROCESS_ID}={number} and {NUM_PROCESSES}={count}"
    else:
        return given
    raise UserError(
        f"Expected the address of process 0 in {ADDRESSES}, the number of processes in {NUM_PROCESSES} and the number "
        f"of this one, from 0, in {PROCESS_ID}. Received: {received}. Set all three, or none for a single process."
    )


def _join_processes(given: Mapping[str, str]) -> None:
    from strategies.networks.backend import keras

    with silenced(int(given[PROCESS_ID]) > 0):
        note(f"Waiting for {given[NUM_PROCESSES]} processes at {given[ADDRESSES].split(',')[0]}")
    try:
        with starting():
            keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"Expected {given[NUM_PROCESSES]} processes that can be joined before Keras computes anything. "
            f"Received: {in_a_sentence(error)}. Check the variables KERAS_DISTRIBUTION_..., and call "
            f"keras.distribution.initialize() at the start of your program."
        ) from error
