"""The bands of an image, one or many: arrays in `.npy` files, TIFF files, and all other images by channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    EXTRASAMPLES,
    IMAGELENGTH,
    IMAGEWIDTH,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLESPERPIXEL,
    TILELENGTH,
    TILEWIDTH,
    ImageFileDirectory_v2,
)

from strategies.data.channels import RGB, Mixing, mean_mixing
from strategies.data.encoded import MAX_FILE_BYTES, Undecodable
from strategies.data.upright import TURNS, orientation, raw_values
from strategies.data.value_range import fitting_range, to_eight_bits
from strategies.files import first_bytes

# The first bytes decide the format, not the name. Pillow knows forty more formats; for some it starts other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", *(["AVIF"] if find_spec("PIL.AvifImagePlugin") else []))
# NumPy reads a header with `ast.literal_eval`, which several threads of Python 3.11 must not call at once.
_HEADERS = Lock()
NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two: BigTIFF
_ORIENTATION = 274  # a tag of TIFF, and values of others
_GRAY = (0, 1)  # photometric: white is 0, or black is
_ALPHA = (1, 2)  # extra samples that are transparency
_COMPRESSIONS = (1, 5, 8, 32946, 32773, 50000)  # none, LZW, deflate (two numbers), PackBits, Zstandard: without loss
INSTALL = "pip install 'transfer-advisor[bands]'"


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an image before its bands are read.

    Attributes:
        size: Width and height in pixels.
        count: Number of bands.
        is_array: Whether it is an array rather than a TIFF file.
        is_color: Whether the first bands are red, green and blue, or another color, by the file's own account.
        turn: How it is turned upright.
    """

    size: tuple[int, int]
    count: int
    is_array: bool = False
    is_color: bool = False
    turn: Image.Transpose | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Bands:
    """Chosen bands of an image.

    Attributes:
        values: An array of whole numbers of shape `(height, width)` for each band.
        turn: How they are turned upright.
    """

    values: Sequence[np.ndarray]
    turn: Image.Transpose | None = None

    @property
    def bits(self) -> int | None:
        """The smallest range, in bits, that holds all values; `None` if they are bytes."""
        if all(band.dtype == np.uint8 for band in self.values):
            return None
        largest = max(int(band.max()) for band in self.values)
        return fitting_range(largest) if largest < 2**16 else None

    def images(self, bits: int) -> list[Image.Image]:
        """Returns each band as an upright gray image of 8 bits.

        Args:
            bits: How many bits the values have if they are not bytes.
        """
        deep = any(band.dtype != np.uint8 for band in self.values)
        gray = [Image.fromarray(to_eight_bits(band, bits) if deep else band) for band in self.values]
        return gray if self.turn is None else [band.transpose(self.turn) for band in gray]

    def rgb(self, bits: int, mixing: Mixing = ()) -> Image.Image:
        """Returns the bands as an upright RGB image of 8 bits: three as they are, any other number mixed.

        Args:
            bits: As for `images`.
            mixing: How much of each band is red, green and blue. Default: the mean of the bands is each of them.
        """
        gray = self.images(bits)
        if len(gray) != RGB:
            levels = [np.asarray(band, dtype="float32") for band in gray]
            rows = mixing or mean_mixing(range(len(gray)))
            mixed = [np.sum([w * band for w, band in zip(row, levels, strict=True)], axis=0) for row in rows]
            gray = [Image.fromarray(np.clip(np.rint(band), 0, 255).astype("uint8")) for band in mixed]
        return Image.merge("RGB", gray)


def peek_bands(file: BinaryIO) -> Header | None:
    """Returns the header of an image whose bands are not red, green, blue or gray; `None` for all other images.

    These are arrays, and TIFF files of more than four samples per pixel, of several gray ones, or of several of 16
    bits. The file is left at its start.
    """
    start = first_bytes(file, len(NPY))
    try:
        if start == NPY:
            shape, _, _ = _npy_header(file)
            return Header(size=(shape[1], shape[0]), count=shape[2] if len(shape) == 3 else 1, is_array=True)
        return _peek_tiff(file) if start.startswith(_TIFF) else None
    finally:
        file.seek(0)


def is_array(file: BinaryIO) -> bool:
    """Returns whether a file, which is left at its start, is an array in NumPy's format."""
    return first_bytes(file, len(NPY)) == NPY


def read_bands(file: BinaryIO, channels: Sequence[int]) -> Bands:
    """Reads bands of an image.

    Args:
        file: The image. A TIFF file of gray pages has a band on each page.
        channels: Numbers of the bands, from 1. `()`: all of an array that is gray or RGB.

    Raises:
        Undecodable: If the image has no such bands, or their values are not whole numbers.
    """
    header = peek_bands(file)
    if header is not None and not channels and header.count not in (1, RGB):
        raise Undecodable(f"{header.count} bands: name those to use, such as channels=(4, 3, 2)")
    if header is not None and max(channels, default=0) > header.count:
        raise _no_band(max(channels), header.count, "bands")
    if header is None:
        return _read_with_pillow(file, channels)
    array = _read_npy(file) if header.is_array else _read_tiff(file)
    planes = array if array.ndim == 3 else array[..., np.newaxis]
    numbers = channels or range(1, header.count + 1)
    return Bands(values=[np.ascontiguousarray(planes[..., number - 1]) for number in numbers], turn=header.turn)


