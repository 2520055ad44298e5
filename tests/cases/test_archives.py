"""Archives as people have them, and as damage and malice make them: all of an archive is read, or none of it."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile

import pytest
from pictures import picture

from strategies.data.decoding import decode_image
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset
from strategies.errors import DatasetError


def _jpeg(kind, seed):
    file = io.BytesIO()
    picture(kind, seed, (24, 20)).save(file, "JPEG")
    return file.getvalue()


FILES = {f"{name}/{index}.jpg": _jpeg(kind, index) for kind, name in enumerate(("cat", "dog")) for index in range(20)}
TWELFTH = list(FILES)[12]


def _tar(mode="w", format=tarfile.GNU_FORMAT, pax=None):  # noqa: A002 (tarfile's word)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=format) as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = dict(pax or {}) if name == TWELFTH else {}
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _zip(method=zipfile.ZIP_DEFLATED, rename=str, more=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in (*FILES.items(), *more):
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = rename(name), method
            archive.writestr(info, content)
    return file.getvalue()


def _offset(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getmember(TWELFTH).offset


def _with_byte(content, place, change=1):
    content = bytearray(content)
    content[place] ^= change
    return bytes(content)


TAR = _tar()
START = _offset(TAR)
END = len(TAR.rstrip(b"\0")) + -len(TAR.rstrip(b"\0")) % 512

WHOLE = {
    "a.tar": TAR,
    "gnu.tar": TAR[:END] + bytes(512),
    "pax.tar": _tar(format=tarfile.PAX_FORMAT, pax={"comment": "x"}),
    "a.tar.gz": _tar("w:gz"),
    "a.TGZ": _tar("w:gz"),
    "a.tar.bz2": _tar("w:bz2"),
    "a.tbz2": _tar("w:bz2"),
    "a.zip": _zip(),
    "commented.zip": _zip() + b"\n",
    "stored.zip": _zip(zipfile.ZIP_STORED),
    "windows.zip": _zip(rename=lambda name: name.replace("/", "\\")),
    "windows folders.zip": _zip(rename=lambda name: name.replace("/", "\\"), more=[("cat/", b""), ("dog/", b"")]),
    "wrapped twice.zip": _zip(rename=lambda name: f"x/y/{name}"),
    "no suffix.zip": _zip(rename=lambda name: name.removesuffix(".jpg")),
    "jfif.zip": _zip(rename=lambda name: name.replace(".jpg", ".jfif")),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_archive_is_read_whole(name, tmp_path):
    """Forty images of two classes."""
    (tmp_path / name).write_bytes(WHOLE[name])
    dataset = load_dataset(tmp_path / name)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0] * 20 + [1] * 20
    assert not dataset.ignored
    assert decode_image(dataset.items[-1]).shape == (20, 24, 3)


def _short_list(content):
    """Returns a zip file whose list of files seems to end before the last one."""
    end = content.rfind(b"PK\5\6")
    size = int.from_bytes(content[end + 12 : end + 16], "little") - 46 - len(next(iter(FILES)))
    return content[: end + 12] + struct.pack("<I", size) + content[end + 16 :]


def _encrypted(content):
    at = content.find(b"PK\1\2")
    return _with_byte(content, at + 8)


DAMAGED = {
    "byte.tar": (_with_byte(TAR, START + 150), f"damaged at byte {START:,}, after 12 members"),
    "zeros.tar": (TAR[:START] + bytes(512) + TAR[START + 512 :], f"damaged at byte {START:,}, after 12 members"),
    "header.tar": (TAR[: START + 200], f"damaged at byte {START:,}, after 12 members"),
    "member.tar": (TAR[:START], f"cut off at byte {START:,}, after 12 members"),
    "content.tar": (TAR[: START + 700], "after 13 members"),
    "end.tar": (TAR[:END], f"cut off at byte {END:,}, after 40 members"),
    "half an end.tar": (TAR[:END] + bytes(45), f"cut off at byte {END:,}, after 40 members"),
    "two.tar": (TAR + TAR, "after 40 members"),
    "text size.tar": (_tar(format=tarfile.PAX_FORMAT, pax={"size": "abc"}), "after 12 members"),
    "backwards.tar": (_tar(format=tarfile.PAX_FORMAT, pax={"size": "-1024"}), "after 12 members"),
    "small.tar": (_tar(format=tarfile.PAX_FORMAT, pax={"size": "5"}), "after 12 members"),
    "over others.tar": (_tar(format=tarfile.PAX_FORMAT, pax={"size": str(END - START)}), "after 12 members"),
    "large.tar": (_tar(format=tarfile.PAX_FORMAT, pax={"size": "9999999"}), "after 12 members"),
    "cut.tar.gz": (_tar("w:gz")[:-9], "ended before"),
    "byte.tar.gz": (_with_byte(_tar("w:gz"), 9_000), "Create it again"),
    "inside.tgz": (gzip.compress(_with_byte(TAR, START + 150)), f"damaged at byte {START:,}, after 12 members"),
    "cut.tar.bz2": (_tar("w:bz2")[:-9], "ended before"),
    "byte.tar.bz2": (_with_byte(_tar("w:bz2"), 9_000), "Invalid data stream"),
    "short list.zip": (_short_list(_zip()), "39 files in its list, which should be 40"),
    "bzip2.zip": (_zip(zipfile.ZIP_BZIP2), "packed by another method. Unpack it yourself"),
    "lzma.zip": (_zip(zipfile.ZIP_LZMA), "packed by another method. Unpack it yourself"),
    "encrypted.zip": (_encrypted(_zip()), "'cat/0.jpg', encrypted. Unpack it yourself"),
    "out.zip": (_zip(rename=lambda name: "..\\" + name), "leads out"),
    "drive.zip": (_zip(rename=lambda name: "C:\\" + name), "leads out"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_refused_with_the_place(name, tmp_path):
    """No part of it is read as if it were all."""
    content, sentence = DAMAGED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
        load_dataset(tmp_path / name)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("stated", [10, 48_000])
def test_a_member_yields_no_more_than_it_states(stated, tmp_path):
    """A hundred mebibytes that are said to be a few bytes are not unpacked. The other images are fine."""
    size, content = 100 * 2**20, bytearray(_zip(more=[("cat/bomb.jpg", bytes(100 * 2**20))]))
    while (at := content.find(struct.pack("<I", size))) >= 0:
        content[at : at + 4] = struct.pack("<I", stated)
    (tmp_path / "a.zip").write_bytes(content)
    del content
    dataset = load_dataset(tmp_path / "a.zip")
    tracemalloc.start()
    with pytest.raises(UnreadableImage, match=r"a\.zip: cat/bomb\.jpg"):
        decode_image(dataset.items[dataset.names.index("cat/bomb.jpg")])
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
    assert len(dataset) == 41
