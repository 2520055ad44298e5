"""The range of values in 16-bit images: found from a dataset, carried by its items, part of every key."""

import numpy as np
import pytest
from PIL import Image

import strategies
from strategies.data.decoding import decode_image, find_range
from strategies.data.digests import content_digest
from strategies.data.encoded import UnreadableImage
from strategies.data.pixels import Pixels
from strategies.data.value_range import RANGES, range_of, with_range


@pytest.fixture
def deep(tmp_path):
    """Six 16-bit images of up to 12 bits, and one of 8 bits."""
    generator = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(generator.integers(0, 4096, (20, 20), dtype="uint16")).save(tmp_path / f"{index}.png")
    Image.fromarray(generator.integers(0, 256, (20, 20), dtype="uint8")).save(tmp_path / "plain.png")
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize("bits", RANGES)
def test_the_largest_value_of_the_range_is_white(bits, tmp_path):
    """And a value beyond it is refused."""
    path = tmp_path / "image.tif"
    Image.fromarray(np.array([[0, 2**bits - 1]], dtype="uint16")).save(path)
    (item,) = with_range([path], bits)
    assert decode_image(item)[0, :, 0].tolist() == [0, 255]
    assert find_range([path]) == bits == range_of([item])
    if bits > RANGES[0]:
        (narrow,) = with_range([path], RANGES[0])
        with pytest.raises(UnreadableImage, match=f"image.tif.*values up to {2**bits - 1:,}, beyond 8 bits"):
            decode_image(narrow)


def test_one_range_holds_all_images_of_a_dataset(deep, tmp_path):
    """Arrays and unreadable files do not count; images of 8 bits keep their pixels."""
    (tmp_path / "broken.png").write_bytes(b"no image")
    array = np.zeros((4, 4), dtype="uint8")
    assert find_range([*deep, tmp_path / "broken.png", array]) == 12
    assert find_range([deep[-1], array]) == find_range([]) == 16
    ranged = with_range([*deep, array], 12)
    assert np.array_equal(decode_image(ranged[6]), decode_image(deep[6]))
    assert ranged[7] is array
    assert with_range(ranged, 12) == ranged
    assert with_range(deep, 16) == deep


def test_cached_results_depend_on_the_range(deep):
    """Features of the same files with another range are other features."""
    ranged = with_range(deep, 12)
    assert content_digest(deep[0]) != content_digest(ranged[0]) != content_digest(with_range(ranged, 14)[0])
    assert Pixels(deep, 32).identity() != Pixels(ranged, 32).identity()


def test_features_without_the_range_say_what_is_lost(deep, capsys):
    """Nothing is lost silently; with the range, nothing is said."""
    options = {"stages": ["stem"], "image_size": 32, "weights": "random", "cache": False}
    strategies.extract_features(deep, "MobileNetV2-0.35", **options)
    assert "need 12 bits, but 65,535 is taken as white" in capsys.readouterr().err
    strategies.extract_features(deep, "MobileNetV2-0.35", image_bits=12, **options)
    assert "bits" not in capsys.readouterr().err
