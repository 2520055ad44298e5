"""Decoding and resizing."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from strategies.data.decoding import decode_image, decode_images, decode_sizes, peek_size
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset, load_images
from strategies.data.pixels import PixelCache, Pixels
from strategies.data.splits import split_dataset


def _save(path, color="red", size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(options.pop("mode", "RGB"), size, color).save(path, **options)
    return path


def test_a_photo_in_every_format_gives_nearly_the_same_pixels(tmp_path):
    """JPEG, decoded at reduced scale, and GIF, with its palette, stay within a few levels of PNG."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")
    for name in ("a.jpg", "a.png", "a.bmp", "a.webp", "a.tif", "a.gif"):
        Image.fromarray(photo).save(tmp_path / name)
    exact = decode_image(photo, 64).astype(int)
    assert exact.shape == (64, 64, 3)
    for path in tmp_path.iterdir():
        pixels = decode_image(path, 64)
        assert pixels.dtype == np.uint8
        limit = 0 if path.suffix in (".png", ".bmp", ".tif") else 8
        assert np.abs(pixels - exact).mean() <= limit, path.name
    assert decode_image(tmp_path / "a.png").shape == photo.shape


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb_on_white(mode, color, expected, tmp_path):
    """16-bit gray is scaled, not clipped; transparent pixels become white."""
    suffix = "tif" if mode == "CMYK" else "png"
    path = _save(tmp_path / f"image.{suffix}", color, mode=mode)
    assert np.array_equal(decode_image(path, 8), np.broadcast_to(np.array(expected, "uint8"), (8, 8, 3)))


def test_the_camera_s_orientation_is_applied(tmp_path):
    """A photo that was taken upright is upright."""
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "image.png", exif=exif)
    pixels = decode_image(tmp_path / "image.png")
    assert pixels.shape == (40, 20, 3)
    assert pixels[0].min() == 255
    assert pixels[-1].max() == 0


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    """The others do not matter."""
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    assert decode_image(tmp_path / "image.gif", 4)[0, 0].tolist() == [255, 0, 0]


def test_arrays_are_resized_like_files(tmp_path):
    """Floats are rounded; one or four channels become three."""
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype="uint8")
    Image.fromarray(values).save(tmp_path / "image.png")
    expected = decode_image(tmp_path / "image.png", 16)
    opaque = np.dstack([values, np.full((20, 30), 255, "uint8")])
    for array in (values, values + np.float32(0.3), values.astype("int64"), opaque):
        assert np.array_equal(decode_image(array, 16), expected)
    assert np.array_equal(decode_image(values[..., :1], 16), decode_image(values[..., 0], 16))


@pytest.mark.parametrize("size", [0, 8, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
def test_truncated_files_are_unreadable_and_named(suffix, size, photos, tmp_path):
    """Path and reason are on one line; missing pixels are not filled with gray."""
    path = tmp_path / f"image.{suffix}"
    Image.open(photos / "china" / "00.png").save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * size) if size < 1 else size])
    with pytest.raises(UnreadableImage) as caught:
        decode_image(path, 16)
    assert caught.value.path == str(path)
    assert caught.value.reason
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


def test_a_missing_file_a_folder_and_a_bomb_are_unreadable(tmp_path):
    """A small file that would fill the memory is not decoded."""
    (tmp_path / "folder.png").mkdir()
    Image.new("1", (20000, 10000)).save(tmp_path / "bomb.png")
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    for name, reason in (
        ("none.png", "No such file"),
        ("folder.png", "directory"),
        ("bomb.png", "more than 178,956,970 pixels"),
        ("float.tif", "range"),
    ):
        with pytest.raises(UnreadableImage, match=reason):
            decode_image(tmp_path / name, 16)


@pytest.mark.parametrize(
    ("kind", "name"), [("PPM", "PNM"), ("ICO", "icon"), ("TGA", "TGA"), ("EPS", "PostScript"), ("PDF", "PDF")]
)
def test_other_formats_are_unreadable_whatever_their_extension(kind, name, tmp_path):
    """Their readers are not even tried: for some formats, Pillow would start another program."""
    Image.new("RGB", (20, 20), "red").save(tmp_path / "image.jpg", kind)
    with pytest.raises(UnreadableImage, match=f"{name}.*, which is not read: convert it to JPEG or PNG"):
        decode_image(tmp_path / "image.jpg")


def test_deep_gray_of_every_format_is_scaled(tmp_path):
    """PNG and TIFF of 16 bits, with either byte order."""
    for name, kind in (("a.png", "I;16"), ("a.tif", "I;16"), ("b.tif", "I;16B")):
        values = np.full((9, 9), 257 * 100, ">u2" if kind == "I;16B" else "<u2")
        Image.frombytes(kind, (9, 9), values.tobytes()).save(tmp_path / name)
        assert decode_image(tmp_path / name, 4)[0, 0].tolist() == [100, 100, 100], name


def test_a_photo_of_two_pictures_is_its_first(tmp_path):
    """Phones store such photos: a JPEG with a second one behind it."""
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "image.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert decode_image(tmp_path / "image.jpg", 4)[0, 0, 0] > 250


def test_many_images_keep_their_order(photos):
    """Threads decode them, the order is that of the items."""
    items = load_dataset(photos).items[::-1]
    pixels = decode_images(items, 24)
    assert pixels.shape == (40, 24, 24, 3)
    for index in (0, 17, 39):
        assert np.array_equal(pixels[index], decode_image(items[index], 24))
    with pytest.raises(UnreadableImage, match="nowhere"):
        decode_images([*items, Path("nowhere.png")], 24)


def test_nothing_of_the_users_folder_is_changed(photos):
    """Names, content and times stay the same, and no file stays open."""

    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(photos.rglob("*"))}

    before = state()
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    decode_images(split_dataset(load_dataset(photos), seed=0).items, 32)
    load_images(photos)
    assert state() == before
    if open_files:
        assert len(os.listdir("/proc/self/fd")) <= open_files


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_several_sizes_at_once_equal_each_size_alone(suffix, tmp_path):
    """Also if a photo is decoded at different scales for different sizes."""
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 520, 3), dtype="uint8")).save(path)
    decoded = decode_sizes(path.read_bytes(), (128, 32, 128, 224, 64))
    assert decoded.size == (520, 300) == peek_size(path)
    for size, image in zip((128, 32, 128, 224, 64), decoded.pixels, strict=True):
        assert (image == decode_image(path, size)).all()


def test_a_pixel_cache_returns_what_was_put_there_and_decodes_the_rest(photos):
    """If not all images would fit, it keeps none."""
    items = sorted((photos / "china").iterdir())[:2]
    pixel_cache = PixelCache([32, 48, 32], 2)
    assert pixel_cache.sizes == (32, 48)
    pixel_cache.put(items[0], 32, np.zeros((32, 32, 3), dtype="uint8"))
    pixels = Pixels(items, 32, pixel_cache)[:2]
    assert not pixels[0].any()
    assert (pixels[1] == decode_image(items[1], 32)).all()
    assert PixelCache([224], 1_000_000).sizes == ()


@pytest.mark.skipif(sys.platform == "win32", reason="there, Pillow holds its library for TIFF files in itself")
def test_nothing_is_printed_about_a_damaged_tiff(tmp_path, capfd):
    """The library in which Pillow decodes it writes to stderr by itself."""
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype="uint8")
    Image.fromarray(pixels).save(path, compression="tiff_lzw")
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(200) + content[2200:])
    with pytest.raises(UnreadableImage):
        decode_image(path)
    assert capfd.readouterr() == ("", "")
