"""What a file is that is not an image of a format that is read, and what to do about it."""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLESPERPIXEL

from strategies.data.bands import tiff_tags

HEAD = 1024  # bytes that tell what a file is
_CONVERT = "which is not read: convert it to JPEG or PNG"
_AGAIN = "not an image: download it again"
_PROLOG = rb"(?i)(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*"
# The first row whose pattern matches the first bytes of a file decides.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"\Z", "an empty file"),
    (rb"\0{512}\0*\Z", "a file of zeros, as an interrupted download leaves: download it again"),
    (rb"version https://git-lfs", "a Git LFS pointer: run git lfs pull"),
    (rb".{4}ftyp(hei|hev|mif1|msf1)", f"HEIC, {_CONVERT}"),
    (rb".{4}ftypavi", f"AVIF, {_CONVERT}, or install a newer Pillow"),
    (rb".{4}ftypcrx ", f"a raw photo of a camera, {_CONVERT}"),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01\xba|FLV", "a video: save its frames as JPEG or PNG"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", f"JPEG XL, {_CONVERT}"),
    (rb"\0\0\0\x0cjP  |\xffO\xffQ", f"JPEG 2000, {_CONVERT}"),
    (rb"%PDF", f"PDF, {_CONVERT}"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", f"PostScript, {_CONVERT}"),
    (rb"8BPS", f"a Photoshop file, {_CONVERT}"),
    (rb"P[1-7]\s", f"PNM, {_CONVERT}"),
    (rb"\0\0[\x01\x02]\0", f"an icon, a cursor or TGA, {_CONVERT}"),
    (rb"v/1\x01", f"OpenEXR, {_CONVERT}"),
    (rb"#\?RAD", f"Radiance HDR, {_CONVERT}"),
    (rb"SIMPLE  =", f"FITS, {_CONVERT}"),
    (rb"\x89HDF|CDF", f"HDF5 or netCDF, {_CONVERT}"),
    (rb"\x93NUMPY", "a NumPy array: pass it as (x, y), or save the images as PNG"),
    (rb"FUJIFILM|IIRO|IIU|II\x1a\0", f"a raw photo of a camera, {_CONVERT}"),
    (rb"PK\x03\x04|\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ|\x28\xb5\x2f\xfd", "an archive or compressed: unpack it"),
    (rb"\0\x05\x16[\0\x07]", "file attributes of macOS, not an image: delete it"),
    (_PROLOG + rb"<(!doctype svg|svg)", f"SVG, {_CONVERT}"),
    (_PROLOG + rb"<(!doctype html|html|head|body)", f"a web page, {_AGAIN}"),
    (rb"[\t-\r -~\x80-\xff]+\Z", f"text, {_AGAIN}"),
)
_KNOWN = tuple((re.compile(pattern, re.DOTALL), reason) for pattern, reason in _SIGNATURES)
_FORMATS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"RIFF", "WebP"),
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def why_not_an_image(file: BinaryIO) -> str:
    """Returns why an open file cannot be identified as an image, in words for the user.

    Example:
        >>> import io
        >>> from strategies.data.signatures import why_not_an_image
        >>> why_not_an_image(io.BytesIO(b"version https://git-lfs.github.com/spec/v1"))
        'a Git LFS pointer: run git lfs pull'
    """
    file.seek(0)
    head = file.read(HEAD)
    if head.startswith(_TIFF):
        return _why_not_a_tiff(file)
    for start, name in _FORMATS:
        if head.startswith(start):
            return f"{name} whose header is damaged or cut off"
    reasons = (reason for pattern, reason in _KNOWN if pattern.match(head))
    return next(reasons, "not a JPEG, PNG, BMP, GIF, WebP, AVIF or TIFF image")


def _why_not_a_tiff(file: BinaryIO) -> str:
    file.seek(0)
    try:
        tags = tiff_tags(file)
        channels, bits = tags.get(SAMPLESPERPIXEL, 1), tags.get(BITSPERSAMPLE, (1,))
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return "TIFF whose header is damaged or cut off"
    if channels not in (1, 3, 4):
        return f"{channels} bands: name those to use, such as channels=(4, 3, 2)"
    return f"TIFF of a kind that is not read (channels: {channels}, bits: {'/'.join(map(str, bits))}): save it as PNG"
