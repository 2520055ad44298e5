"""What is no dataset is refused in one line, and nothing in it is obeyed, unpacked or run."""

import json
import os
import re
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from source_forms import (
    FILES,
    LABELS,
    PIXELS,
    PNGS,
    Info,
    WithTargets,
    coco,
    in_storage,
    json_file,
    npz_file,
    parquet_file,
    tar_file,
    tfds,
    tfrecords,
    zip_file,
)

from advisor.measure.profile import profile_images
from strategies.data.decoding import decode_image
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset
from strategies.data.sources import archives
from strategies.errors import DatasetError


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content["annotations"].append({"image_id": 10, "category_id": 3}), "'cat/0.png' with 'cat', "),
        (lambda content: content.pop("categories"), "Received: an object with info, images, annotations."),
        (lambda content: content["annotations"].append({"image_id": 10, "category_id": 4}), "Fix the file."),
        (lambda content: content.update(images=[]), "Received: an object with"),
    ],
    ids=["two classes", "no categories", "an unknown category", "no images"],
)
def test_json_of_another_kind_is_refused(change, sentence, tmp_path):
    """In one sentence, as are files that are no JSON at all."""
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    with pytest.raises(DatasetError, match=re.escape(sentence)):
        load_dataset(json_file(tmp_path, content))
    with pytest.raises(DatasetError, match=r"Expected a JSON file of labels\. Received: .* Fix the file\."):
        load_dataset(json_file(tmp_path, "path,label"))


def test_a_dataset_of_tensors_is_refused():
    """Their scale is unknown: the sentence says what to do."""

    class Tensors(WithTargets):
        def __getitem__(self, index):
            return PIXELS[index].transpose(2, 0, 1) / 255, 0

    with pytest.raises(UnreadableImage, match="Transpose the images"):
        decode_image(load_dataset(Tensors()).items[0])


def _tar_of(root, change, name="bad.tar"):
    with tarfile.open(root / name, "w") as archive:
        info = tarfile.TarInfo("cat/0.png")
        change(info)
        archive.addfile(info)
    return root / name


def _linked(info):
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"


def _hard(info):
    info.type, info.linkname = tarfile.LNKTYPE, "cat/1.png"


def _device(info):
    info.type = tarfile.CHRTYPE


def _escaping(info):
    info.name = "../cat/0.png"


def _zip_link(root):
    with zipfile.ZipFile(root / "bad.zip", "w") as archive:
        info = zipfile.ZipInfo("cat/0.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return root / "bad.zip"


def _cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def _text(root, name):
    (root / name).write_text("just text")
    return root / name


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: _tar_of(root, _linked), "a link or a special file"),
        (lambda root: _tar_of(root, _hard), "a link or a special file"),
        (lambda root: _tar_of(root, _device), "a link or a special file"),
        (lambda root: _tar_of(root, _escaping), "leads out"),
        (_zip_link, "a link or a special file"),
        (lambda root: zip_file(root, {"../cat/0.png": b""}), "leads out"),
        (lambda root: zip_file(root, {"/cat/0.png": b""}), "leads out"),
        (lambda root: zip_file(root, {"C:\\cat\\0.png": b""}), "leads out"),
        (lambda root: _cut(zip_file(root)), "Create it again"),
        (lambda root: _cut(tar_file(root)), "Create it again"),
        (lambda root: _text(root, "data.zip"), "Create it again"),
        (lambda root: _text(root, "data.tar"), "Create it again"),
        (lambda root: _text(root, "data.tgz"), "Create it again"),
        (lambda root: _text(root, "data.npz"), "Save it again"),
        (lambda root: _text(root, "data.parquet"), "Parquet file"),
        (lambda root: _text(root, "data.tfrecord"), "Write the file again"),
        (lambda root: root / "none.tfrecord", "does not exist"),
        (lambda root: str(root / "none-*.tar"), "does not exist"),
        (lambda root: "no-such-storage://bucket/photos", "object storage|Protocol"),
        (lambda root: "file:///etc", "Give the path"),
        (lambda root: tar_file(root, {"0.png": PNGS[0], "0.json": b"[1"}, "a.tar"), "Expected a class in"),
        (lambda root: tar_file(root, {"0.png": PNGS[0], "0.json": b"{}"}, "a.tar"), "0 of the keys"),
        (lambda root: tar_file(root, {"0.png": PNGS[0], "0.cls": b"\xff"}, "a.tar"), "Expected a class in"),
        (lambda root: tfrecords(root, lambda tf, text: {}), "one image/encoded and one"),
    ],
)
def test_what_cannot_be_read_is_refused_with_one_line(make, sentence, tmp_path):
    """Damage, links, devices, and names that lead out of an archive."""
    with pytest.raises(DatasetError, match=sentence) as caught:
        load_dataset(make(tmp_path))
    assert re.fullmatch(r"Expected .* Received: .*\.", str(caught.value))


