"""Class folders in zip or tar archives. Images are read directly from the archive, without unpacking it to a folder."""

from __future__ import annotations

import bz2
import errno
import gzip
import os
import stat
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from strategies.data.dataset import ImageDataset
from strategies.data.encoded import MAX_FILE_BYTES, Encoded, Local
from strategies.data.sources.folders import Listing, by_folder, folders_of
from strategies.data.sources.paths import ends_in, existing_file
from strategies.errors import DatasetError, UserError, in_a_sentence
from strategies.files import open_regular

ZIP = (".zip",)
UNPACK = {".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.bz2": bz2.open, ".tbz2": bz2.open}
TAR = (".tar", *UNPACK)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack all at once, however much it is
_CHUNK = 2**20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT)  # the last one if no folder has space
_SLACK = 2**12  # what does not compress is a little larger when it is packed


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
    """Reads a class folder in an archive, with or without train, val and test folders; see `by_folder`.

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
    return by_folder(listing, str(source))


def list_zip(path: Path, source: str) -> list[Member]:
    """Lists the members of a zip file. It stays open; a member is unpacked into memory when it is read."""
    with _naming_damage(source):
        file = open_regular(path)
        check_zip(file, source)
        archive = OpenZip(file)
        members: list[Member] = []
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(source, info.filename, "a link or a special file")
            name = _safe_name(info.filename, source)
            is_folder = info.filename.endswith(("/", "\\"))
            item = None if is_folder else Encoded(f"{source}: {name}", partial(_read_member, archive, info))
            members.append(Member(name, info.file_size, item))
    return _sorted(members)


def check_zip(file: BinaryIO, source: str) -> None:
    """Raises a `DatasetError` if a zip file is not whole, exceeds `LIMITS`, or is packed in a way that has no limits.

    Stored and deflated members yield no more bytes than the file states. Others, and encrypted ones, are refused.
    """
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
    file.seek(max(0, file.seek(0, 2) - 2**16 - 22))  # the last record has 22 bytes and a comment of up to 2**16
    last = file.read()
    stated = int.from_bytes(last[last.rindex(b"PK\5\6") :][10:12], "little")
    if stated not in (len(infos) & 0xFFFF, 0xFFFF):  # it has 16 bits; all of them set means: more than that
        raise ValueError(f"{len(infos):,} files in its list, which should be {stated:,}")
    LIMITS.check(source, len(infos), sum(info.file_size for info in infos), file.seek(0, 2))
    file.seek(0)
    for info in infos:
        what = "encrypted" if info.flag_bits & 1 else "packed by another method"
        if info.flag_bits & 1 or info.compress_type not in _METHODS:
            raise DatasetError(
                f"Expected a zip archive of stored or deflated files. Received: {source!r} with {info.filename!r}, "
                f"{what}. Unpack it yourself and give the folder."
            )


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Returns the content of a member, without unpacking more than its stated size. Its checksum is verified."""
    if info.file_size > MAX_FILE_BYTES:
        raise ValueError(f"{info.file_size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}")
    with archive.open(info) as file:
        content = file.read(info.file_size + _SLACK)
    if len(content) != info.file_size:
        raise ValueError(f"{len(content):,} bytes instead of {info.file_size:,}")
    return content


def list_tar(path: Path, source: str) -> list[Member]:
    """Lists the members of a tar file, which stays open. A compressed one is first unpacked to a temporary file.

    Nothing but zeros may follow the last member: `tarfile` takes most kinds of damage as the end of the archive.
    """
    with _naming_damage(source):
        packed_file = open_regular(path)
        is_packed = not ends_in(path, ".tar")
        file = _unpacked(packed_file, path, source) if is_packed else packed_file
        members: list[Member] = []
        shared, total, end = OpenFile(file), 0, 0
        packed = file.seek(0, 2)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while info := _next(archive, end, len(members)):
                end = archive.offset
                total += info.size
                LIMITS.check(source, len(members) + 1, total, packed)
                if not (info.isdir() or info.isreg()) or info.issparse():
                    raise _refused(source, info.name, "a link or a special file")
                read = partial(shared.read, info.offset_data, info.size)
                # No other process has the temporary file that a packed one is unpacked to.
                item = Encoded(f"{source}: {info.name}", Local(read) if is_packed else read)
                name = _safe_name(info.name, source)
                members.append(Member(name, info.size, None if info.isdir() else item))
        _check_end(file, end, len(members))
    return _sorted(members)


