"""The encoded bytes of an image, read on demand: of a regular file, or of a part of something larger."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import UnidentifiedImageError

from strategies.errors import DatasetError, in_a_sentence
from strategies.files import open_regular

MAX_FILE_BYTES = 2 * 2**30  # the most pixels that are decoded fill less, even unpacked and with 16 bits


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image, encoded as JPEG, PNG and so on, that is no file of its own: it lies in an archive, a shard, a bucket.

    Attributes:
        name: What an error calls it.
        read: Returns the bytes; called anew each time, from several threads.

    Example:
        >>> from strategies.data.encoded import Encoded, open_encoded
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


class UnreadableImage(DatasetError):  # noqa: N818
    """A file that cannot be decoded; `path` and `reason` say which and why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(
            f"Expected an image that can be decoded. Received: {str(path)!r} ({reason}). Mend or remove the file."
        )
        self.path, self.reason = str(path), reason


@contextmanager
def readable(item: Path | str | Encoded) -> Iterator[None]:
    """Whatever goes wrong inside of the block becomes an `UnreadableImage` with the path and the reason."""
    path = item.name if isinstance(item, Encoded) else item
    try:
        yield
    except UnidentifiedImageError:
        raise UnreadableImage(path, "not a JPEG, PNG, BMP, GIF, WebP or TIFF image") from None
    except Exception as error:  # Pillow's readers raise a dozen kinds on broken files
        raise UnreadableImage(path, in_a_sentence(error)) from error
