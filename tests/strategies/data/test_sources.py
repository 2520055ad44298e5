"""Every form of a dataset is recognized and read, and gives the same images."""

import io
import json
import os
import re
import stat
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import ROOT

from advisor.measure.profile import profile_images
from strategies.data.decoding import decode_image
from strategies.data.digests import content_digest
from strategies.data.encoded import Encoded, UnreadableImage
from strategies.data.loading import load_dataset, load_images
from strategies.data.sources import archives
from strategies.data.sources.forms import SOURCES, find_source
from strategies.errors import DatasetError

LABELS = ["cat", "cat", "dog", "dog"]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), dtype="uint8")
PAGE = (ROOT / "docs" / "guides" / "your-data.md").read_text(encoding="utf-8")


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PNGS = [_png(pixels) for pixels in PIXELS]
FILES = {f"{label}/{index}.png": png for index, (label, png) in enumerate(zip(LABELS, PNGS, strict=True))}


def _folder(root):
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def _table(root):
    _folder(root)
    return pd.DataFrame({"path": list(FILES), "label": LABELS})


def _csv(root):
    _table(root).to_csv(root / "table.csv", index=False)
    return root / "table.csv"


def _parquet(root):
    pytest.importorskip("pyarrow")
    _table(root).to_parquet(root / "table.parquet")
    return root / "table.parquet"


def _npz(root):
    np.savez(root / "data.npz", x=PIXELS, y=np.array(LABELS))
    return root / "data.npz"


def _zip(root, files=FILES, name="data.zip"):
    with zipfile.ZipFile(root / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    return root / name


def _tar(root, files=FILES, name="data.tar.gz"):
    with tarfile.open(root / name, "w:gz" if name.endswith("gz") else "w") as archive:
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return root / name


def _wrapped(root):
    return _zip(root, {f"photos/{name}": content for name, content in FILES.items()} | {"__MACOSX/photos/._0": b"mac"})


def _shards(root):
    for shard in range(2):
        files = {}
        for index in (2 * shard, 2 * shard + 1):
            files |= {f"{index:04}.png": PNGS[index], f"{index:04}.cls": LABELS[index].encode()}
        _tar(root, files, f"shard-{shard}.tar")
    return str(root / "shard-*.tar")


def _json_shard(root):
    files = {}
    for index, label in enumerate(LABELS):
        files |= {f"{index}.png": PNGS[index], f"{index}.json": json.dumps({"label": label}).encode()}
    return _tar(root, files, "data.tar")


def _records(root, label=lambda tf, text: {"image/class/text": tf.train.BytesList(value=[text.encode()])}):
    import tensorflow as tf

    for part in range(2):
        with tf.io.TFRecordWriter(str(root / f"data.tfrecord-0000{part}-of-00002")) as writer:
            for index in (2 * part, 2 * part + 1):
                features = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[PNGS[index]]))}
                for name, value in label(tf, LABELS[index]).items():
                    kind = "bytes_list" if isinstance(value, tf.train.BytesList) else "int64_list"
                    features[name] = tf.train.Feature(**{kind: value})
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
    return sorted(root.glob("*.tfrecord*"))


def _memory(root):
    fsspec = pytest.importorskip("fsspec")
    storage = fsspec.filesystem("memory")
    for name, content in FILES.items():
        storage.pipe(f"/{root.name}/photos/{name}", content)
    return f"memory://{root.name}/photos"


def _tf_data(root):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((PIXELS, LABELS)).filter(lambda image, label: True).batch(3)


def _py_dataset(root):
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            part = slice(2 * index, 2 * index + 2)
            return PIXELS[part], np.array(LABELS[part])

    return Batches()


def _hub(root):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat", "elk"])})
    rows = {"image": [{"bytes": png, "path": None} for png in PNGS], "label": LABELS}
    return datasets.Dataset.from_dict(rows, features=features)


class _Info:
    features = {"label": types.SimpleNamespace(names=["dog", "cat"])}  # noqa: RUF012 (a stand-in)


