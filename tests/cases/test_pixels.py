"""Images as users have them: deep, damaged, mislabeled, transparent. What is read, and what is said about the rest."""

import io
import struct
import zlib

import numpy as np
import pytest
from pictures import fill, picture
from PIL import Image, ImageDraw, features

import advisor
from strategies.data.decoding import decode_image, find_range
from strategies.data.loading import load_dataset
from strategies.data.value_range import with_range
from strategies.errors import DatasetError
from strategies.plans.planning import make_plan
from strategies.runs.prediction import predict
from strategies.training.trainer import train

CLASSES = ("cat", "dog")
COUNT = 6  # images of each class


def _each(root, write, count=COUNT):
    """Calls `write(path, image, index)` for some images of each class; the paths have no extension."""
    for kind, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            write(root / name / f"{index:02}", picture(kind, index), index)


def _encoded(image, kind="JPEG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(values):
    """A PNG of 16 bits with one to four channels."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(values, extra=None, compressed=False):
    """A TIFF of any number of channels, of 8 or 16 bits; `extra` says what the last channel is: 0 unknown, 2 alpha."""
    height, width, channels = values.shape
    depth, pixels = 8 * values.dtype.itemsize, values.tobytes()
    pixels = zlib.compress(pixels) if compressed else pixels
    tags = {256: width, 257: height, 259: 8 if compressed else 1, 262: 2 if channels in (3, 4) else 1}
    tags |= {277: channels, 278: height, 279: len(pixels), 284: 1} | ({} if extra is None else {338: extra})
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {273: start + 2 * channels}
    rows = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()}
    rows[258] = struct.pack("<HHI", 258, 3, channels)
    rows[258] += struct.pack("<I", start) if channels > 2 else struct.pack("<HH", depth, depth)
    body = b"".join(rows[tag] for tag in sorted(rows)) + struct.pack("<I", 0)
    return (
        b"II*\0" + struct.pack("<IH", 8, len(rows)) + body + struct.pack(f"<{channels}H", *[depth] * channels) + pixels
    )


def _gray(image):
    return np.asarray(image.convert("L"))[..., None].astype("uint16")


def gray16_12bit(root):
    """12-bit values in 16-bit gray, PNG and TIFF."""
    _each(
        root,
        lambda path, image, index: Image.fromarray(_gray(image)[..., 0] * 16).save(
            f"{path}.{('png', 'tif')[index % 2]}"
        ),
    )


def gray16_full(root):
    """16-bit gray over the whole range."""
    _each(root, lambda path, image, index: Image.fromarray(_gray(image)[..., 0] * 257).save(f"{path}.png"))


def rgb16_12bit(root):
    """12-bit values in 16-bit color, as PNG and as TIFF, compressed and not; with and without transparency."""

    def write(path, image, index):
        values = np.asarray(image).astype("uint16") * 16
        opaque = np.dstack([values, np.full(values.shape[:2], 65535, "uint16")])
        veiled = np.dstack([_gray(image) * 16, opaque[..., 3]])
        contents = [deep_png(array) for array in (values, opaque, veiled)]
        contents += [tiff(values), tiff(values, compressed=True), tiff(opaque, 2)]
        path.with_suffix(".png").write_bytes(contents[index])

    _each(root, write)


def mixed_depth(root):
    """A 16-bit image of 14 bits among images of 8 bits."""
    for kind, name in enumerate(CLASSES):
        fill(root / name, COUNT, kind)
        Image.fromarray(_gray(picture(kind, 50))[..., 0] * 63).save(root / name / "deep.png")


def _directory(*entries):
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(68)


def _number(value):
    return struct.pack("<I", value)


_SIDE = (0x0112, 3, 1, _number(6))  # the orientation: a quarter turn
UPRIGHT = {
    "plain": _directory(_SIDE),
    "marked twice": b"Exif\0\0" + _directory(_SIDE),
    "offset outside": _directory((0x010F, 2, 400, _number(99999)), _SIDE),
    "resolution of two": _directory(_SIDE, (0x011A, 5, 2, _number(40)), (0x011B, 5, 1, _number(9999))),
    "unknown type": _directory(_SIDE, (0x9999, 99, 1, _number(7))),
    "pointer outside": _directory(_SIDE, (0x8769, 4, 1, _number(88888)), (0x8825, 4, 1, _number(77777))),
    "pointer as text": _directory(_SIDE, (0x8769, 2, 4, b"abc\0"), (0x8825, 7, 4, b"abcd")),
    "rational of zero": _directory(_SIDE, (0x011A, 5, 1, _number(70))),
    "text as number": _directory(_SIDE, (0x010E, 3, 1, _number(65)), (0x0132, 12, 1, _number(30))),
    "signed": _directory(_SIDE, (0x9204, 10, 1, _number(30)), (0x0100, 9, 1, _number(0xFFFFFFFE))),
    "maker note": _directory(_SIDE, (0x927C, 7, 60000, _number(40))),
}
AS_STORED = {
    "header only": b"II*\0",
    "empty": b"",
    "no header": bytes(20),
    "orientation 0": _directory((0x0112, 3, 1, _number(0))),
    "orientation 9": _directory((0x0112, 3, 1, _number(9))),
    "count too large": b"II*\0" + struct.pack("<IH", 8, 4000),
}


def exif_broken(root):
    """Damaged EXIF before whole pixels."""
    for name, blocks in (("dog", UPRIGHT), ("cat", AS_STORED)):
        (root / name).mkdir(parents=True)
        for index, (what, exif) in enumerate(blocks.items()):
            content, body = _encoded(picture(0, index)), b"Exif\0\0" + exif
            start = content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2)
            (root / name / f"{what}.jpg").write_bytes(start + body + content[2:])


def png_big_text(root):
    """Texts and profiles of megabytes in PNG, and a profile of an unknown kind."""
    chunks = (
        _chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"{node}" * 400_000)),
        _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x>" * 800_000)),
        _chunk(b"tEXt", b"prompt\0" + b"a" * 2_000_000),
        _chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(3_000_000))),
        _chunk(b"iCCP", b"icc\0\7nothing"),
        _chunk(b"gAMA", b"?"),
    )

    def write(path, image, index):
        content = _encoded(image, "PNG")
        path.with_suffix(".png").write_bytes(content[:33] + chunks[index] + content[33:])

    _each(root, write)


def without_end(root):
    """All pixels are there, but not the mark of the end."""

    def write(path, image, index):
        options = {"progressive": True} if index % 3 == 1 else {}
        content = _encoded(image, "PNG")[:-12] if index % 3 == 2 else _encoded(image, **options)[:-2]
        path.with_suffix(".jpg").write_bytes(content)

    _each(root, write)


def jpeg_truncated(root):
    """Cut in the middle, and shortly before the end."""
    for kind, name in enumerate(CLASSES):
        fill(root / name, COUNT, kind)
    for path, end in ((root / "cat/000.jpg", 1500), (root / "dog/001.jpg", 900), (root / "dog/002.jpg", -12)):
        path.write_bytes(path.read_bytes()[:end])


def nir_as_alpha(root):
    """Near infrared as a fourth channel, marked as alpha or as unknown."""

    def write(path, image, index):
        values = np.asarray(image)
        path.with_suffix(".tif").write_bytes(tiff(np.dstack([values, 255 - values[..., 0]]), (0, 2)[index % 2]))

    _each(root, write)


def float_tiff(root):
    """Floats from 0 to 1."""
    _each(root, lambda path, image, _: Image.fromarray(np.float32(_gray(image)[..., 0]) / 255).save(f"{path}.tif"))


def huge_image(root):
    """An image of 200 megapixels; nobody reads beyond its header."""
    for kind, name in enumerate(CLASSES):
        fill(root / name, COUNT, kind)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 10000, 8, 0, 0, 0, 0))
    (root / "cat" / "scan.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", b""))


NO_IMAGES = {
    "page.jpg": (b"<!DOCTYPE html><title>404 Not Found</title>", "a web page, not an image: download it again"),
    "late page.jpg": (b"\n <!-- x -->\n<HTML><body>", "a web page, not an image: download it again"),
    "empty.jpg": (b"", "an empty file"),
    "zeros.jpg": (bytes(3000), "a file of zeros, as an interrupted download leaves: download it again"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer: run git lfs pull"),
    "phone.jpg": (
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "HEIC, which is not read: convert it to JPEG or PNG",
    ),
    "film.jpg": (b"\0\0\0\x18ftypisom" + bytes(99), "a video: save its frames as JPEG or PNG"),
    "error.jpg": (b'{"error": "not found"}', "text, not an image: download it again"),
    "scan.jpg": (bytes(128) + b"DICM", "DICOM of 0 x 0 pixels; up to 178,956,970 are read"),
    "drawing.png": (b'<?xml version="1.0"?>\n<svg width="9">', "SVG, which is not read: convert it to JPEG or PNG"),
    "packed.png": (b"PK\x03\x04" + bytes(99), "an archive or compressed: unpack it"),
    "start.png": (b"\x89PNG\r\n\x1a\n\0\0", "PNG whose header is damaged or cut off"),
    "start.tif": (b"II*\0\x08", "TIFF whose header is damaged or cut off"),
    "noise.jpg": (b"\x01\x02\x03\x04" * 9, "not a JPEG, PNG, BMP, GIF, WebP, AVIF or TIFF image"),
}


def no_images(root):
    """Files that are named like images."""
    for kind, name in enumerate(CLASSES):
        fill(root / name, COUNT, kind)
    for name, (content, _) in NO_IMAGES.items():
        (root / "cat" / name).write_bytes(content)


def palette_transparency(root):
    """Real transparency in every form that PNG has."""

    def write(path, image, index):
        cut = image.copy()
        alpha = Image.new("L", image.size)
        ImageDraw.Draw(alpha).ellipse((10, 10, 80, 70), fill=255)
        cut.putalpha(alpha)
        forms = (cut.quantize(64), cut, cut.convert("LA"), image.convert("L"))
        forms[index % 4].save(f"{path}.png", **({"transparency": 0} if index % 4 == 3 else {}))

    _each(root, write)


def wrong_extension(root):
    """PNG, WebP, GIF, BMP, TIFF and, where Pillow reads it, AVIF, all named .jpg."""
    kinds = ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF" if features.check("avif") else "PNG")
    _each(root, lambda path, image, index: image.save(f"{path}.jpg", kinds[index]))


READ = {gray16_12bit: "12 bits", rgb16_12bit: "12 bits", mixed_depth: "14 bits", nir_as_alpha: "may be near infrared"}
READ |= dict.fromkeys((gray16_full, exif_broken, png_big_text, without_end, palette_transparency, wrong_extension), "")


@pytest.mark.parametrize("build", READ, ids=lambda build: build.__name__)
def test_every_image_is_used(build, tmp_path, capfd):
    """What is taken for what is said in the findings, and nothing is printed by a library."""
    build(tmp_path)
    profile = advisor.profile_images(tmp_path)
    found = [finding.message for finding in profile.findings if finding.code in ("value_range", "fourth_channel")]
    assert profile.unreadable == ()
    assert READ[build] in " ".join(found)
    assert bool(found) == bool(READ[build])
    assert not {"dark", "blank"} & {finding.code for finding in profile.findings}
    assert capfd.readouterr() == ("", "")


CUT = "truncated: the file ends before its last pixel"
LEFT_OUT = {
    jpeg_truncated: {"cat/000.jpg": CUT, "dog/001.jpg": CUT, "dog/002.jpg": CUT},
    huge_image: {"cat/scan.png": "more than 178,956,970 pixels"},
    no_images: {f"cat/{name}": reason for name, (_, reason) in NO_IMAGES.items()},
}


@pytest.mark.parametrize("build", LEFT_OUT, ids=lambda build: build.__name__)
def test_unreadable_files_are_named_with_the_reason(build, tmp_path, capfd):
    """The reason says what the file is and what to do, and the other images are used."""
    build(tmp_path)
    profile = advisor.profile_images(tmp_path, max_unreadable=1)
    assert {file["path"]: file["reason"] for file in profile.unreadable} == LEFT_OUT[build]
    assert capfd.readouterr() == ("", "")


REFUSED = {
    float_tiff: "neither 8 nor 16 bits, whose range is unknown",
}


@pytest.mark.parametrize("build", REFUSED, ids=lambda build: build.__name__)
def test_a_dataset_of_unreadable_images_is_refused_in_one_sentence(build, tmp_path, capfd):
    """The libraries that decode them print nothing themselves."""
    build(tmp_path)
    with pytest.raises(DatasetError, match=REFUSED[build]):
        advisor.profile_images(tmp_path, max_unreadable=1)
    assert capfd.readouterr() == ("", "")


def test_copies_of_one_image_are_refused_before_a_network_runs(tmp_path):
    """There is nothing to learn from them."""
    _each(tmp_path, lambda path, image, index: picture(0, 0).save(f"{path}.jpg", quality=70 + 5 * (index % 2)))
    with pytest.raises(DatasetError, match=r"Received: 12 images in .*, all of them copies of one. Add other images."):
        advisor.recommend(tmp_path, backbone="MobileNetV2-0.35", weights="bundled", cache=False)


def test_images_that_look_alike_have_a_similarity(tmp_path):
    """Of images that are white on transparent, nothing is left on white: the interval is a point, not an error."""

    def write(path, image, index):
        white = Image.new("RGBA", image.size, (255, 255, 255, 0))
        white.putpixel((index, index), (255, 255, 255, 255))
        white.save(f"{path}.png")

    _each(tmp_path, write)
    found = advisor.measure_similarity(tmp_path, cache=False)
    assert 0 <= found.low <= found.score <= found.high <= 1


@pytest.mark.parametrize("what", UPRIGHT)
def test_a_photo_is_upright_if_its_orientation_can_be_read(what, tmp_path):
    """Whatever else in its EXIF is damaged."""
    exif_broken(tmp_path)
    assert decode_image(tmp_path / "dog" / f"{what}.jpg").shape == (96, 80, 3)


def test_deep_images_keep_their_levels(tmp_path):
    """The pixels are those of the same picture with 8 bits, in gray and in color."""
    for build, mode in ((gray16_12bit, "L"), (rgb16_12bit, "RGB")):
        build(tmp_path / mode)
        dataset = load_dataset(tmp_path / mode)
        for index, item in enumerate(with_range(dataset.items, find_range(dataset.items))):
            shown = decode_image(item).astype(int)
            expected = picture(index // COUNT, index % COUNT).convert("L" if index % COUNT == 2 else mode)
            assert np.abs(shown - np.asarray(expected.convert("RGB"))).max() <= 1
            assert len(np.unique(shown)) > 100


def test_a_model_sees_new_images_in_the_range_of_its_dataset(tmp_path):
    """12-bit images keep their levels in training and in prediction; a value beyond the range is refused, not cut."""
    gray16_12bit(tmp_path / "data")
    plan = make_plan(
        "head_only",
        "MobileNetV2-0.35",
        class_names=CLASSES,
        num_train=8,
        image_size=32,
        weights="random",
        image_bits=12,
    )
    train(plan, tmp_path / "data", tmp_path / "run", cache=False)
    dark, bright = tmp_path / "dark.png", tmp_path / "bright.png"
    dark.write_bytes(deep_png(_gray(picture(0, 99)) * 16))
    bright.write_bytes(deep_png(_gray(picture(0, 99)) * 257))
    same = tmp_path / "same.png"
    picture(0, 99).convert("L").save(same)
    rows = predict(tmp_path / "run", [dark, same, bright], all_classes=True)
    assert rows["p(cat)"][0] == pytest.approx(rows["p(cat)"][1], abs=0.02)
    assert "beyond 12 bits (image_bits of the plan)" in rows["unreadable"][2]
