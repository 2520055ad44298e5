"""The cache of features on disk: features of the same images and the same weights are computed only once.

It also keeps networks that were converted for OpenVINO.
"""

from __future__ import annotations

import hashlib
import io
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
SUFFIX = ".advisor-features"  # unlike the suffix of any file of the user's, wherever ADVISOR_CACHE points to
TEMPORARY_SUFFIX = SUFFIX + ".tmp"
STALE_SECONDS = 24 * 60 * 60
_MAGIC = b"transfer-advisor features 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class FeatureCache:
    """A folder of cache entries. An entry is a file of arrays: features of images, or a converted network.

    A failure of the cache never stops the work: a line on stderr reports it, and the work continues without the cache.
    A damaged entry is never used: a checksum of its key and content is verified before it is read. Several processes
    may share the folder.

    Args:
        folder: Folder of the entries. It is created when the first entry is stored.
        max_bytes: Largest size of the folder in bytes. If it is exceeded, the entries that were used least recently are
            removed. A single entry may have a quarter of this size. With 0, nothing is kept.

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
        """Returns the arrays stored under `key`, or `None` if there is no intact entry.

        A damaged entry is removed, and a line on stderr names it. Only regular files of the user's own are read: an
        entry of another user could hold any features, and reading a pipe may never end.

        Args:
            key: From `make_key`.
            num_rows: Expected first dimension of every array, the number of images. Any other entry counts as damaged.
                `None` for arrays that hold no images, such as a converted network.

        Returns:
            The arrays as they were stored, or `None`.
        """
        path = self._path(key)
        try:
            with _open(path) as file:
                arrays = _read(file, key)
                _mark_used(file)
            if num_rows is not None and any(array.shape[:1] != (num_rows,) for array in arrays):
                raise ValueError(f"its arrays do not have {num_rows:,} rows")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            note(f"The cache could not be read ({in_a_sentence(error)}: {path})")
            return None
        except ValueError as error:
            note(f"Removed a damaged entry from the cache ({in_a_sentence(error)}: {path})")
            with suppress(OSError):
                path.unlink()
            return None
        return arrays

    def store(self, key: str, arrays: Sequence[np.ndarray]) -> bool:
        """Stores `arrays` under `key`. If the cache is then too large, the least recently used entries are removed.

        Args:
            key: From `make_key`.
            arrays: Arrays of numbers; features have one row per image.

        Returns:
            Whether the arrays were stored. If they are too large or cannot be written, a line on stderr says so, and
            nothing is raised.
        """
        size = sum(array.nbytes for array in arrays)
        # The .npy format knows only NumPy's own types: bfloat16 would be read back as raw bytes.
        foreign = [str(array.dtype) for array in arrays if array.dtype.kind not in "biufc"]
        try:
            if foreign:
                raise ValueError(f"arrays of type {foreign[0]} cannot be stored")
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
        """Returns whether there is an entry that can be opened, without checking that it is intact."""
        try:
            with _open(self._path(key)):
                return True
        except OSError:
            return False

    def num_bytes(self) -> int:
        """Returns the size of all entries together."""
        return sum(status.st_size for _, status in self._files(SUFFIX))

    def num_entries(self) -> int:
        """Returns the number of entries."""
        return len(self._files(SUFFIX))

    def clear(self) -> int:
        """Removes all entries; returns how many.

        Raises:
            UserError: If one cannot be removed.
        """
        entries = [path for path, _ in self._files(SUFFIX)]
        try:
            for path in entries:
                path.unlink(missing_ok=True)  # another process may have removed it
        except OSError as error:
            raise UserError(
                f"Expected a cache whose entries can be removed. Received: {str(self.folder)!r} "
                f"({in_a_sentence(error)}). Check who may write to it."
            ) from error
        return len(entries)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _files(self, suffix: str) -> list[tuple[Path, os.stat_result]]:
        """Returns this user's files of the cache with their status, the least recently used one first."""
        found = []
        with suppress(OSError):  # a folder that cannot be read counts as empty
            for path in self.folder.glob(f"*{suffix}"):
                with suppress(OSError):  # another process may have removed it
                    status = path.lstat()
                    if not _foreign(status):
                        found.append((path, status))
        return sorted(found, key=lambda entry: entry[1].st_mtime_ns)

    def _tidy(self) -> None:
        """Removes old entries until the folder is within `max_bytes`, and old temporary files of killed writers."""
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
    """Returns the user's cache. Environment variables set its folder and its size.

    The folder is `ADVISOR_CACHE`; default: `transfer-advisor/features` in `XDG_CACHE_HOME` or `~/.cache`. The size is
    `ADVISOR_CACHE_BYTES`; default: `MAX_BYTES`.

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
    """Returns features from the cache, or computes and stores them. A line on stderr says which.

    Args:
        cache: The cache. With `None`, or a cache that keeps nothing, `key` is not called.
        key: Function that returns the key of the arrays. It may be slow, since it reads all images.
        num_rows: Number of images.
        compute: Function that computes the arrays, each of shape `(num_rows, ...)`.
    """
    if cache is None or cache.max_bytes == 0:
        return compute()
    name = key()
    features = f"features of {num_rows:,} image{'' if num_rows == 1 else 's'}"
    arrays = cache.load(name, num_rows=num_rows)
    if arrays is not None:
        note(f"Read {features} from the cache ({_size_of(arrays)} in {cache.folder})")
        return arrays
    arrays = compute()
    if cache.store(name, arrays):
        note(f"Kept {features} in the cache ({_size_of(arrays)} in {cache.folder})")
    return arrays


def make_key(**parts: object) -> str:
    """Returns a key of 64 hexadecimal digits. Any change to a part's name, type or value gives another key.

    Args:
        parts: `None`, booleans, numbers, strings, bytes, and tuples, lists and dictionaries of these. The order of the
            parts, and the order within dictionaries, has no effect.

    Raises:
        TypeError: If a part has any other type, such as a NumPy number.

    Example:
        >>> from strategies.features.cache import make_key
        >>> make_key(backbone="MobileNetV2", image_size=96) == make_key(image_size=96, backbone="MobileNetV2")
        True
        >>> make_key(stages=("ab", "c")) == make_key(stages=("a", "bc"))
        False
    """
    return hashlib.sha256(_encode(parts)).hexdigest()


def _encode(value: object) -> bytes:
    """Returns type, length and content as bytes. Because of the length, different values never give the same bytes."""
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
            kind, content = "str", value.encode("utf-8", "surrogatepass")  # file names may be invalid Unicode
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


def _open(path: Path) -> io.BufferedReader:
    """Opens an entry. Raises an `OSError` for what is not a regular file of this user: no link is followed."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # opening a pipe does not wait
    file: io.BufferedReader = open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags))  # noqa: SIM115
    if reason := _foreign(os.fstat(file.fileno())):
        file.close()
        raise OSError(reason)
    return file


