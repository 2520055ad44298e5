"""Images whose pixels are whole although something around them is damaged: metadata, or the mark of the end."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

_PNG, _JPEG, _END = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd9"
_NEEDED_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND")  # eXIf tells which side is up
_START_OF_SCAN = 0xDA
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}  # with the byte order
# Size, bits, compression, colors, strips, orientation, planes, predictor, palette, tiles, inks, extra channels, sample
# format, and what JPEG and YCbCr need.
_NEEDED_TAGS = {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325}
_NEEDED_TAGS |= {332, 338, 339, 347, 529, 530, 531, 532}
_CONTINUATIONS = (b"", b"\xaa" * 64)  # of a JPEG that may be incomplete


def repaired(file: BinaryIO, decode: Callable[[bytes], bytes]) -> bytes | None:
    """Returns an image that could not be decoded, without the parts that its pixels do not need.

    Args:
        file: The open file.
        decode: Returns all pixels of a file, as bytes.

    Returns:
        The other file; `None` if its format is not PNG, JPEG or TIFF, or if the pixels of a JPEG are incomplete.

    Raises:
        Exception: Whatever `decode` raises.
    """
    file.seek(0)
    head = file.read(len(_PNG))
    if head == _PNG:
        return _PNG + b"".join(_chunks(head + file.read()))
    if head.startswith(_JPEG):
        segments = _segments(head + file.read())
        bare = _JPEG + b"".join(segment for kind, segment in segments if _is_needed(kind, segment))
        # Where the pixels are complete, it does not matter what follows them.
        ends = [bare.rstrip(b"\xff") + continuation + _END for continuation in _CONTINUATIONS]
        pixels = {hashlib.sha256(decode(whole)).digest() for whole in ends}
        return ends[0] if len(pixels) == 1 else None
    if head[:4] in _TIFF:
        return _bare_tiff(head + file.read(), _TIFF[head[:4]])
    return None


def _chunks(content: bytes) -> Iterator[bytes]:
    """Yields the chunks of a PNG that its pixels need. Where the checksum of the last one is cut off, adds it."""
    start = len(_PNG)
    while start + 8 <= len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4])
        kind, data, checksum = content[start + 4 : start + 8], content[start + 8 : end], content[end : end + 4]
        expected = zlib.crc32(kind + data).to_bytes(4)
        if len(checksum) < 4:
            checksum = expected
        if kind in _NEEDED_CHUNKS and (kind != b"eXIf" or checksum == expected):
            yield len(data).to_bytes(4) + kind + data + checksum
        start = end + 4


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the kind and the bytes of every segment of a JPEG; the last one holds all that follows the header."""
    start = len(_JPEG)
    while start + 4 <= len(content) and content[start] == 0xFF:
        kind = content[start + 1]
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4])
        if kind == _START_OF_SCAN:
            break
        if kind == 0xFF:  # a filler
            end = start + 1
        else:
            yield kind, content[start:end]
        start = end
    yield _START_OF_SCAN, content[start:]


def _is_needed(kind: int, segment: bytes) -> bool:
    if kind == 0xE1:
        return segment[4:10] == b"Exif\0\0"  # tells which side is up
    is_metadata = 0xE2 <= kind <= 0xEF or kind == 0xFE
    return not is_metadata or kind == 0xEE  # Adobe's segment tells the color space


def _bare_tiff(content: bytes, order: str) -> bytes:
    """Returns a TIFF with a directory of the tags that its pixels need."""
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    entries = [content[place : place + 12] for place in range(start + 2, start + 2 + 12 * count, 12)]
    kept = [entry for entry in entries if struct.unpack_from(f"{order}H", entry)[0] in _NEEDED_TAGS]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return content[:4] + struct.pack(f"{order}I", len(content)) + content[8:] + directory
