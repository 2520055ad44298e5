"""The state of a training on disk, from which it goes on after a kill at any moment: whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.errors import OutputError
from strategies.files import replacing

if TYPE_CHECKING:
    import keras

FILE = "checkpoint.npz"
LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a training stands at the end of an epoch or of a phase.

    Attributes:
        arrays: Group -> arrays: `variables` of the model (random states included), `optimizer`, `kept` (the best
            weights so far) and `before` (the weights at the start of the phase).
        values: Plain values: the phase, the epochs, and what `BestWeights` remembers.
    """

    arrays: Mapping[str, Sequence[np.ndarray]]
    values: Mapping[str, Any]

    def is_within(self, phase: int) -> bool:
        """Returns whether that phase was under way; at the end of one there is no optimizer."""
        return self.values["phase"] == phase and bool(self.arrays["optimizer"])


class Checkpoint:
    """The file of a run folder that holds its state; with `None` as a folder nothing is kept.

    Args:
        folder: The run folder, or `None`.
        identity: What distinguishes this run from others: the state of another one is refused.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._path = None if folder is None else folder / FILE
        self._identity = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def keeps(self) -> bool:
        """Whether there is a folder to keep states in."""
        return self._path is not None

    def read(self) -> State | None:
        """Returns the state on disk, or `None` where there is none.

        Raises:
            OutputError: If it belongs to another plan or to other images.
        """
        if self._path is None or not self._path.is_file():
            return None
        with np.load(self._path, allow_pickle=False) as file:
            values = json.loads(str(file["values"]))
            if values.pop("identity") != self._identity:
                raise OutputError(
                    f"Expected the images, the plan and the software that the run was started with. Received: others "
                    f"than those of {self._path.parent}. Give them again, or start another run in a new folder."
                )
            counts = values.pop("counts")
            groups = {name: [file[f"{name}/{index}"] for index in range(count)] for name, count in counts.items()}
        return State(arrays=groups, values=values)

    def write(self, state: State) -> None:
        """Replaces the state, on disk in one step: whoever is killed meanwhile leaves the one before.

        Raises:
            OutputError: If it cannot be written; the one before is still there.
        """
        if self._path is None:
            return
        values = {
            **state.values,
            "identity": self._identity,
            "counts": {name: len(group) for name, group in state.arrays.items()},
        }
        arrays = {f"{name}/{index}": one for name, group in state.arrays.items() for index, one in enumerate(group)}
        with replacing(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, **{"values": np.array(json.dumps(values)), **arrays})  # type: ignore[arg-type]

    def remove(self) -> None:
        """Deletes the file: the run is finished."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Holds a run folder for this process; the lock ends with the process, however it ends.

    Raises:
        OutputError: If another process holds it.
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
            f"Expected a run folder of its own. Received: {folder}, which another run is writing to. Wait for it, or "
            f"name another folder."
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # where a file in use cannot be deleted, it stays
            (folder / LOCK).unlink()
        lock.release()


def variables(model: keras.Model) -> list[Any]:
    """Returns every variable of a model's layers, the states of their random generators included, each once."""
    found = {id(one): one for layer in model.layers for one in layer.variables}
    return list(found.values())


def values_of(held: Sequence[Any]) -> list[np.ndarray]:
    """Returns copies of the values of Keras variables."""
    from keras.ops import convert_to_numpy

    return [np.array(convert_to_numpy(one.value)) for one in held]


def assign(held: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives Keras variables their values back."""
    for one, value in zip(held, values, strict=True):
        one.assign(value)
