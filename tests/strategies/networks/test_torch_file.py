"""PyTorch weights files are read without PyTorch; nothing in them is run."""

import io
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from strategies.errors import WeightsError
from strategies.networks.torch_file import MAGIC, read_state

STORAGES = {"0": ("FloatStorage", np.arange(6, dtype="<f4")), "1": ("LongStorage", np.array([7], dtype="<i8"))}


class _Name:
    """Stands for a name of another module in a pickle, which this machine need not have."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class _Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class _Storage:
    def __init__(self, key):
        self.key = key


class _Pickler(pickle._Pickler):
    """Writes names, calls and storages as PyTorch's own pickles have them."""

    def persistent_id(self, value):
        if isinstance(value, _Storage):
            kind, numbers = STORAGES[value.key]
            return ("storage", _Name("torch", kind), value.key, "cpu", len(numbers), None)
        return None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, _Name):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, _Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def _pickled(value):
    file = io.BytesIO()
    _Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def _tensor(key, offset, shape, strides):
    rebuild = _Name("torch._utils", "_rebuild_tensor_v2")
    return _Call(rebuild, _Storage(key), offset, shape, strides, False, OrderedDict())


def _write(path, state, keys=("0", "1"), magic=MAGIC):
    head = (magic, 1001, {"little_endian": True})
    data = b"".join(_pickled(part) for part in (*head, state, list(keys)))
    for key in keys:
        numbers = STORAGES[key][1]
        data += struct.pack("<q", len(numbers)) + numbers.tobytes()
    path.write_bytes(data)
    return path


def test_tensors_are_read_in_their_shape(tmp_path):
    """A whole storage, a transposed view of a part of it, and an integer."""
    state = {
        "weight": _tensor("0", 0, (2, 3), (3, 1)),
        "view": _tensor("0", 1, (2, 2), (1, 3)),
        "count": _tensor("1", 0, (), ()),
    }
    found = read_state(_write(tmp_path / "a.pth", state))
    assert list(found) == ["weight", "view", "count"]
    np.testing.assert_array_equal(found["weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["view"], [[1, 4], [2, 5]])
    assert found["count"] == 7
    assert found["weight"].dtype == np.float32


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"a": _Call(_Name("os", "mkdir"), "made")}, "os.mkdir"),
        ({"a": _Call(_Name("builtins", "eval"), "open('made', 'w')")}, "builtins.eval"),
        ({"a": "text"}, "does not map names to tensors"),
        ([1, 2], "does not map names to tensors"),
        ({"a": _tensor("0", 0, (7,), (1,))}, "beyond its storage"),
        ({"a": _tensor("0", 5, (2,), (1,))}, "beyond its storage"),
        ({"a": _tensor("0", -1, (2,), (1,))}, "negative size"),
        ({"a": _tensor("0", 3, (2,), (-1,))}, "negative size"),
    ],
)
def test_anything_but_tensors_is_refused(tmp_path, monkeypatch, state, reason):
    """The error names what was found. Nothing is imported or called."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=reason):
        read_state(_write(tmp_path / "a.pth", state, keys=("0",)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_damaged_files_are_refused(tmp_path):
    """Cut off anywhere, another kind of file, or no file."""
    path = _write(tmp_path / "a.pth", {"a": _tensor("0", 0, (2, 3), (3, 1))}, keys=("0",))
    data = path.read_bytes()
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(WeightsError, match="Expected a PyTorch state dictionary"):
            read_state(path)
    with pytest.raises(WeightsError, match="does not start with the number"):
        read_state(_write(path, {}, keys=(), magic=1))
    with pytest.raises(WeightsError, match=r"absent\.pth"):
        read_state(tmp_path / "absent.pth")
