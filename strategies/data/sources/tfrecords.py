"""TFRecord files without TensorFlow: their records, with checksums verified, and the `tf.train.Example` in a record.

A record is its length (8 bytes), a checksum of the length (4), the data, and a checksum of the data (4):
https://www.tensorflow.org/tutorials/load_data/tfrecord. An Example is a protobuf message:
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache

import numpy as np

_BLOCK = 4096  # bytes that are looked up at once
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, bits reversed
_PREFIX = bytes.fromhex("54641f64")  # turns the register from 0 to 0xFFFFFFFF, where the checksum begins
_VARINT, _BYTES = 0, 2  # kinds of a protobuf field that are read; the others have a fixed size
_FIXED = {1: 8, 5: 4}


def read_records(file: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Yields where the data of each record starts, and the data.

    Raises:
        ValueError: If the file is truncated, or a checksum differs from that of the bytes.
    """
    size = file.seek(0, io.SEEK_END)
    offset = 0
    while offset < size:
        file.seek(offset)
        header = file.read(12)
        if len(header) < 12:
            raise ValueError(f"truncated after {offset:,} bytes")
        length = int.from_bytes(header[:8], "little")
        if _masked_crc32c(header[:8]) != int.from_bytes(header[8:], "little"):
            raise ValueError(f"no record at byte {offset:,}")
        if offset + 12 + length + 4 > size:
            raise ValueError(f"truncated after {offset:,} bytes")
        data, checksum = file.read(length), file.read(4)
        if _masked_crc32c(data) != int.from_bytes(checksum, "little"):
            raise ValueError(f"the record at byte {offset:,} is damaged")
        yield offset + 12, data
        offset += 12 + length + 4


def read_example(data: bytes) -> dict[str, list[slice | int]]:
    """Returns the values of each feature of a `tf.train.Example`: where the bytes are in `data`, or whole numbers.

    Features of other numbers have no values.

    Raises:
        ValueError: If it is not such a message.
    """
    values: dict[str, list[slice | int]] = {}
    for features in _fields(data, slice(0, len(data)), 1):
        for entry in _fields(data, features, 1):
            name = ""
            found: list[slice | int] = []
            for key in _fields(data, entry, 1):
                name = data[key].decode("utf-8")
            for feature in _fields(data, entry, 2):
                for strings in _fields(data, feature, 1):
                    found += _fields(data, strings, 1)
                for numbers in _fields(data, feature, 3):
                    found += _whole_numbers(data, numbers)
            values[name] = found
    return values


def _fields(data: bytes, part: slice, number: int) -> list[slice]:
    """Returns where the values of the field `number` are, in the message at `part`."""
    return [value for key, value in _message(data, part) if key == number and isinstance(value, slice)]


def _message(data: bytes, part: slice) -> Iterator[tuple[int, slice | int]]:
    """Yields number and value of each field of the message at `part`."""
    position = part.start
    while position < part.stop:
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError("not a tf.train.Example")
        if position + size > part.stop:
            raise ValueError("not a tf.train.Example")
        yield key >> 3, slice(position, position + size)
        position += size


def _whole_numbers(data: bytes, part: slice) -> Iterator[int]:
    """Yields the 64-bit integers of the list at `part`: packed, as they are written today, or one by one."""
    for _, value in _message(data, part):
        for number in [value] if isinstance(value, int) else _packed(data, value):
            yield number - 2**64 if number >= 2**63 else number


def _packed(data: bytes, part: slice) -> Iterator[int]:
    position = part.start
    while position < part.stop:
        number, position = _varint(data, position)
        yield number


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Returns the number that is written from `position` on, seven bits a byte, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("not a tf.train.Example")


def _masked_crc32c(data: bytes) -> int:
    """Returns the checksum as TFRecord files have it: CRC-32C, rotated, and a constant added.

    The register is linear in the bytes, so each byte is looked up with its distance from the end of its block.
    """
    table = _crc_table()
    padded = bytes(-(len(_PREFIX) + len(data)) % _BLOCK) + _PREFIX + data  # zeros before a register of 0 change nothing
    blocks = np.frombuffer(padded, np.uint8).reshape(-1, _BLOCK)
    register = 0
    for block in blocks:
        of_block = int(np.bitwise_xor.reduce(table[_DISTANCE, block]))
        for byte in range(4):
            of_block ^= int(table[_BLOCK - 1 - byte, (register >> 8 * byte) & 255])
        register = of_block
    crc = register ^ 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


_DISTANCE = np.arange(_BLOCK - 1, -1, -1)


@cache
def _crc_table() -> np.ndarray:
    """Returns what a byte makes of a register of 0, by the number of zero bytes behind it and the byte."""
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, row >> 1 ^ np.uint32(_POLYNOMIAL), row >> 1)
    table = np.empty((_BLOCK, 256), np.uint32)
    for zeros in range(_BLOCK):
        table[zeros] = row if zeros == 0 else table[0][table[zeros - 1] & 255] ^ table[zeros - 1] >> 8
    return table
