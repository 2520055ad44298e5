"""Class folders in zip or tar archives. Images are read directly from the archive, without unpacking it to a folder."""

from __future__ import annotations

import errno
import gzip
import stat
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from strategies.data.dataset import ImageDataset
from strategies.data.encoded import Encoded
from strategies.data.sources.folders import Listing, by_folder, folders_of, without_wrapping
from strategies.data.sources.paths import ends_in, existing_file
from strategies.errors import DatasetError, UserError, in_a_sentence
from strategies.files import open_regular

ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz")
_CHUNK = 2**20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT)  # the last one if no folder has space


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on the content of an archive: a small malicious archive could otherwise fill the disk.

    Attributes:
        files: Largest number of members.
        bytes: Largest size of all members together when unpacked.
        ratio: Largest ratio of unpacked to packed size, for archives of more than `free_bytes` when unpacked.
        free_bytes: Unpacked size up to which the ratio is not checked.
    """

    files: int = 2_000_000
    bytes: int = 256 * 2**30
    ratio: int = 100
    free_bytes: int = 256 * 2**20

    def check(self, source: str, files: int, unpacked: int, packed: int) -> None:
        """Raises a `DatasetError` if a limit is exceeded."""
        most = min(self.bytes, max(self.free_bytes, self.ratio * packed))
        for kind, number, limit in (("files", files, self.files), ("bytes when unpacked", unpacked, most)):
            if number > limit:
                raise DatasetError(
                    f"Expected an archive of at most {limit:,} {kind}. Received: {source!r} with {number:,} or more. "
                    f"If you trust it, unpack it yourself and give the folder."
                )


LIMITS = Limits()


@dataclass(frozen=True)
class Member:
    """A file or a folder of an archive; `item` is `None` for a folder."""

    name: str
    size: int
    item: Encoded | None


def is_archive(source: Any) -> bool:
    """Returns whether `source` is a path with the suffix of an archive."""
    return ends_in(source, *ZIP, *TAR)


def read_archive(source: Any) -> ImageDataset:
    """Reads a class folder in an archive, with or without train, val and test folders.

    If one folder contains everything else, it is left out of the names.

    Raises:
        DatasetError: If the archive is damaged, exceeds `LIMITS`, or holds links, devices or names that lead out of it.
    """
    path = existing_file(source, "an archive")
    members = list_zip(path, str(source)) if ends_in(source, *ZIP) else list_tar(path, str(source))
    listing = Listing()
    for member in members:
        if member.item is None:
            listing.folders.append(member.name)
        else:
            listing.add(member.name, member.item)
    files = [member.name for member in members if member.item is not None]
    listing.folders = sorted({*listing.folders, *folders_of([*listing.folders, *files])})
    return by_folder(without_wrapping(listing), str(source))


def list_zip(path: Path, source: str) -> list[Member]:
    """Lists the members of a zip file. It stays open; a member is unpacked into memory when it is read."""
    with _naming_damage(source):
        file = open_regular(path)
        check_zip(file, source)
        archive = zipfile.ZipFile(file)
        members: list[Member] = []
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(source, info.filename, "a link or a special file")
            item = None if info.is_dir() else Encoded(f"{source}: {info.filename}", partial(archive.read, info))
            members.append(Member(_safe_name(info.filename, source), info.file_size, item))
    return _sorted(members)


def check_zip(file: BinaryIO, source: str) -> None:
    """Raises a `DatasetError` if a zip file exceeds `LIMITS`; no member yields more bytes than the file states."""
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
    LIMITS.check(source, len(infos), sum(info.file_size for info in infos), file.seek(0, 2))
    file.seek(0)


def list_tar(path: Path, source: str) -> list[Member]:
    """Lists the members of a tar file, which stays open. A compressed one is first unpacked to a temporary file."""
    with _naming_damage(source):
        packed_file = open_regular(path)
        file = packed_file if ends_in(path, ".tar") else _unpacked(packed_file, source)
        members: list[Member] = []
        lock, total = threading.Lock(), 0
        packed = file.seek(0, 2)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                total += info.size
                LIMITS.check(source, len(members) + 1, total, packed)
                if not (info.isdir() or info.isreg()) or info.issparse():
                    raise _refused(source, info.name, "a link or a special file")
                read = partial(read_part, file, lock, info.offset_data, info.size)
                item = None if info.isdir() else Encoded(f"{source}: {info.name}", read)
                members.append(Member(_safe_name(info.name, source), info.size, item))
    return _sorted(members)


def read_part(file: BinaryIO, lock: threading.Lock, offset: int, size: int) -> bytes:
    """Returns `size` bytes of an open file that several threads share, from `offset` on."""
    with lock:
        file.seek(offset)
        return file.read(size)


def _unpacked(file: BinaryIO, source: str) -> Any:
    packed, size = file.seek(0, 2), 0
    file.seek(0)
    unpacked: Any = tempfile.TemporaryFile()  # noqa: SIM115 (stays open while its images are in use)
    with file, gzip.open(file) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            LIMITS.check(source, 1, size, packed)
            unpacked.write(chunk)
    return unpacked


def _safe_name(name: str, source: str) -> str:
    """Returns the name of a member without `./` and without a final `/`."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in (parts or ("",))[0]:
        raise _refused(source, name, "a name that leads out of the archive")
    return "/".join(parts).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _refused(source: str, name: str, what: str) -> DatasetError:
    return DatasetError(
        f"Expected an archive of files and folders. Received: {source!r} with {what}, {name!r}. Create it without that."
    )


def _sorted(members: Iterable[Member]) -> list[Member]:
    return sorted((member for member in members if member.name), key=lambda member: member.name.split("/"))


@contextmanager
def _naming_damage(source: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise _damaged(source, error) from error
        raise DatasetError(
            f"Expected space for a temporary file, to which a compressed archive is unpacked. Received: {source!r} "
            f"({in_a_sentence(error)}). Free some space, or set TMPDIR to another folder."
        ) from error
    except Exception as error:  # zipfile, tarfile and gzip raise a dozen kinds on damaged files
        raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"Expected a zip, tar or tar.gz archive. Received: {source!r} ({in_a_sentence(error)}). Create it again."
    )
