"""Hostile files give a result or one of our errors, never another exception or an endless wait. No file is lost."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

import advisor
from advisor import cli
from advisor.report.terminal import plain
from advisor.report.text import profile_parts
from strategies.data.loading import load_dataset
from strategies.display.html import printable
from strategies.errors import UserError

NAMES = (
    "with space.png",
    "new\nline.png",
    "quote'.png",
    'double".png',
    "<script>alert(1)<|script>.png",
    "\x1b[31mred\x1b[0m.png",
    "right\u202eto left.png",
    "bell\x07.png",
    "caf\u00e9.png",  # the same name in both of Unicode's forms
    "cafe\u0301.png",
    "-rf.png",
    "$(id).png",
    "%s{0}.png",
    "comma,.png",
    "\u732b.png",
    "..png.png",
    os.fsdecode(b"\xff\xfe.png"),
)


def _encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _photo(seed, size=(40, 40)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype="uint8"))


def _files():
    """Returns the content of every hostile file by its name."""
    photo = _photo(0)
    jpeg, png = _encoded(photo, "JPEG"), _encoded(photo, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [_photo(1).convert("P"), _photo(2).convert("P")]
    files = {f"cut-{part}.jpg": jpeg[: len(jpeg) * part // 8] for part in range(8)}
    files |= {f"cut-{part}.png": png[: len(png) * part // 8] for part in range(1, 8)}
    files |= {f"cut-{part}.webp": _encoded(photo, "WEBP")[: 150 * part] for part in range(1, 5)}
    files |= {
        "empty.png": b"",
        "png.jpg": png,
        "jpeg.png": jpeg,
        "text.jpg": b"just text",
        "html.jpg": b"<html><script>alert(1)</script>",
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "zeros.bmp": bytes(1000),
        "one.png": _encoded(_photo(3, (1, 1)), "PNG"),
        "wide.png": _encoded(Image.new("RGB", (30000, 1)), "PNG"),
        "high.png": _encoded(Image.new("RGB", (1, 30000)), "PNG"),
        "bomb.png": _encoded(Image.new("1", (20000, 10000)), "PNG"),
        "huge.bmp": _encoded(photo, "BMP")[:18] + b"\xff\xff\xff\x7f\xff\xff\xff\x7f" + bytes(100),
        "cmyk.jpg": _encoded(_photo(4).convert("CMYK"), "JPEG"),
        "gray.jpg": _encoded(_photo(5).convert("L"), "JPEG"),
        "deep.png": _encoded(Image.fromarray(np.full((9, 9), 40000, "uint16")), "PNG"),
        "deep.tif": _encoded(Image.fromarray(np.full((9, 9), 40000, "uint16")), "TIFF"),
        "float.tif": _encoded(Image.new("F", (9, 9), 0.5), "TIFF"),
        "clear.png": _encoded(_photo(6).convert("P"), "PNG", transparency=0),
        "alpha.webp": _encoded(_photo(7).convert("RGBA"), "WEBP"),
        "moving.gif": _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "moving.png": _encoded(_photo(8), "PNG", save_all=True, append_images=[_photo(9)]),
        "pages.tif": _encoded(_photo(10), "TIFF", save_all=True, append_images=[_photo(11)]),
        "turned.jpg": _encoded(_photo(12, (30, 50)), "JPEG", exif=exif),
        "profile.png": _encoded(_photo(13), "PNG", icc_profile=b"no profile at all"),
        "profile.jpg": _encoded(_photo(14), "JPEG", icc_profile=b"\x00" * 200),
        "exif.jpg": _encoded(_photo(15), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"),
        "notes.txt": b"no image",
        "photo.heic": b"another format",
        ".hidden.png": png,
        "Thumbs.db": b"",
        "x" * 200 + ".png": png,
    }
    return files | {name: _encoded(_photo(20 + index), "PNG") for index, name in enumerate(NAMES)}


@pytest.fixture
def corpus(tmp_path):
    """A class folder of hostile files, links and a pipe, with a few good images in each class."""
    root = tmp_path / "data"
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for index in range(34):
            _photo(100 + index + 50 * (label == "dog")).save(root / label / f"good-{index}.png")
    for index, (name, content) in enumerate(_files().items()):
        (root / ("cat", "dog")[index % 2] / name).write_bytes(content)
    (root / "cat" / "a.png").symlink_to("b.png")
    (root / "cat" / "b.png").symlink_to("a.png")
    (root / "cat" / "broken.png").symlink_to("nowhere.png")
    (root / "cat" / "circle").symlink_to(root, target_is_directory=True)
    (root / "dog" / "escape.png").symlink_to("/etc/hostname")
    (root / "dog" / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(root / "dog" / "pipe.png")
    (root / "dog" / "folder.png").mkdir()
    (root / "dog" / "denied.png").write_bytes(b"")
    (root / "dog" / "denied.png").chmod(0)
    return root


def _count(root):
    return sum(
        len(files) + sum(os.path.islink(os.path.join(parent, folder)) for folder in folders)
        for parent, folders, files in os.walk(root)
    )


def test_every_hostile_file_is_accounted_for(corpus):
    """Every file is used, unreadable with a reason, or ignored."""
    number = _count(corpus)
    assert number - 68 >= 60
    profile = advisor.profile_images(corpus, max_unreadable=1)
    assert profile.num_images + len(profile.unreadable) + len(profile.ignored) == number
    assert all(file["reason"] and "\n" not in file["reason"] for file in profile.unreadable)
    unreadable = {file["path"] for file in profile.unreadable}
    assert {"cat/a.png", "cat/b.png", "cat/broken.png"} <= unreadable
    assert {"cat/circle", "dog/escape.png", "dog/zero.png", "dog/pipe.png"} <= set(profile.ignored)
    for name in ("bomb.png", "empty.png", "text.jpg", "eps.jpg", "cut-4.jpg", "float.tif", "huge.bmp"):
        assert {f"cat/{name}", f"dog/{name}"} & unreadable, name
    used = set(load_dataset(corpus).names) - unreadable
    for name in (
        "png.jpg",
        "one.png",
        "wide.png",
        "cmyk.jpg",
        "moving.gif",
        "turned.jpg",
        "profile.png",
        "caf\u00e9.png",
    ):
        assert {f"cat/{name}", f"dog/{name}"} & used, name
    assert all(line.isprintable() for line in plain(profile_parts(profile)).splitlines())
    with pytest.raises(UserError, match="to be unreadable"):
        advisor.profile_images(corpus)


def test_hostile_files_do_not_stop_the_advice(corpus, pretrained_weights):
    """With the bundled network, in the same process. The text of the advice is printable."""
    advice = advisor.recommend(corpus, weights="bundled", max_unreadable=1, cache=False)
    profile = advice.profile
    assert profile.num_images + len(profile.unreadable) + len(profile.ignored) == _count(corpus)
    assert all(line.isprintable() for line in str(advice).splitlines())


@pytest.mark.parametrize(
    "name",
    [
        "empty.png",
        "cut-4.jpg",
        "bomb.png",
        "wide.png",
        "exif.jpg",
        "eps.jpg",
        "one.png",
        *NAMES[1:2],
        *NAMES[5:8],
        NAMES[-1],
    ],
    ids=ascii,
)
def test_the_command_line_ends_with_a_profile_or_one_sentence(name, tmp_path, monkeypatch, capsys):
    """In a class with a hostile name, and as the source itself."""
    label = "bad\x1b[2J\u202e\nclass"
    for folder in ("cat", label):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for index in range(3):
            _photo(index + len(folder)).save(tmp_path / "data" / folder / f"{index}.png")
    path = tmp_path / "data" / label / name
    path.write_bytes(_files()[name])
    for data, more in ((tmp_path / "data", ["--max-unreadable", "1"]), (tmp_path / "data", []), (path, [])):
        monkeypatch.setattr(sys, "argv", ["advisor", "profile", str(data), *more])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert code == (0 if more else 2) or (code == 0 and data.is_dir())
        assert all(line.isprintable() for line in (out + err).splitlines())
        assert "Traceback" not in err
        assert len(err.splitlines()) == (code == 2)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_printable_and_can_be_written(name):
    """Whatever the name of a file is."""
    assert printable(name).isprintable()
    printable(name).encode("utf-8")
