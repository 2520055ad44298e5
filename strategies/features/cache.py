"""Frozen networks, and what they gave, kept on disk: the same images through the same weights are computed once."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from strategies.display.progress import note
from strategies.errors import UserError, in_a_sentence

MAX_BYTES = 2 * 2**30
SUFFIX = ".advisor-features"  # so rare that no file of the user's bears it, wherever ADVISOR_CACHE points to
TEMPORARY_SUFFIX = SUFFIX + ".tmp"
STALE_SECONDS = 24 * 60 * 60
_MAGIC = b"transfer-advisor features 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class FeatureCache:
    """A folder of entries, each a file with the arrays that one forward pass gave, or that make up a network.

    A cache is a convenience: whatever is wrong with the folder is said in one line on stderr, and the work goes on
    without it. An entry is its key's and whole, or it is not used: a checksum over key and content is verified before
    anything is read. Several processes may share the folder.

    Args:
        folder: Where the entries lie; made when the first one is stored.
        max_bytes: Size that the folder is held to; what was not used for the longest time goes first. An entry may take
            a quarter of it. With 0 nothing is kept.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from strategies.features.cache import FeatureCache, make_key
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = FeatureCache(Path(folder), max_bytes=1_000_000)
        ...     key = make_key(backbone="MobileNetV2", image_size=96)
        ...     kept = cache.store(key, [np.ones((4, 16), dtype="float32")])
        ...     (features,) = cache.load(key, num_rows=4)
        >>> features.shape
        (4, 16)
    """

    folder: Path
    max_bytes: int

    def load(self, key: str, *, num_rows: int | None = None) -> list[np.ndarray] | None:
        """Returns the arrays stored under `key`, or `None` if there is no whole entry; marks the entry as just used.

        Args:
            key: What `make_key` returned.
            num_rows: Number of images, the first dimension of each array; an entry with another one is spoilt. `None`
                for what holds no images, such as a network.

        Returns:
            The arrays as they were stored, or `None`; a spoilt entry is removed and named on stderr.
        """
        path = self._path(key)
        try:
            with path.open("rb") as file:
                arrays = _read(file, key)
            if num_rows is not None and any(array.shape[:1] != (num_rows,) for array in arrays):
                raise ValueError(f"its arrays are not of {num_rows:,} rows")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            note(f"The cache could not be read ({in_a_sentence(error)}: {path})")
            return None
        except ValueError as error:
            note(f"Removed a spoilt entry from the cache ({in_a_sentence(error)}: {path})")
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # another process may have removed it by now, or it may be another user's
            _mark_used(path)
        return arrays

    def store(self, key: str, arrays: Sequence[np.ndarray]) -> bool:
        """Keeps `arrays` under `key`, then removes the entries that were not used for the longest time.

        Args:
            key: What `make_key` returned.
            arrays: Arrays of numbers, of features with one row per image.

        Returns:
            Whether they were kept. If not, because they are too large or the disk does not take them, a line on stderr
            says why; nothing is raised.
        """
        size = sum(array.nbytes for array in arrays)
        # The .npy format has no name for types that are not NumPy's own: bfloat16 would come back as raw bytes.
        foreign = [str(array.dtype) for array in arrays if array.dtype.kind not in "biufc"]
        try:
            if foreign:
                raise ValueError(f"no arrays of {foreign[0]} can be kept")
            if size > self.max_bytes // 4:
                raise ValueError(f"{_megabytes(size)} are more than a quarter of {_megabytes(self.max_bytes)}")
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self._path(key), key, arrays)
        except (OSError, ValueError) as error:
            note(f"Features were not kept in the cache ({in_a_sentence(error)}: {self.folder})")
            return False
        self._tidy()
        return True

    def holds(self, key: str) -> bool:
        """Returns whether there is an entry, whatever is in it."""
        return self._path(key).is_file()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _files(self, suffix: str) -> list[tuple[Path, os.stat_result]]:
        """Returns this cache's own files with their status, the one that was not used for the longest time first."""
        found = []
        with suppress(OSError):  # a folder that cannot be read holds nothing of ours
            for path in self.folder.glob(f"*{suffix}"):
                with suppress(OSError):  # another process may have removed it by now
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        found.append((path, status))
        return sorted(found, key=lambda one: one[1].st_mtime_ns)

    def _tidy(self) -> None:
        """Removes entries until the folder is within `max_bytes`, and what writers that were killed left behind."""
        for path, status in self._files(TEMPORARY_SUFFIX):
            if status.st_mtime < time.time() - STALE_SECONDS:
                with suppress(OSError):
                    path.unlink()
        entries = self._files(SUFFIX)
        excess = sum(status.st_size for _, status in entries) - self.max_bytes
        for path, status in entries:
            if excess <= 0:
                return
            with suppress(OSError):
                path.unlink(missing_ok=True)
                excess -= status.st_size