def _tfds(root):
    import tensorflow as tf

    numbers = [["dog", "cat"].index(label) for label in LABELS]
    return tf.data.Dataset.from_tensor_slices({"image": PIXELS, "label": numbers, "id": numbers})


def _with_info(root):
    return _tfds(root), _Info()


class _Builder:
    info = _Info()

    def as_dataset(self):
        return {"train": _tfds(None)}


def _absolute(root):
    return _table(root).assign(path=[str(root / name) for name in FILES])


def _polars(root):
    polars = pytest.importorskip("polars")
    return polars.DataFrame(_absolute(root).to_dict("list"))


def _arrow(root):
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.Table.from_pandas(_absolute(root))


def _json(root, content, name="labels.json"):
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return root / name


def _records_of(root):
    return _table(root).to_dict("records")


def _coco(root):
    """As annotation tools write it for classification, with an image that nobody has annotated."""
    _folder(root)
    names = [*FILES, "cat/unseen.png"]
    content = {
        "info": {},
        "images": [{"id": 10 + index, "file_name": name, "width": 10} for index, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": index, "image_id": 10 + index, "category_id": 1 if label == "cat" else 3, "bbox": []}
            for index, label in enumerate(LABELS)
        ],
    }
    return _json(root, content)


def _label_studio(root):
    """As Label Studio exports it: paths of its server, two annotators who agree, and a task that was skipped."""
    _folder(root)

    def annotation(label, **more):
        result = [{"type": "choices", "from_name": "choice", "to_name": "image", "value": {"choices": [label]}}]
        return {"id": 1, "result": result, **more}

    names = [f"/data/local-files/?d=photos/{name}" for name in FILES]
    tasks = [
        {"id": index, "data": {"image": name, "id": 7}, "annotations": [annotation(label), annotation(label)]}
        for index, (name, label) in enumerate(zip(names, LABELS, strict=True))
    ]
    skipped = {"data": {"image": "x.png"}, "annotations": [annotation("cat", was_cancelled=True)]}
    return _json(root, [*tasks, skipped])


def _label_studio_csv(root):
    _table(root).rename(columns={"path": "image", "label": "choice"}).assign(id=range(4), annotator=1).to_csv(
        root / "export.csv", index=False
    )
    return root / "export.csv"


class _MapStyle:
    """A dataset as PyTorch's: no list, but with a length and items."""

    classes = ("dog", "cat")

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, index):
        return Image.fromarray(PIXELS[index]), self.classes.index(LABELS[index])


class _WithTargets(_MapStyle):
    """As in torchvision: labels are known without reading images."""

    targets = tuple(map(_MapStyle.classes.index, LABELS))


