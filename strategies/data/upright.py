"""An opened image as upright RGB of 8 bits on white. Damaged metadata and 16-bit values are dealt with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from strategies.data.encoded import Undecodable
from strategies.data.value_range import FULL_RANGE, fitting_range, to_eight_bits

STRIP_PIXELS = 2**22  # an image is converted in strips of this size, so that no third copy of it is in memory

_ORIENTATION = 0x0112  # in EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Of 16-bit color, Pillow reads the high bytes. With the other byte order, or as four channels of a byte, it reads the
# low ones. Raw mode of the high bytes -> raw mode, and channels of it that are the low bytes of red, green and blue.
_SWAPPED = "B" if sys.byteorder == "little" else "L"
_LOW_BYTES = {"LA;16B": ("RGBA", [1, 1, 1])} | {
    f"{channels};16{order}": (f"{channels};16{other}", [0, 1, 2])
    for channels in ("RGB", "RGBA", "RGBX")
    for order, other in (("L", "B"), ("B", "L"), ("N", _SWAPPED))
}


@dataclass(frozen=True, kw_only=True)
class Upright:
    """An image as upright RGB on white, and what its file is like.

    Attributes:
        image: RGB of 8 bits.
        bits: The smallest range, in bits, that holds its values; `None` if the file has 8 bits.
        fourth_channel: Whether a fourth channel is partly transparent in most pixels, or not marked as transparency.
    """

    image: Image.Image
    bits: int | None
    fourth_channel: bool


def upright(image: Image.Image, bits: int) -> Upright:
    """Loads an opened image and returns it as upright RGB on white.

    Args:
        image: The image. Its file stays open.
        bits: How many bits the values have if the file has 16.

    Raises:
        Undecodable: If the values are beyond the range, or the range is unknown.
    """
    file: Any = getattr(image, "fp", None)
    raw_mode = _raw_mode(image)
    deep = is_deep(image)
    image.load()
    turn, needed = TURNS.get(orientation(image)), None
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        image = Image.fromarray(to_eight_bits(values, bits))
        needed = fitting_range(int(values.max()))
    elif deep:
        extrema: Any = image.getextrema()
        needed = fitting_range(256 * max(high for _, high in extrema[:3]) + 255)
        if bits < FULL_RANGE:
            _scale_color(image, _low_bytes(file, image.format, raw_mode), bits)
    fourth_channel = raw_mode.startswith("RGBX") or _is_translucent(image)
    image = _on_white(image)
    if turn is not None:
        image = image.transpose(turn)
    return Upright(image=image, bits=needed, fourth_channel=fourth_channel)


def raw_values(image: Image.Image) -> np.ndarray:
    """Loads an opened image and returns its values as its file has them, neither upright nor on white.

    Returns:
        Whole numbers of 8 or 16 bits, of shape `(height, width)` if gray, else `(height, width, channels)`. Of color of
        16 bits, transparency is left out.
    """
    file: Any = getattr(image, "fp", None)
    raw_mode, deep = _raw_mode(image), is_deep(image)
    image.load()
    if image.mode.startswith(("I", "F")):
        return np.asarray(image)
    if not deep:
        return np.asarray(image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB"))
    high, low = np.asarray(image)[..., :3], np.asarray(_low_bytes(file, image.format, raw_mode))[..., :3]
    return high.astype("uint16") << 8 | low


def is_deep(image: Image.Image) -> bool:
    """Returns whether an opened image has 16 bits or more."""
    return image.mode.startswith(("I", "F")) or (image.format in ("PNG", "TIFF") and ";16" in _raw_mode(image))


def _raw_mode(image: Image.Image) -> str:
    """Returns how the pixels lie in the file of an opened image, in Pillow's words; `""` if that is not known."""
    tiles: Any = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def orientation(image: Image.Image) -> Any:
    """Returns the number in the metadata of an image that `TURNS` has a turn for; `None` if there is none."""
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata; the pixels are whole
        return None


def _low_bytes(file: BinaryIO, kind: str | None, raw_mode: str) -> Image.Image:
    """Reads the low bytes of 16-bit color."""
    if raw_mode not in _LOW_BYTES:
        raise Undecodable(f"16-bit color of a kind ({raw_mode}) that is read only with its full range: save it as PNG")
    swapped, channels = _LOW_BYTES[raw_mode]
    with Image.open(file, formats=[str(kind)]) as image:
        image.tile = [_with_raw_mode(tile, swapped) for tile in image.tile]
        image.load()
        return image if channels == [0, 1, 2] else Image.merge("RGB", [image.getchannel(index) for index in channels])


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    arguments = (raw_mode, *tile[3][1:]) if isinstance(tile[3], tuple) else raw_mode
    make = getattr(type(tile), "_make", tuple)  # a plain tuple in older releases of Pillow
    return make((*tile[:3], arguments))


def _strips(image: Image.Image) -> list[tuple[int, int, int, int]]:
    rows = max(1, STRIP_PIXELS // image.width)
    return [(0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows)]


def _scale_color(high: Image.Image, low: Image.Image, bits: int) -> None:
    """Scales 16-bit color to 8 bits, in place. Transparency keeps its high bytes."""
    for box in _strips(high):
        strip = np.array(high.crop(box))
        values = strip[..., :3].astype("uint16") << 8 | np.asarray(low.crop(box))[..., :3]
        strip[..., :3] = to_eight_bits(values, bits)
        high.paste(Image.fromarray(strip), box[:2])


def _is_translucent(image: Image.Image) -> bool:
    """Returns whether most pixels are partly transparent."""
    if image.mode != "RGBA":
        return False
    counts = image.getchannel("A").histogram()
    return 2 * sum(counts[1:255]) > sum(counts)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    shown = Image.new("RGB", image.size)
    for box in _strips(image):
        strip = image.crop(box).convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        shown.paste(strip.convert("RGB"), box[:2])
    return shown