@pytest.mark.parametrize("make", [zip_file, tar_file, lambda root: tar_file(root, name="data.tar"), npz_file])
@pytest.mark.parametrize("limits", [{"files": 1}, {"bytes": 100}, {"ratio": 0, "free_bytes": 100}])
def test_archives_have_limits(make, limits, tmp_path, monkeypatch):
    """On the number of files, the size and the ratio of compression."""
    source = make(tmp_path)
    monkeypatch.setattr(archives, "LIMITS", archives.Limits(**limits))
    with pytest.raises(DatasetError, match="archive of at most"):
        load_dataset(source)


def test_a_bomb_is_not_unpacked(tmp_path):
    """A gibibyte of zeros in a megabyte."""
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/0.bmp", "w") as f,
    ):
        for _ in range(300):
            f.write(bytes(2**20))
    with pytest.raises(DatasetError, match="bytes when unpacked"):
        load_dataset(tmp_path / "bomb.zip")


def test_nothing_is_written_beside_an_archive(tmp_path):
    """Nothing is unpacked into a folder."""
    (tmp_path / "data").mkdir()
    before = sorted(os.listdir(Path(tar_file(tmp_path)).parent))
    decode_image(load_dataset(tmp_path / "data.tar.gz").items[0])
    assert sorted(os.listdir(tmp_path)) == before


def test_arrays_of_objects_are_refused(tmp_path):
    """They may hold code that would run when they are loaded."""
    np.savez(tmp_path / "data.npz", x=PIXELS, y=np.array(LABELS, dtype=object))
    with pytest.raises(DatasetError, match="only numbers and text"):
        load_dataset(tmp_path / "data.npz")
    np.savez(tmp_path / "other.npz", pixels=PIXELS, y=np.array(LABELS))
    with pytest.raises(DatasetError, match="x_train, y_train and so on"):
        load_dataset(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("name", "make", "command"),
    [("pyarrow", parquet_file, "pip install pyarrow"), ("fsspec", in_storage, "pip install 'transfer-advisor")],
)
def test_a_missing_package_is_named(name, make, command, tmp_path, monkeypatch):
    """With the command that installs it."""
    source = make(tmp_path)
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DatasetError, match=re.escape(command)):
        load_dataset(source)


def test_damaged_images_in_an_archive_are_named(tmp_path):
    """Like damaged files. In a zip, the checksum is verified too."""
    dataset = load_dataset(zip_file(tmp_path, FILES | {"cat/bad.png": b"not an image"}))
    with pytest.raises(UnreadableImage, match=r"data\.zip: cat/bad\.png"):
        decode_image(dataset.items[dataset.names.index("cat/bad.png")])
    profile = profile_images(tmp_path / "data.zip", max_unreadable=0.5)
    assert [file["path"] for file in profile.unreadable] == ["cat/bad.png"]


def test_streams_of_other_things_are_refused():
    """Endless batches, sample weights and dictionaries without a label."""
    import keras

    class Endless(keras.utils.PyDataset):
        num_batches = None

    class Weighted(keras.utils.PyDataset):
        num_batches = 1

        def __getitem__(self, index):
            return PIXELS, np.zeros(4), np.ones(4)

    for source, sentence in (
        (Endless(), "that ends"),
        (Weighted(), "tuples of 3"),
        (tfds(None).map(_image), "'image'"),
    ):
        with pytest.raises(DatasetError, match=sentence):
            load_dataset(source)


def test_hidden_labels_of_tfds_are_refused():
    """They are -1, which has no name."""
    hidden = tfds(None).map(lambda row: {"image": row["image"], "label": row["label"] - 1})
    with pytest.raises(DatasetError, match="labels from -1 to 0"):
        load_dataset((hidden, Info()))


def _image(row):
    return {"image": row["image"]}


def test_hub_datasets_of_another_shape_are_refused():
    """Without a class or an image column there is nothing to learn, and a generator names no columns."""
    datasets = pytest.importorskip("datasets")
    with pytest.raises(DatasetError, match="streaming=False"):
        load_dataset(datasets.IterableDataset.from_generator(lambda: iter([{"image": None, "label": 1}])))
    with pytest.raises(DatasetError, match="one Image column"):
        load_dataset(datasets.Dataset.from_dict({"text": ["a", "b"]}))