def _no_band(number: int, count: int, what: str) -> Undecodable:
    return Undecodable(f"{count} {what}, so none has the number {number} that channels names")


def _check_size(width: int, height: int) -> None:
    if width * height > (most := 2 * (Image.MAX_IMAGE_PIXELS or 0)):
        raise Undecodable(f"more than {most:,} pixels")


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns shape, order and type of an array, after checking that it is an image and lies in the file as a whole."""
    with _HEADERS:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
    if len(shape) not in (2, 3) or not all(shape):
        raise Undecodable(f"an array of shape {shape}; (height, width) or (height, width, bands) is read")
    _check_size(shape[1], shape[0])
    if dtype.kind not in "ui":
        raise Undecodable(f"an array of type {dtype}, whose range is unknown: save it as uint8 or uint16")
    start = file.tell()
    if file.seek(0, 2) - start < math.prod(shape) * dtype.itemsize:
        raise Undecodable("truncated: the file ends before its last pixel")
    file.seek(start)
    return shape, is_fortran, dtype


def _read_npy(file: BinaryIO) -> np.ndarray:
    shape, is_fortran, dtype = _npy_header(file)
    values = np.frombuffer(file.read(math.prod(shape) * dtype.itemsize), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C")


def tiff_tags(file: BinaryIO) -> ImageFileDirectory_v2:
    """Returns the tags of the first page of a TIFF file, which is at its start. A damaged file raises many errors."""
    start = file.read(8)
    if start[2:3] == b"+" or start[3:4] == b"+":
        start += file.read(8)
    tags = ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _peek_tiff(file: BinaryIO) -> Header | None:
    try:
        tags = tiff_tags(file)
        count, bits = int(tags.get(SAMPLESPERPIXEL, 1)), max(tags.get(BITSPERSAMPLE, (1,)))
        is_gray = tags.get(PHOTOMETRIC_INTERPRETATION) in _GRAY
        size = (int(tags[IMAGEWIDTH]), int(tags[IMAGELENGTH]))
    except Exception:  # damaged: Pillow says how
        return None
    has_alpha = count == 2 and not {*tags.get(EXTRASAMPLES, ())}.isdisjoint(_ALPHA)
    if count == 1 or has_alpha or not (is_gray or count > 4 or bits > 8):
        return None
    return Header(size=size, count=count, is_color=not is_gray, turn=TURNS.get(int(tags.get(_ORIENTATION) or 1)))


def _read_tiff(file: BinaryIO) -> np.ndarray:
    """Returns the samples of the first page of a TIFF file, of shape `(height, width, bands)`."""
    if find_spec("tifffile") is None:
        raise Undecodable(f"TIFF of several bands, for which tifffile is missing: {INSTALL}")
    tags = tiff_tags(file)
    width, height = int(tags[IMAGEWIDTH]), int(tags[IMAGELENGTH])
    _check_size(width, height)
    _check_size(int(tags.get(TILEWIDTH, 0)), int(tags.get(TILELENGTH, 0)))
    if 2 * width * height * int(tags[SAMPLESPERPIXEL]) > MAX_FILE_BYTES:
        raise Undecodable(f"more than {MAX_FILE_BYTES:,} bytes")
    if (compression := int(tags.get(COMPRESSION, 1))) not in _COMPRESSIONS:
        raise Undecodable(f"TIFF of several bands with compression {compression}; use LZW or deflate")
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        page: Any = opened.pages[0]
        if page.dtype is None or page.dtype.kind not in "ui":
            raise Undecodable(f"TIFF of type {page.dtype}, whose range is unknown: save it as uint8 or uint16")
        array: np.ndarray = page.asarray(maxworkers=1)
        return np.moveaxis(array, 0, -1) if page.axes.startswith("S") else array


def _read_with_pillow(file: BinaryIO, channels: Sequence[int]) -> Bands:
    with Image.open(file, formats=FORMATS) as image:
        turn = TURNS.get(orientation(image))
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" and len(image.getbands()) == 1 else 1
        if pages > 1:
            if max(channels) > pages:
                raise _no_band(max(channels), pages, "pages")
            planes = []
            for number in channels:
                image.seek(number - 1)
                planes.append(np.array(image))
            if len({plane.shape for plane in planes}) > 1:
                raise Undecodable("pages of different sizes")
            return Bands(values=planes, turn=turn)
        values = raw_values(image)
        values = values if values.ndim == 3 else values[..., np.newaxis]
        if max(channels) > values.shape[2]:
            raise _no_band(max(channels), values.shape[2], "channels" if values.shape[2] > 1 else "channel")
        return Bands(values=[np.ascontiguousarray(values[..., number - 1]) for number in channels], turn=turn)
