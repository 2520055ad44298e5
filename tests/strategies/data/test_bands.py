"""Images of any number of bands: arrays, TIFF files, and any other image by channel."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from strategies.data import decoding
from strategies.data.channels import channels_of, check_channels, mixing_of, with_channels
from strategies.data.decoding import decode_image, decode_sizes, find_range, peek_size
from strategies.data.digests import content_digest
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset, load_images
from strategies.data.pixels import PixelCache, Pixels
from strategies.data.resizing import SQUARES, as_planned
from strategies.errors import DatasetError, UserError

ALL = tuple(range(1, 6))
needs_tifffile = pytest.mark.skipif(find_spec("tifffile") is None, reason="tifffile is not installed")


@pytest.fixture
def bands():
    """An image of five bands, which is not square."""
    return np.random.default_rng(0).integers(0, 256, (37, 61, 5), dtype="uint8")


@pytest.fixture
def file(bands, tmp_path):
    """The same as a file."""
    np.save(tmp_path / "field.npy", bands)
    return tmp_path / "field.npy"


@pytest.mark.parametrize("resize", SQUARES)
@pytest.mark.parametrize("size", [None, 24, 96])
def test_three_bands_are_the_pixels_of_an_rgb_image(file, bands, size, resize, tmp_path):
    """Bit for bit, at any size, also with 12 bits; and bands may be taken from an RGB image."""
    Image.fromarray(bands[..., :3]).save(tmp_path / "field.png")
    expected = decode_image(as_planned([tmp_path / "field.png"], 16, resize)[0], size)
    np.save(tmp_path / "deep.npy", np.rint(bands / 255 * 4095).astype("uint16"))
    for path, bits in ((file, 16), (tmp_path / "deep.npy", 12)):
        assert np.array_equal(decode_image(as_planned([path], bits, resize, (1, 2, 3))[0], size), expected)
    (turned,) = as_planned([tmp_path / "field.png"], 16, resize, (3, 2, 1))
    assert np.array_equal(decode_image(turned, size), expected[..., ::-1])


def test_each_of_other_numbers_of_bands_is_resized_as_a_gray_image(file, bands, tmp_path):
    """In the order of the channels; whatever shows the image sees their mean, or another mixture."""
    (item,) = with_channels([file], (5, 1))
    for place, band in enumerate((4, 0)):
        Image.fromarray(bands[..., band]).save(tmp_path / "gray.png")
        assert np.array_equal(decode_image(item, 24, 2)[..., place], decode_image(tmp_path / "gray.png", 24)[..., 0])
    mean = np.rint(bands[..., [4, 0]].mean(axis=2))
    assert (decode_image(item) == mean[..., np.newaxis]).all()
    (mixed,) = with_channels([file], (5, 1), ((1.0, 0.0), (0.0, 1.0), (2.0, -1.0)))
    red, green, blue = np.moveaxis(decode_image(mixed).astype(int), -1, 0)
    assert np.array_equal(red, bands[..., 4])
    assert np.array_equal(green, bands[..., 0])
    assert np.array_equal(blue, np.clip(2 * red - green, 0, 255))
    assert np.array_equal(decode_sizes(file.read_bytes(), [24], mixed).pixels[0], decode_image(mixed, 24))


def test_a_network_gets_the_channels_and_everything_else_sees_rgb(file):
    """Pixels that are kept as RGB are not taken for channels."""
    items = with_channels([file], ALL)
    cache = PixelCache([24], 1)
    cache.put(items[0], 24, decode_image(items[0], 24))
    assert Pixels(items, 24, cache)[:].shape == (1, 24, 24, 3)
    assert Pixels(items, 24, cache, num_channels=5)[:].shape == (1, 24, 24, 5)
    assert Pixels(items, 24, num_channels=5).identity() != Pixels(items, 24).identity()
    assert len({content_digest(item) for item in (file, items[0], *with_channels([file], (1, 2, 3, 5, 4)))}) == 3


def test_a_tiff_of_gray_pages_has_a_band_on_each(bands, tmp_path):
    """Only if channels are named; otherwise its first page is the image."""
    first, *others = (Image.fromarray(bands[..., band].astype("uint16") * 16) for band in range(4))
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    (item,) = as_planned([tmp_path / "stack.tif"], 12, "squeeze", (4, 2))
    assert find_range([item]) == 12
    expected = np.rint(bands[..., [3, 1]] * (16 * 255 / 4095))
    assert np.array_equal(decode_image(item, None, 2), expected)
    assert channels_of(load_images([tmp_path / "stack.tif"]).items) == ()
    with pytest.raises(UnreadableImage, match="4 pages, so none has the number 5"):
        decode_image(*with_channels([tmp_path / "stack.tif"], (5,)))
    first.save(tmp_path / "stack.tif", save_all=True, append_images=[others[0].crop((0, 0, 9, 9))])
    with pytest.raises(UnreadableImage, match="pages of different sizes"):
        decode_image(*with_channels([tmp_path / "stack.tif"], (1, 2)))


@needs_tifffile
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_of_many_samples_is_the_array(bands, layout, compression, tmp_path):
    """However its samples lie in the file."""
    import tifffile

    path = tmp_path / "field.tif"
    values = bands if layout == "contig" else np.moveaxis(bands, -1, 0)
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig=layout, compression=compression)
    dataset = load_images([path])
    assert channels_of(dataset.items) == ALL
    assert peek_size(path) == (61, 37)
    assert np.array_equal(decode_image(dataset.items[0], None, 5), bands)
    color = {"photometric": "rgb", "planarconfig": layout, "compression": compression}
    four = bands[..., :4].astype("uint16") * 257
    tifffile.imwrite(path, four if layout == "contig" else np.moveaxis(four, -1, 0), **color)
    assert channels_of(load_images([path]).items) == ()
    assert np.array_equal(decode_image(*with_channels([path], (4, 3, 2))), bands[..., 3:0:-1])


def test_without_tifffile_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    """Before anything is read, and only for files that need it."""
    path = tmp_path / "field.tif"
    Image.new("RGB", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    tag = content.index(b"\x15\x01\x03\x00")  # samples per pixel
    content[tag + 8] = 6
    tag = content.index(b"\x06\x01\x03\x00")  # what they mean: not red, green and blue
    content[tag + 8] = 1
    path.write_bytes(content)
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"tifffile for TIFF images of 6 bands.*'transfer-advisor\[bands\]'"):
        load_images([path])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((8, 8, 5), "uint8"), "5 bands: name those to use"),
        (np.zeros((8, 8), "float32"), "float32, whose range is unknown"),
        (np.full((8, 8), -1, "int16"), "neither 8 nor 16 bits"),
        (np.zeros(8, "uint8"), r"shape \(8,\)"),
        (np.array([[{}]]), "type object"),
    ],
)
def test_an_array_that_is_no_image_is_refused(values, reason, tmp_path):
    """The reason says what it is."""
    np.save(tmp_path / "field.npy", values)
    with pytest.raises(UnreadableImage, match=reason):
        decode_image(tmp_path / "field.npy")


def test_a_band_that_is_missing_is_refused(file, tmp_path):
    """So is a file that is cut off, or that is too large, before its values are read."""
    for channels, wanted, reason in (((1, 6), 2, "5 bands, so none has the number 6"), (ALL, 4, "5 channels are used")):
        with pytest.raises(UnreadableImage, match=reason):
            decode_image(with_channels([file], channels)[0], 24, wanted)
    cut, huge = tmp_path / "cut.npy", tmp_path / "huge.npy"
    cut.write_bytes(file.read_bytes()[:-1])
    huge.write_bytes(file.read_bytes().replace(b"(37, 61, 5)", b"(99999, 99999, 5)").replace(b" " * 6, b"", 1))
    for path, reason in ((cut, "truncated"), (huge, "more than 178,956,970 pixels")):
        with pytest.raises(UnreadableImage, match=reason):
            decode_image(*with_channels([path], (1,)))
    for wrong in ((0,), (1.5,), "1,2", range(1, 18)):
        with pytest.raises(UserError, match="up to 16 numbers of bands"):
            check_channels(wrong)


def _folder(root, bands):
    for label in ("corn", "wheat"):
        (root / label).mkdir(parents=True)
        for index in range(3):
            np.save(root / label / f"{index}.npy", np.roll(bands, index, axis=1))
    return root


def test_all_bands_are_used_unless_some_are_named(bands, tmp_path):
    """The notes say so, and how to name some; of a folder, and of arrays."""
    root = _folder(tmp_path / "fields", bands)
    arrays = (np.stack([bands] * 4), ["corn", "wheat"] * 2)
    for source in (root, arrays):
        dataset = load_dataset(source)
        assert channels_of(dataset.items) == ALL
        assert len(mixing_of(dataset.items)) == 3
        assert "have 5 bands, and all of them are used; --channels" in " ".join(dataset.notes)
        assert "in false color" in " ".join(dataset.notes)
        assert load_dataset(dataset) is dataset
        three = load_dataset(source, channels=(3, 2, 1))
        assert (channels_of(three.items), mixing_of(three.items), three.notes) == ((3, 2, 1), (), ())
        assert np.array_equal(decode_image(three.items[0]), bands[..., 2::-1])


def test_arrays_beside_photos_are_not_images(bands, tmp_path):
    """They are data that belong to the photos."""
    root = _folder(tmp_path / "fields", bands)
    for label in ("corn", "wheat"):
        for index in range(2):
            Image.fromarray(bands[..., :3]).save(root / label / f"{index}.png")
    dataset = load_dataset(root)
    assert len(dataset) == 4
    assert set(dataset.ignored.values()) == {"array .npy"}


def test_images_of_different_numbers_of_bands_need_channels(bands, tmp_path):
    """The error says which numbers there are; gray and RGB arrays are as other images."""
    root = _folder(tmp_path / "fields", bands)
    np.save(root / "corn" / "0.npy", bands[..., :3])
    with pytest.raises(DatasetError, match=r"with 1, 3 or 4, 5 bands. Name the bands"):
        load_dataset(root)
    assert channels_of(load_dataset(root, channels=(2, 1)).items) == (2, 1)
    for path in root.rglob("*.npy"):
        np.save(path, bands[..., 0])
    plain = load_dataset(root)
    assert channels_of(plain.items) == ()
    assert not plain.notes
    assert (decode_image(plain.items[0]) == bands[..., :1]).all()
