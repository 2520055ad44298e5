"""The encoded bytes of an image: a regular file, or a part of something larger, read when they are asked for."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MAX_FILE_BYTES = 2 * 2**30  # the most pixels that are decoded fill less, even unpacked and with 16 bits
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image, encoded as JPEG, PNG and so on, that is no file of its own: it lies in an archive, a shard, a bucket.

    Attributes:
        name: What an error calls it.
        read: Returns the bytes; called anew each time, from several threads.

    Example:
        >>> from strategies.encoded import Encoded, open_encoded
        >>> with open_encoded(Encoded("photos.zip: cat/1.png", lambda: b"some bytes")) as file:
        ...     file.read(4)
        b'some'
    """

    name: str
    read: Callable[[], bytes] = field(repr=False)


def open_encoded(item: Path | str | Encoded) -> io.BytesIO | io.BufferedReader:
    """Returns the bytes of an item of `ImageDataset.items` as an open file, whatever it lies in.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, or a larger one than any image needs.
    """
    return io.BytesIO(item.read()) if isinstance(item, Encoded) else open_regular(item, MAX_FILE_BYTES)


def open_regular(path: Path | str, max_bytes: int | None = None) -> io.BufferedReader:
    """Opens a regular file for reading, and nothing else: a pipe would wait for ever, a device might do anything.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is something else, or larger than `max_bytes`.
    """
    _check_regular(os.stat(path))
    # Between the two looks it may have been replaced; opened like this, even a pipe does not wait.
    file: io.BufferedReader = open(  # noqa: SIM115 (returned)
        path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    )
    try:
        status = os.fstat(file.fileno())
        _check_regular(status)
        if max_bytes is not None and status.st_size > max_bytes:
            raise ValueError(f"{status.st_size:,} bytes, more than the {max_bytes:,} that are read")
    except BaseException:
        file.close()
        raise
    return file


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not a file")