def _foreign(status: os.stat_result) -> str:
    """Returns why a file cannot be an entry of this user; empty if it can."""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return "it belongs to another user" if hasattr(os, "getuid") and status.st_uid != os.getuid() else ""


class _HashedFile:
    """Hashes data on its way to a file, so that the file can later be checked against the data in memory."""

    def __init__(self, file: IO[bytes], key: str) -> None:
        self._file, self.digest = file, hashlib.sha256(key.encode())

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _write(path: Path, key: str, arrays: Sequence[np.ndarray]) -> None:
    """Writes a line with the format, the SHA-256 of key and arrays, and each array in `.npy` format."""
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed before it is renamed, removed if that fails)
        dir=path.parent, prefix=f"{key[:16]}-", suffix=TEMPORARY_SUFFIX, delete=False
    )
    try:
        with file:
            file.write(_MAGIC + bytes(_DIGEST_BYTES))
            hashed: Any = _HashedFile(file.file, key)
            for array in arrays:
                np.lib.format.write_array(hashed, array, allow_pickle=False)
            file.seek(len(_MAGIC))
            file.write(hashed.digest.digest())
            file.flush()
            _mark_used(file)
        os.replace(file.name, path)
    finally:
        Path(file.name).unlink(missing_ok=True)


def _read(file: Any, key: str) -> list[np.ndarray]:
    """Returns the arrays that `_write` wrote. Raises a `ValueError` for anything else."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it does not begin like an entry")
    expected = file.read(_DIGEST_BYTES)
    start = file.tell()
    if hashlib.file_digest(file, lambda: hashlib.sha256(key.encode())).digest() != expected:
        raise ValueError("its checksum is wrong")
    file.seek(start)
    arrays = []
    while file.peek(1):
        arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return arrays


def _mark_used(file: Any) -> None:
    # The clock of the file system ticks in milliseconds: the order of two entries could be lost.
    now = time.time_ns()
    with suppress(OSError):  # such as a file system that can only be read
        os.utime(file.fileno() if os.utime in os.supports_fd else file.name, ns=(now, now))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _size_of(arrays: Iterable[np.ndarray]) -> str:
    return _megabytes(sum(array.nbytes for array in arrays))
