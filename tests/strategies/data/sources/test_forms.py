"""Every form of a dataset is recognized and read, and gives the same images."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from source_forms import (
    FILES,
    FORMS,
    LABELS,
    PIXELS,
    PNGS,
    VARIANTS,
    coco,
    label_studio,
    tar_file,
    tfrecords,
    zip_file,
)
from support import ROOT

from advisor.measure.profile import profile_images
from strategies.data.decoding import decode_image
from strategies.data.digests import content_digest
from strategies.data.encoded import Encoded, UnreadableImage
from strategies.data.loading import load_dataset, load_images
from strategies.data.sources.forms import SOURCES, find_source
from strategies.errors import DatasetError

PAGE = (ROOT / "docs" / "guides" / "your-data.md").read_text(encoding="utf-8")


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
    assert load_dataset(coco(tmp_path / "coco")).ignored == {"cat/unseen.png": "without a label"}
    assert load_dataset(label_studio(tmp_path / "studio")).ignored == {"x.png": "without a label"}


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
    dataset = load_dataset({"train": zip_file(tmp_path), "validation": few, "test": few}, for_training=False)
    assert dataset.class_names == ("cat", "dog", "elk")
    assert dataset.split == ("train",) * 4 + ("val",) * 2 + ("test",) * 2
    assert dataset.labels.tolist() == [0, 0, 1, 1, 0, 2, 0, 2]
    assert dataset.names[0] == "train/cat/0.png"
    numbers = {"train": (PIXELS, [10, 10, 2, 2]), "test": (PIXELS[:1], [2])}
    assert load_dataset(numbers).class_names == ("2", "10")
    inner = zip_file(
        tmp_path, {f"{part}/{name}": content for part in ("train", "test") for name, content in FILES.items()}
    )
    whole = load_dataset({"train": inner, "test": few}, for_training=False)
    assert whole.split == ("train",) * 8 + ("test",) * 2
    assert whole.notes == ("The whole part 'train' is taken as such, also its images called 'test' there.",)
    for wrong in ({}, {"test": few}, {"train": few, "unsupervised": few}):
        with pytest.raises(DatasetError, match="dictionary with train"):
            load_dataset(wrong)


def test_splits_in_an_archive_are_respected(tmp_path):
    """As in folders. Other files are listed as ignored."""
    files = {f"{part}/{name}": content for part in ("train", "test") for name, content in FILES.items()}
    dataset = load_dataset(zip_file(tmp_path, files | {"readme.md": b"x", "train/cat/.x.png": b"x"}))
    assert dataset.split == ("test",) * 4 + ("train",) * 4
    assert tuple(dataset.ignored) == ("readme.md", "train/cat/.x.png")


def test_labels_of_records_and_shards_may_be_numbers(tmp_path):
    """Whole numbers are sorted as numbers, even if they are text."""
    number = lambda tf, text: {"image/class/label": tf.train.Int64List(value=[{"cat": 10, "dog": 9}[text]])}  # noqa: E731
    assert load_dataset(tfrecords(tmp_path, number)).class_names == ("9", "10")
    files = {}
    for index, label in enumerate([b"10\n", b"10", b"9", b"9"]):
        files |= {f"{index}.png": PNGS[index], f"{index}.cls": label}
    files |= {"4.png": PNGS[0], "5.cls": b"9", "note.md": b"x"}
    dataset = load_dataset(tar_file(tmp_path, files, "numbers.tar"))
    assert dataset.class_names == ("9", "10")
    assert tuple(dataset.ignored) == ("4.png", "5.cls", "note.md")


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