FORMS = {
    "a class folder": _folder,
    "a CSV file": _csv,
    "a Parquet file": _parquet,
    "an .npz file with x and y": _npz,
    "a zip, tar, tar.gz or tar.bz2 of a class folder": _zip,
    "TFRecord files": _records,
    "WebDataset tar shards": _shards,
    "a URL of a class folder in object storage": _memory,
    "a pandas DataFrame": _absolute,
    "a polars DataFrame or pyarrow table": lambda root: _polars(root),
    "a JSON file of labels": lambda root: _json(root, _records_of(root)),
    "a list of pairs (image, label)": lambda root: list(zip(PIXELS, LABELS, strict=True)),
    "a PyTorch dataset of pairs (image, label)": lambda root: _MapStyle(),
    "a datasets.Dataset": _hub,
    "a TFDS dataset with its info": _with_info,
    "a TFDS builder": lambda root: _Builder(),
    "a tf.data.Dataset of images and labels": _tf_data,
    "a keras.utils.PyDataset": _py_dataset,
    "a dictionary of train, val and test": lambda root: {"train": (PIXELS, LABELS)},
    "arrays (x, y)": lambda root: (PIXELS, LABELS),
}
VARIANTS = {
    "a table of pyarrow": _arrow,
    "lines of JSON": lambda root: _json(root, "\n".join(map(json.dumps, _records_of(root))), "labels.jsonl"),
    "COCO": _coco,
    "an export of Label Studio": _label_studio,
    "an export of Label Studio as CSV": _label_studio_csv,
    "pairs of paths": lambda root: list(zip(_absolute(root)["path"], LABELS, strict=True)),
    "a PyTorch dataset with targets": lambda root: _WithTargets(),
    "a stream of the hub": lambda root: _hub(root).to_iterable_dataset(),
    "a tar.gz": _tar,
    "a tar": lambda root: _tar(root, name="data.tar"),
    "a tar with ./": lambda root: _tar(root, {f"./{name}": content for name, content in FILES.items()}, "data.tar"),
    "a zip with a folder around": _wrapped,
    "one shard with JSON": _json_shard,
    "a list of shards": lambda root: sorted(Path(_shards(root)).parent.glob("*.tar")),
    "a tf.data.Dataset of dictionaries": lambda root: _tfds(root).map(
        lambda row: {"image": row["image"], "label": row["label"]}
    ),
    "a dictionary of hub datasets": lambda root: {"train": _hub(root)},
    "a DatasetDict": lambda root: pytest.importorskip("datasets").DatasetDict(train=_hub(root)),
    "a TFDS dictionary with its info": lambda root: ({"train": _tfds(root)}, _Info()),
}


@pytest.mark.parametrize("form", [*FORMS, *VARIANTS])
def test_every_form_holds_the_same_images(form, tmp_path):
    """Each is recognized by its own row, and decoded, hashed and profiled like files."""
    source = {**FORMS, **VARIANTS}[form](tmp_path)
    if form in FORMS:
        assert find_source(source).form == form
    dataset = load_dataset(source)
    if dataset.class_names == ("0", "1"):  # numbers without names: dog is 0
        assert dataset.labels.tolist() == [1, 1, 0, 0]
    else:
        assert dataset.class_names == ("cat", "dog") or form.startswith("a TFDS")
        assert [dataset.class_names[label] for label in dataset.labels] == LABELS
    for item, pixels, png in zip(dataset.items, PIXELS, PNGS, strict=True):
        assert np.array_equal(decode_image(item), pixels)
        if isinstance(item, Encoded) and "PyTorch" not in form:  # which has no files
            (tmp_path / "same.png").write_bytes(png)
            assert content_digest(item) == content_digest(tmp_path / "same.png")
    profile = profile_images(source)
    assert profile.num_images == 4
    assert profile.image_sizes["short_side"]["max"] == 10
    assert len(load_images(source)) == 4


def test_every_row_is_tested_and_documented():
    """The table of sources, its tests and the table in the guide are one list."""
    forms = [row.form for row in SOURCES[1:-1]]
    assert set(forms) == set(FORMS)
    table = PAGE.split("## What it reads")[1].split("\n## ")[0]
    documented = {cell.strip() for cell in re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)}
    assert set(forms) <= documented


