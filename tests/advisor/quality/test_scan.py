"""The scan of many images, and its cache."""

import numpy as np
import pytest

from advisor.quality import scan as module
from advisor.quality.scan import scan_images
from strategies.data.decoding import decode_image
from strategies.data.encoded import UnreadableImage
from strategies.data.pixels import PixelCache
from strategies.features.cache import FeatureCache


@pytest.fixture
def items(photos, tmp_path):
    """Photos, a file that is no image, a missing file, and an array."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = sorted(photos.rglob("*.png"))[:6]
    return [*files[:3], broken, tmp_path / "missing.png", decode_image(files[3]), *files[4:]]


def _plain(result):
    if isinstance(result, UnreadableImage):
        return result.path, result.reason
    return {name: np.asarray(value).tolist() for name, value in vars(result).items()}


def test_what_is_kept_is_what_was_seen(items, tmp_path, monkeypatch):
    """In the same order, with the reason for unreadable images; and no image is decoded again."""
    cache = FeatureCache(tmp_path / "cache", 10_000_000)
    expected = [_plain(result) for result in scan_images(items)]
    assert [_plain(result) for result in scan_images(items, cache=cache)] == expected
    monkeypatch.setattr(module, "measure_image", None)
    assert [_plain(result) for result in scan_images(items, cache=cache)] == expected
    monkeypatch.undo()
    items[0], items[1] = items[1], items[0]
    changed = [_plain(result) for result in scan_images(items, cache=cache)]
    assert changed == [expected[1], expected[0], *expected[2:]]


def test_decoded_images_are_added_to_the_pixel_cache(items):
    """With the same pixels as if they were decoded later."""
    pixel_cache = PixelCache([32, 48], len(items))
    scan_images(items, pixel_cache=pixel_cache)
    for size in (32, 48):
        assert (pixel_cache.decode(items[0], size) == decode_image(items[0], size)).all()
        assert (items[0], size) in pixel_cache._kept
