"""Checkpoints: the state of a training on disk, from which an interrupted run continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from strategies.errors import OutputError, in_a_sentence
from strategies.files import OWN, replacing
from strategies.training.run_files import CHECKPOINT, CONTINUE

if TYPE_CHECKING:
    import keras

LOCK = f"{OWN}lock"


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of a training at the end of an epoch or of a phase.

    Attributes:
        arrays: Lists of arrays by group: `variables` of the model (with the states of its random generators),
            `optimizer`, and `before` (the weights at the start of the phase).
        values: Plain values: the phase, the epochs, and the state of the `Recorder`.
    """

    arrays: Mapping[str, Sequence[np.ndarray]]
    values: Mapping[str, Any]

    def is_within(self, phase: int) -> bool:
        """Returns whether the state was saved within this phase. At the end of a phase there is no optimizer."""
        return self.values["phase"] == phase and bool(self.arrays["optimizer"])


class Checkpoint:
    """The checkpoint file of a run folder.

    Args:
        folder: The run folder. `None` keeps nothing.
        identity: What the run depends on. The state of a run with another identity is refused.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._path = None if folder is None else folder / CHECKPOINT
        self._identity = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def keeps(self) -> bool:
        """Whether states are kept."""
        return self._path is not None

    def read(self) -> State | None:
        """Returns the state on disk, or `None` if there is none.

        Raises:
            OutputError: If the state belongs to another plan, other images or other software, or if it is damaged.
        """
        if self._path is None or not self._path.is_file():
            return None
        try:
            with self._path.open("rb") as file:
                state = unpack(file)
            values = dict(state.values)
            identity = values.pop("identity")
        except Exception as error:  # a damaged archive raises errors of a dozen types
            raise OutputError(
                f"Expected a checkpoint that can be read. Received: {str(self._path)!r} "
                f"({in_a_sentence(error)[:200]}). Delete it; the run then starts from the beginning."
            ) from error
        if identity != self._identity:
            raise OutputError(
                f"Expected the same images, plan and software versions as when the run in {self._path.parent} was "
                f"started. Received: different ones. Use the same ones, or start a new run in another folder."
            )
        return replace(state, values=values)

    def write(self, state: State) -> None:
        """Replaces the state on disk in one step, so that an interruption leaves the previous state intact.

        Raises:
            OutputError: If the state cannot be written. The previous state is still there.
        """
        if self._path is None:
            return
        identified = replace(state, values={**state.values, "identity": self._identity})
        with replacing(self._path, again=CONTINUE) as temporary, temporary.open("wb") as file:
            pack(identified, file)


def pack(state: State, file: IO[bytes]) -> None:
    """Writes a state to a file in NumPy's format `.npz`."""
    values = {**state.values, "counts": {name: len(group) for name, group in state.arrays.items()}}
    arrays = {f"{name}/{index}": array for name, group in state.arrays.items() for index, array in enumerate(group)}
    np.savez(file, **{"values": np.array(json.dumps(values)), **arrays})  # type: ignore[arg-type]


def unpack(file: IO[bytes]) -> State:
    """Returns the state that `pack` wrote to a file. No data is run as code."""
    with np.load(file, allow_pickle=False) as arrays:
        values = json.loads(str(arrays["values"]))
        counts = values.pop("counts")
        groups = {name: [arrays[f"{name}/{index}"] for index in range(count)] for name, count in counts.items()}
    return State(arrays=groups, values=values)


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Locks a run folder for this process. The system releases the lock when the process ends, even if it is killed.

    Raises:
        OutputError: If another process holds the lock.
    """
    if folder is None:
        yield
        return
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"Expected a run folder that is not in use. Received: {folder}, which another run is writing to. Wait for "
            f"that run, or name another folder."
        ) from None
    except OSError as error:
        raise OutputError(
            f"Expected a run folder that can be locked. Received: {folder} ({in_a_sentence(error)}). Free some space "
            f"or allow writing there."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # some systems cannot delete a file in use
            (folder / LOCK).unlink()
        lock.release()


def variables(model: keras.Model) -> list[Any]:
    """Returns every variable of a model's layers once, including the states of random generators."""
    found = {id(variable): variable for layer in model.layers for variable in layer.variables}
    return list(found.values())


def values_of(held: Sequence[Any]) -> list[np.ndarray]:
    """Returns copies of the values of Keras variables."""
    from strategies.networks.backend import keras

    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in held]


def assign(held: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Assigns values to Keras variables, in order."""
    for variable, value in zip(held, values, strict=True):
        variable.assign(value)
