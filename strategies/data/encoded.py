"""The encoded bytes of an image, read on demand from a file or from a part of something larger, such as an archive."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from strategies.data.dicom import as_png, is_dicom
from strategies.errors import DatasetError, in_a_sentence
from strategies.files import open_regular

SQUEEZE = "squeeze"  # how images are resized unless they say otherwise; see `strategies.data.resizing`
MAX_FILE_BYTES = 2 * 2**30  # more than the largest image that is decoded, even uncompressed and with 16 bits


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded image (JPEG, PNG, ...) that is more than a file: part of an archive, or to be decoded in its own way.

    Attributes:
        name: Its name in error messages.
        read: Returns the bytes. It is called each time they are needed, from several threads, and on a cluster by
            other processes: see `Local`.
        bits: How many bits the values have if the image is of 16 bits; see `strategies.data.value_range`.
        resize: How it becomes a square; see `strategies.data.resizing`.
        channels: Numbers of the bands that are used, from 1; `()` for red, green and blue. See
            `strategies.data.channels`.
        mixing: How much of each of these bands is red, green and blue for all that takes RGB; `()` is their mean. Three
            bands are red, green and blue.

    Example:
        >>> from strategies.data.encoded import Encoded, open_encoded
        >>> with open_encoded(Encoded("photos.zip: cat/1.png", lambda: b"some bytes")) as file:
        ...     file.read(4)
        b'some'
    """

    name: str
    read: Callable[[], bytes] = field(repr=False)
    bits: int = 16
    resize: str = SQUEEZE
    channels: tuple[int, ...] = ()
    mixing: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Local:
    """A way to read bytes that only this process has. Sent to another process, it takes the bytes along.

    Attributes:
        read: Returns the bytes.
    """

    read: Callable[[], bytes]

    def __call__(self) -> bytes:
        """Returns the bytes."""
        return self.read()

    def __reduce__(self) -> tuple[type[partial[bytes]], tuple[object, object]]:
        try:
            return partial, (bytes, self.read())
        except Exception as error:  # the process that needs the bytes reports it
            return partial, (_refuse, in_a_sentence(error))


def _refuse(reason: str) -> bytes:
    raise OSError(reason)


def open_encoded(item: Path | str | Encoded) -> io.BytesIO | io.BufferedReader:
    """Opens the encoded bytes of an item of `ImageDataset.items`. A DICOM image is encoded again, as PNG.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not a regular file, is larger than `MAX_FILE_BYTES`, or is DICOM that cannot be read.
    """
    file = io.BytesIO(item.read()) if isinstance(item, Encoded) else open_regular(item, MAX_FILE_BYTES)
    if not is_dicom(file):
        return file
    with file:
        return io.BytesIO(as_png(file))


def read_encoded(item: Path | str | Encoded) -> bytes:
    """Returns the encoded bytes of an item of `ImageDataset.items`; errors are those of `open_encoded`."""
    with open_encoded(item) as file:
        return file.read()


def as_encoded(item: Path | str | Encoded) -> Encoded:
    """Returns a file as an encoded image, to say how it is decoded."""
    return item if isinstance(item, Encoded) else Encoded(str(item), partial(read_encoded, Path(item)))


class Undecodable(ValueError):  # noqa: N818
    """The bytes of an image cannot be decoded; the message is the reason, in words for the user."""


class UnreadableImage(DatasetError):  # noqa: N818
    """An image cannot be decoded; `path` and `reason` say which image and why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(
            f"Expected an image that can be decoded. Received: {str(path)!r} ({reason}). Fix or remove the file."
        )
        self.path, self.reason = str(path), reason

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        return UnreadableImage, (self.path, self.reason)


@contextmanager
def readable(item: Path | str | Encoded) -> Iterator[None]:
    """Turns every exception inside the block into an `UnreadableImage` with the path and the reason."""
    try:
        yield
    except Exception as error:  # storage raises many kinds
        raise UnreadableImage(item.name if isinstance(item, Encoded) else item, in_a_sentence(error)) from error