def test_images_without_a_label_are_listed(tmp_path):
    """In JSON, an image may be there that nobody has labeled."""
    (tmp_path / "coco").mkdir()
    (tmp_path / "studio").mkdir()
    assert load_dataset(_coco(tmp_path / "coco")).ignored == {"cat/unseen.png": "without a label"}
    assert load_dataset(_label_studio(tmp_path / "studio")).ignored == {"x.png": "without a label"}


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
    path = _coco(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    with pytest.raises(DatasetError, match=re.escape(sentence)):
        load_dataset(_json(tmp_path, content))
    with pytest.raises(DatasetError, match=r"Expected a JSON file of labels\. Received: .* Fix the file\."):
        load_dataset(_json(tmp_path, "path,label"))


def test_a_dataset_of_tensors_is_refused():
    """Their scale is unknown: the sentence says what to do."""

    class Tensors(_WithTargets):
        def __getitem__(self, index):
            return PIXELS[index].transpose(2, 0, 1) / 255, 0

    with pytest.raises(UnreadableImage, match="Transpose the images"):
        decode_image(load_dataset(Tensors()).items[0])


@pytest.mark.parametrize(
    "source",
    [PNGS[0], PNGS, Image.open(io.BytesIO(PNGS[0])), [Image.fromarray(pixels) for pixels in PIXELS], list(PIXELS)],
    ids=["bytes", "a list of bytes", "an image of Pillow", "images of Pillow", "arrays"],
)
def test_images_to_predict_may_be_in_memory(source):
    """One or several, as a server receives them."""
    dataset = load_images(source)
    assert np.array_equal(decode_image(dataset.items[0]), PIXELS[0])
    assert len(dataset) == (len(source) if isinstance(source, list) else 1)


def test_parts_keep_their_splits(tmp_path):
    """The classes are those of all parts together; the name of an image tells its part."""
    few = (PIXELS[:2], ["cat", "elk"])
    dataset = load_dataset({"train": _zip(tmp_path), "validation": few, "test": few}, for_training=False)
    assert dataset.class_names == ("cat", "dog", "elk")
    assert dataset.split == ("train",) * 4 + ("val",) * 2 + ("test",) * 2
    assert dataset.labels.tolist() == [0, 0, 1, 1, 0, 2, 0, 2]
    assert dataset.names[0] == "train/cat/0.png"
    numbers = {"train": (PIXELS, [10, 10, 2, 2]), "test": (PIXELS[:1], [2])}
    assert load_dataset(numbers).class_names == ("2", "10")
    inner = _zip(tmp_path, {f"{part}/{name}": content for part in ("train", "test") for name, content in FILES.items()})
    whole = load_dataset({"train": inner, "test": few}, for_training=False)
    assert whole.split == ("train",) * 8 + ("test",) * 2
    assert whole.notes == ("The whole part 'train' is taken as such, also its images called 'test' there.",)
    for wrong in ({}, {"test": few}, {"train": few, "unsupervised": few}):
        with pytest.raises(DatasetError, match="dictionary with train"):
            load_dataset(wrong)


def test_splits_in_an_archive_are_respected(tmp_path):
    """As in folders. Other files are listed as ignored."""
    files = {f"{part}/{name}": content for part in ("train", "test") for name, content in FILES.items()}
    dataset = load_dataset(_zip(tmp_path, files | {"readme.md": b"x", "train/cat/.x.png": b"x"}))
    assert dataset.split == ("test",) * 4 + ("train",) * 4
    assert tuple(dataset.ignored) == ("readme.md", "train/cat/.x.png")


def test_labels_of_records_and_shards_may_be_numbers(tmp_path):
    """Whole numbers are sorted as numbers, even if they are text."""
    number = lambda tf, text: {"image/class/label": tf.train.Int64List(value=[{"cat": 10, "dog": 9}[text]])}  # noqa: E731
    assert load_dataset(_records(tmp_path, number)).class_names == ("9", "10")
    files = {}
    for index, label in enumerate([b"10\n", b"10", b"9", b"9"]):
        files |= {f"{index}.png": PNGS[index], f"{index}.cls": label}
    files |= {"4.png": PNGS[0], "5.cls": b"9", "note.md": b"x"}
    dataset = load_dataset(_tar(tmp_path, files, "numbers.tar"))
    assert dataset.class_names == ("9", "10")
    assert tuple(dataset.ignored) == ("4.png", "5.cls", "note.md")


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
        (lambda root: _zip(root, {"../cat/0.png": b""}), "leads out"),
        (lambda root: _zip(root, {"/cat/0.png": b""}), "leads out"),
        (lambda root: _zip(root, {"C:\\cat\\0.png": b""}), "leads out"),
        (lambda root: _cut(_zip(root)), "Create it again"),
        (lambda root: _cut(_tar(root)), "Create it again"),
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
        (lambda root: _tar(root, {"0.png": PNGS[0], "0.json": b"[1"}, "a.tar"), "Expected a class in"),
        (lambda root: _tar(root, {"0.png": PNGS[0], "0.json": b"{}"}, "a.tar"), "0 of the keys"),
        (lambda root: _tar(root, {"0.png": PNGS[0], "0.cls": b"\xff"}, "a.tar"), "Expected a class in"),
        (lambda root: _records(root, lambda tf, text: {}), "one image/encoded and one"),
    ],
)
def test_what_cannot_be_read_is_refused_with_one_line(make, sentence, tmp_path):
    """Damage, links, devices, and names that lead out of an archive."""
    with pytest.raises(DatasetError, match=sentence) as caught:
        load_dataset(make(tmp_path))
    assert re.fullmatch(r"Expected .* Received: .*\.", str(caught.value))


