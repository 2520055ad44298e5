"""Reads an image as `advisor predict` does: upright, on white, the whole of it resized to a square."""

import numpy as np
from PIL import Image, ImageOps


def read_pixels(file, size):
    """Returns RGB pixels 0-255 as float32 of shape `(1, size, size, 3)`. A file that is no image is a ValueError."""
    try:
        with Image.open(file, formats=["JPEG", "PNG", "WEBP"]) as image:
            image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded at a smaller scale, which is faster
            if image.mode.startswith("I"):
                raise ValueError("16-bit gray")
            image = ImageOps.exif_transpose(image).convert("RGBA")
    except Exception as error:  # Pillow raises a dozen kinds
        raise ValueError("Expected an image of 8 bits: JPEG, PNG or WebP.") from error
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), "float32")[None]
