"""Images in memory as files without loss, for what is read like a file."""

from __future__ import annotations

import io

from PIL import Image


def encode_png(image: Image.Image) -> bytes:
    """Returns an image as the bytes of a PNG file.

    Example:
        >>> from PIL import Image
        >>> from strategies.data.png import encode_png
        >>> encode_png(Image.new("L", (2, 2)))[:4]
        b'\\x89PNG'
    """
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()