def _next(archive: tarfile.TarFile, end: int, count: int) -> tarfile.TarInfo | None:
    """Returns the next member of a tar file, which must begin where the one before it ends, at byte `end`."""
    try:
        info = archive.next()
        if info is not None and (info.size < 0 or archive.offset <= end or not _same_size(archive, info)):
            raise tarfile.ReadError("damaged")
    except tarfile.TarError as error:
        raise ValueError(f"{in_a_sentence(error)} from byte {end:,} on, after {count:,} members") from error
    return info


def _same_size(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bool:
    """Returns whether the size in a record before a header, which has no checksum, is that of the header, if it fits.

    A larger size would hide the members behind.
    """
    if "size" not in info.pax_headers or info.size >= 8**11:
        return True
    file: Any = archive.fileobj
    place = file.tell()
    file.seek(info.offset_data - tarfile.BLOCKSIZE)
    header = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), tarfile.ENCODING, "surrogateescape")
    file.seek(place)
    return header.size == info.size


def _check_end(file: BinaryIO, end: int, count: int) -> None:
    """Raises a `ValueError` if a tar file does not end with a block of zeros, or more of them, at byte `end`."""
    file.seek(end)
    part = first = file.read(tarfile.BLOCKSIZE)
    while not part.strip(b"\0") and (more := file.read(_CHUNK)):
        part = more
    if part.strip(b"\0") or len(first) < tarfile.BLOCKSIZE:
        what = "damaged" if first.strip(b"\0") or len(first) == tarfile.BLOCKSIZE else "cut off"
        raise ValueError(f"{what} at byte {end:,}, after {count:,} members")


class OpenFile:
    """An open file that threads share. Another process that gets it opens the file itself.

    Args:
        file: The file, open for reading.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lock = file, threading.Lock()

    def read(self, offset: int, size: int) -> bytes:
        """Returns `size` bytes from `offset` on."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _open_file, (os.path.abspath(self._file.name),)


class OpenZip(zipfile.ZipFile):
    """An open zip file. Another process that gets it opens the file itself."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _open_zip, (os.path.abspath(str(self.filename)),)


@lru_cache(maxsize=8)  # a worker of a cluster gets many parts of the same files
def _open_file(path: str) -> OpenFile:
    return OpenFile(open_regular(path))


@lru_cache(maxsize=1)
def _open_zip(path: str) -> OpenZip:
    return OpenZip(open_regular(path))


def _unpacked(file: BinaryIO, path: Path, source: str) -> Any:
    unpack: Any = next(opener for suffix, opener in UNPACK.items() if ends_in(path, suffix))
    packed, size = file.seek(0, 2), 0
    file.seek(0)
    unpacked: Any = tempfile.TemporaryFile()  # noqa: SIM115 (stays open while its images are in use)
    with file, unpack(file) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            LIMITS.check(source, 1, size, packed)
            unpacked.write(chunk)
    return unpacked


def _safe_name(name: str, source: str) -> str:
    """Returns the name of a member without `./` and a final `/`. Windows writes some names with backslashes."""
    path = name.replace("\\", "/")
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or ":" in (parts or ("",))[0]:
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
        f"Expected a whole zip, tar, tar.gz or tar.bz2 archive. Received: {source!r} ({in_a_sentence(error)}). "
        f"Create it again."
    )
