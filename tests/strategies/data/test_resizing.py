"""How images become squares: squeezed, cropped or padded, the same from everywhere."""

import numpy as np
import pytest
from PIL import Image

import strategies
from strategies.data.decoding import decode_image, decode_images, decode_readable
from strategies.data.digests import content_digest
from strategies.data.pixels import Pixels
from strategies.data.resizing import SQUARES, resize_of, with_resize
from strategies.data.value_range import range_of, with_range
from strategies.errors import PlanError, UnknownNameError

WIDE = np.random.default_rng(0).integers(0, 256, (21, 40, 3), dtype="uint8")
EXPECTED = {"squeeze": WIDE, "crop": WIDE[:, 9:30], "pad": np.pad(WIDE, ((9, 10), (0, 0), (0, 0)))}


@pytest.fixture
def wide(tmp_path):
    """The file of a wide image."""
    Image.fromarray(WIDE).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


@pytest.mark.parametrize("resize", SQUARES)
def test_an_image_is_squeezed_cropped_or_padded(resize, wide):
    """A file and an array, on end too, and from every function that decodes; a square image is the same in each way."""
    expected = decode_image(EXPECTED[resize], 16)
    items = with_resize([wide, WIDE], resize)
    for pixels in (decode_images(items, 16), decode_readable(items, 16)[0], Pixels(items, 16)[:]):
        assert np.array_equal(pixels, [expected, expected])
    high = WIDE.transpose(1, 0, 2)
    (item,) = with_resize([high], resize)
    assert np.array_equal(decode_image(item, 16), decode_image(EXPECTED[resize].transpose(1, 0, 2), 16))
    assert np.array_equal(decode_image(item), high)
    (square,) = with_resize([WIDE[:, :21]], resize)
    assert np.array_equal(decode_image(square, 16), decode_image(WIDE[:, :21], 16))


def test_a_long_image_does_not_become_a_large_square(tmp_path):
    """Of 20,000 x 2 pixels, a thin line is left."""
    Image.new("RGB", (20_000, 2), "white").save(tmp_path / "line.png")
    (item,) = with_resize([tmp_path / "line.png"], "pad")
    pixels = decode_image(item, 16)
    assert pixels[0].max() == pixels[-1].max() == 0 < pixels[7:9].max()


def test_items_keep_their_way_and_cached_results_depend_on_it(wide):
    """Features of cropped images are others than those of the same files squeezed."""
    cropped = with_resize(with_range([wide], 12), "crop")
    assert (range_of(cropped), resize_of(cropped)) == (12, "crop")
    assert resize_of(with_range(cropped, 10)) == "crop"
    assert with_resize(cropped, "crop") == cropped
    assert with_resize([wide], "squeeze") == [wide]
    for item in (wide, WIDE):
        digests = {content_digest(*with_resize(with_resize([item], "pad"), resize)) for resize in SQUARES}
        assert len(digests) == 3
    assert content_digest(*with_resize(with_resize([wide], "pad"), "squeeze")) == content_digest(wide)


def test_features_are_those_of_the_resized_images(wide):
    """Not only the pixels."""
    import keras

    options = {"backbone": "MobileNet-0.25", "image_size": 32, "weights": "random", "stages": ["stem"], "pool": False}
    found = []
    for images, resize in (([wide], "crop"), (EXPECTED["crop"][np.newaxis], "squeeze")):
        keras.utils.set_random_seed(0)
        found.append(strategies.extract_features(images, resize=resize, **options)["stem"])
    assert np.array_equal(*found)


def test_another_way_is_refused(wide):
    """With the names that there are."""
    with pytest.raises(UnknownNameError, match=r"Did you mean 'crop'.*Known: crop, pad, squeeze"):
        with_resize([wide], "crops")
    with pytest.raises(PlanError, match="resize must be one of squeeze, crop, pad"):
        strategies.make_plan("head_only", class_names="ab", num_train=80, resize="stretch")