def default_cache() -> FeatureCache:
    """Returns the user's cache: where `ADVISOR_CACHE` says, as large as `ADVISOR_CACHE_BYTES` says.

    Without them: `transfer-advisor/features` in `XDG_CACHE_HOME` or `~/.cache`, and `MAX_BYTES`.

    Raises:
        UserError: If `ADVISOR_CACHE_BYTES` is not a whole number of bytes.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.environ.get("ADVISOR_CACHE") or Path(caches, "transfer-advisor", "features")
    size = os.environ.get("ADVISOR_CACHE_BYTES") or str(MAX_BYTES)
    if not re.fullmatch("[0-9]{1,18}", size):
        raise UserError(
            f"Expected a whole number of bytes in the environment variable ADVISOR_CACHE_BYTES. Received: {size!r}. "
            f"Set it to a number such as {MAX_BYTES}, or to 0 to keep nothing, or unset it."
        )
    return FeatureCache(Path(folder).expanduser(), int(size))


def cached(
    cache: FeatureCache | None, key: Callable[[], str], num_rows: int, compute: Callable[[], list[np.ndarray]]
) -> list[np.ndarray]:
    """Returns what `compute` returns, from the cache if it is there; says on stderr what was read or kept.

    Args:
        cache: Where to look; with `None`, or a cache that keeps nothing, `key` is not called.
        key: Returns the key of the arrays; it may be costly, since it has to read all images.
        num_rows: Number of images.
        compute: Runs the forward pass; returns arrays of shape `(num_rows, ...)`.
    """
    if cache is None or cache.max_bytes == 0:
        return compute()
    name = key()
    features = f"features of {_count(num_rows, 'image', 'images')}"
    arrays = cache.load(name, num_rows=num_rows)
    if arrays is not None:
        note(f"Read {features} from the cache ({_size_of(arrays)} in {cache.folder})")
        return arrays
    arrays = compute()
    if cache.store(name, arrays):
        note(f"Kept {features} in the cache ({_size_of(arrays)} in {cache.folder})")
    return arrays


def make_key(**parts: object) -> str:
    """Returns a key, 64 hexadecimal digits, that any change of a part's name, type or value changes.

    Args:
        parts: `None`, truth values, numbers, strings, bytes, and tuples, lists and dictionaries of them; the order of
            the names, and of dictionaries, does not count.

    Raises:
        TypeError: If a part is anything else, a NumPy number for instance.

    Example:
        >>> from strategies.features.cache import make_key
        >>> make_key(backbone="MobileNetV2", image_size=96) == make_key(image_size=96, backbone="MobileNetV2")
        True
        >>> make_key(stages=("ab", "c")) == make_key(stages=("a", "bc"))
        False
    """
    return hashlib.sha256(_encode(parts)).hexdigest()


def _encode(value: object) -> bytes:
    """Returns type, length and content; since the length is known, no two values run together to the same bytes."""
    match value:
        case None:
            kind, content = "none", b""
        case bool():
            kind, content = "bool", b"%d" % value
        case int():
            kind, content = "int", b"%x" % value
        case float():
            kind, content = "float", float.hex(value).encode()
        case str():
            kind, content = "str", value.encode("utf-8", "surrogatepass")  # names of files may be broken Unicode
        case bytes():
            kind, content = "bytes", value
        case tuple():
            kind, content = "tuple", b"".join(map(_encode, value))
        case list():
            kind, content = "list", b"".join(map(_encode, value))
        case dict():
            kind, content = "dict", b"".join(sorted(_encode(name) + _encode(part) for name, part in value.items()))
        case _:
            raise TypeError(f"Expected None, bool, int, float, str, bytes, tuple, list or dict. Received: {value!r}.")
    return f"{kind} {len(content)}:".encode() + content


class _HashedFile:
    """Passes on what is written and hashes it: what the disk holds is checked against what the memory held."""

    def __init__(self, file: IO[bytes], key: str) -> None:
        self._file, self.digest = file, hashlib.sha256(key.encode())

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _write(path: Path, key: str, arrays: Sequence[np.ndarray]) -> None:
    """Writes a line that names the format, the SHA-256 of key and blocks, and each array as a block of `.npy`."""
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed before it is renamed, removed if that fails)
        dir=path.parent, prefix=f"{key[:16]}-", suffix=TEMPORARY_SUFFIX, delete=False
    )
    try:
        with file:
            file.write(_MAGIC + bytes(_DIGEST_BYTES))
            blocks: Any = _HashedFile(file.file, key)
            for array in arrays:
                np.lib.format.write_array(blocks, array, allow_pickle=False)
            file.seek(len(_MAGIC))
            file.write(blocks.digest.digest())
        _mark_used(file.name)
        os.replace(file.name, path)
    finally:
        Path(file.name).unlink(missing_ok=True)


def _read(file: Any, key: str) -> list[np.ndarray]:
    """Returns the arrays of what `_write` wrote; anything else is a `ValueError`."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it does not begin as an entry does")
    expected = file.read(_DIGEST_BYTES)
    start = file.tell()
    if hashlib.file_digest(file, lambda: hashlib.sha256(key.encode())).digest() != expected:
        raise ValueError("its checksum does not fit")
    file.seek(start)
    arrays = []
    while file.peek(1):
        arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return arrays


def _mark_used(path: str | Path) -> None:
    # The system's own marks are milliseconds apart: of two entries with the same one, either might go first.
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _size_of(arrays: Iterable[np.ndarray]) -> str:
    return _megabytes(sum(array.nbytes for array in arrays))
