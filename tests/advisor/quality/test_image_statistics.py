"""What is measured of a single image."""

import numpy as np
import pytest
from PIL import Image

from advisor.quality.image_statistics import MEASURED_SIZE, measure_image
from strategies.data.encoded import UnreadableImage
from strategies.data.pixels import PixelCache


def test_a_blank_image_has_neither_contrast_nor_edges():
    """Its brightness is that of its only color, and gray is no color."""
    gray = measure_image(np.full((MEASURED_SIZE, MEASURED_SIZE, 3), 90, dtype="uint8"))
    assert (gray.deviation, gray.sharpness, gray.brightest, gray.grayscale) == (0, 0, 90, True)
    assert not measure_image(np.full((8, 8, 3), [90, 0, 0], dtype="uint8")).grayscale


def test_size_is_that_of_the_original_image():
    """Width before height, whatever size it is measured at."""
    assert measure_image(np.zeros((30, 200, 3), dtype="uint8")).size == (200, 30)


def test_a_file_and_its_pixels_have_the_same_statistics(photos):
    """Except for the digest, which is that of the encoded file."""
    path = sorted(photos.rglob("*.png"))[0]
    file, array = measure_image(path), measure_image(np.asarray(Image.open(path)))
    assert file.digest != array.digest
    for name in ("size", "grayscale", "deviation", "brightest", "sharpness", "hash"):
        assert getattr(file, name) == getattr(array, name)
    assert (file.thumbnail == array.thumbnail).all()


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "truncated"])
def test_a_file_that_cannot_be_read_gives_the_reason(photos, tmp_path, content):
    """A truncated file too, although its header is fine; nothing of it goes into the pixel cache."""
    path = tmp_path / "broken.png"
    path.write_bytes(sorted(photos.rglob("*.png"))[0].read_bytes()[:900] if content is None else content)
    pixel_cache = PixelCache([32], 1)
    found = measure_image(path, pixel_cache)
    assert isinstance(found, UnreadableImage)
    assert found.reason
    assert (path, 32) not in pixel_cache._kept