@pytest.mark.parametrize("make", [_zip, _tar, lambda root: _tar(root, name="data.tar"), _npz])
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
    before = sorted(os.listdir(Path(_tar(tmp_path)).parent))
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
    [("pyarrow", _parquet, "pip install pyarrow"), ("fsspec", _memory, "pip install 'transfer-advisor")],
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
    dataset = load_dataset(_zip(tmp_path, FILES | {"cat/bad.png": b"not an image"}))
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
        (_tfds(None).map(_image), "'image'"),
    ):
        with pytest.raises(DatasetError, match=sentence):
            load_dataset(source)


def test_hidden_labels_of_tfds_are_refused():
    """They are -1, which has no name."""
    hidden = _tfds(None).map(lambda row: {"image": row["image"], "label": row["label"] - 1})
    with pytest.raises(DatasetError, match="labels from -1 to 0"):
        load_dataset((hidden, _Info()))


def _image(row):
    return {"image": row["image"]}


def test_hub_datasets_of_another_shape_are_refused():
    """Without a class or an image column there is nothing to learn, and a generator names no columns."""
    datasets = pytest.importorskip("datasets")
    with pytest.raises(DatasetError, match="streaming=False"):
        load_dataset(datasets.IterableDataset.from_generator(lambda: iter([{"image": None, "label": 1}])))
    with pytest.raises(DatasetError, match="one Image column"):
        load_dataset(datasets.Dataset.from_dict({"text": ["a", "b"]}))


class Image_:  # noqa: N801 (a stand-in, whose name is changed below)
    """A stand-in for `datasets.Image`."""

    def __init__(self, decode=True):
        self.decode = decode


class _Hub:
    """A stand-in for `datasets.Dataset`, as far as it is used."""

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    def __len__(self):
        return len(self.columns["image"])

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        assert not self.features["image"].decode
        return {name: column[key] for name, column in self.columns.items()}

    def select_columns(self, names):
        return _Hub({name: self.columns[name] for name in names}, {name: self.features[name] for name in names})

    def cast_column(self, name, feature):
        return _Hub(self.columns, self.features | {name: feature})


Image_.__name__, _Hub.__module__ = "Image", "datasets.arrow_dataset"


def test_the_hub_needs_no_package(tmp_path):
    """Images are bytes or paths. Labels without names are text or numbers. A row without an image is unreadable."""
    (tmp_path / "1.png").write_bytes(PNGS[1])
    cells = [{"bytes": png, "path": None} for png in PNGS[:1]] + [{"bytes": None, "path": str(tmp_path / "1.png")}]
    columns = {"image": [*cells, {"bytes": PNGS[2], "path": "x.png"}, None], "labels": [10, 9, 10, 9]}
    dataset = load_dataset(_Hub(columns, {"image": Image_(), "labels": object()}))
    assert dataset.class_names == ("9", "10")
    for item, pixels in zip(dataset.items[:3], PIXELS, strict=False):
        assert np.array_equal(decode_image(item), pixels)
    with pytest.raises(UnreadableImage, match="no image in this row"):
        decode_image(dataset.items[3])
    with pytest.raises(DatasetError, match="first in row 2"):
        load_dataset(_Hub(columns | {"labels": ["a", None, "b", "b"]}, {"image": Image_(), "labels": object()}))
