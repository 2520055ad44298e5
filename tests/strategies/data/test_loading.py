"""Datasets of every form are read as the same values."""

import os
import socket
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from advisor.measure.profile import profile_dataset
from strategies.data.decoding import decode_image, decode_images
from strategies.data.encoded import UnreadableImage
from strategies.data.loading import load_dataset, load_images
from strategies.errors import DatasetError


def _save(path, color="red", size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(options.pop("mode", "RGB"), size, color).save(path, **options)
    return path


def _folder(root, **classes):
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            _save(root / name / f"{index}.png", (index, len(classes), 0))
    return root


def test_a_class_folder_is_read_in_sorted_order(tmp_path):
    """Classes are sorted as text. Files in deeper folders count, and suffixes in upper or lower case."""
    root = _folder(tmp_path, dog=2, cat=2)
    _save(root / "cat" / "more" / "9.JPG")
    dataset = load_dataset(str(root))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.names == ("cat/0.png", "cat/1.png", "cat/more/9.JPG", "dog/0.png", "dog/1.png")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.labels.dtype == np.int64
    assert dataset.source == str(root)
    assert dataset.split is None


def test_what_is_not_used_is_named(tmp_path):
    """Images without a class, hidden files and links to folders are listed as ignored."""
    root = _folder(tmp_path / "data", cat=2, dog=2)
    for name in ("cat/notes.txt", "cat/photo.heic", "cat/.hidden.png", "dog/Thumbs.db", ".git/config", "readme.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("text")
    _save(root / "loose.png")
    (root / "dog" / "link").symlink_to(_folder(tmp_path / "elsewhere", elk=2), target_is_directory=True)
    dataset = load_dataset(root)
    images = ("cat/.hidden.png", "cat/notes.txt", "cat/photo.heic", "dog/Thumbs.db", "dog/link", "loose.png")
    assert tuple(dataset.ignored) == (".git/config", *images, "readme.md")
    assert len(dataset) == 4


@pytest.mark.parametrize("names", [("train", "val", "test"), ("train", "valid"), ("Train", "validation"), ("train",)])
def test_a_split_in_the_folders_is_respected(tmp_path, names):
    """Classes are the union over the parts."""
    for name in names:
        _folder(tmp_path / name, cat=2, dog=2)
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    parts = ["train", "test" if "test" in names else "val", "val"][: len(names)]
    assert Counter(dataset.split) == dict.fromkeys(parts, 4)


def test_split_folders_beside_class_folders_are_refused(tmp_path):
    """Otherwise train and test would silently become classes."""
    for name in ("train", "test", "extra"):
        _folder(tmp_path / name, cat=2, dog=2)
    with pytest.raises(DatasetError, match="'extra', 'test', 'train'"):
        load_dataset(tmp_path)


def test_a_class_that_is_called_train_is_a_class(tmp_path):
    """Such as for the vehicles bus and train."""
    assert load_dataset(_folder(tmp_path, train=2, bus=2)).class_names == ("bus", "train")


def test_tables_keep_labels_as_text_and_paths_relative_to_the_csv(tmp_path):
    """'01' and 'NA' are class names; split and group are read if they exist."""
    _folder(tmp_path, a=4)
    (tmp_path / "table.csv").write_text(
        "path, label, split, group\n"
        "a/0.png,01,train,p1\na/1.png,NA,validation,p1\na/2.png,01,test,p2\na/3.png,NA,train,p3\n"
    )
    dataset = load_dataset(tmp_path / "table.csv")
    assert dataset.class_names == ("01", "NA")
    assert dataset.split == ("train", "val", "test", "train")
    assert dataset.group == ("p1", "p1", "p2", "p3")
    assert dataset.items[0] == tmp_path / "a" / "0.png"
    assert dataset.names[0] == "a/0.png"


def test_a_data_frame_may_name_its_columns_and_its_root(tmp_path):
    """Integer labels of a table are sorted as text, like folders. An empty split column counts as no split."""
    _folder(tmp_path, a=4)
    frame = pd.DataFrame({"file": [f"a/{i}.png" for i in range(4)], "species": [10, 9, 10, 9], "split": None})
    dataset = load_dataset(frame, path_column="file", label_column="species", root=tmp_path)
    assert dataset.class_names == ("10", "9")
    assert dataset.split is None
    assert all(path.is_file() for path in dataset.items)


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        ([10, 2, 2, 10], ("2", "10"), [1, 0, 0, 1]),
        (["b", "a", "a", "b"], ("a", "b"), [1, 0, 0, 1]),
        ([b"b", b"a", b"a", b"b"], ("a", "b"), [1, 0, 0, 1]),
        ([[1], [0], [0], [1]], ("0", "1"), [1, 0, 0, 1]),
        ([1.0, 0.0, 0.0, 1.0], ("0", "1"), [1, 0, 0, 1]),
        ([[0, 1], [1, 0], [1, 0], [0, 1]], ("0", "1"), [1, 0, 0, 1]),
    ],
    ids=["numbers", "text", "bytes", "column", "whole floats", "one-hot"],
)
def test_labels_of_arrays_come_in_many_forms(labels, names, indices):
    """Numbers keep their order, so labels 0 to n - 1 are the indices."""
    dataset = load_dataset((np.zeros((4, 8, 8), dtype="uint8"), labels))
    assert dataset.class_names == names
    assert dataset.labels.tolist() == indices
    assert dataset.names[3] == "image 3"


@pytest.mark.parametrize("batched", [True, False])
def test_tf_data_is_read_once_batched_or_not(batched):
    """Also with an unknown length. Values and labels stay the same."""
    import tensorflow as tf

    x = np.random.default_rng(0).uniform(0, 255, (7, 8, 9, 3)).astype("float32")
    y = np.array([0, 1, 0, 1, 0, 1, 0])
    source = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda image, label: True)
    dataset = load_dataset(source.batch(3) if batched else source)
    assert np.array_equal(np.stack(dataset.items), x)
    assert dataset.items[0].dtype == np.float32
    assert dataset.labels.tolist() == y.tolist()
    assert len(load_images(source.batch(2))) == len(load_images(source.map(lambda image, label: image))) == 7


def test_endless_or_unlabeled_tf_data_is_refused():
    """Reading would never end, or there would be no labels to learn from."""
    import tensorflow as tf

    x = np.zeros((4, 8, 8, 3), "uint8")
    with pytest.raises(DatasetError, match="repeats forever"):
        load_dataset(tf.data.Dataset.from_tensor_slices((x, [0, 1, 0, 1])).repeat())
    with pytest.raises(DatasetError, match="pairs"):
        load_dataset(tf.data.Dataset.from_tensor_slices(x))


@pytest.mark.parametrize(
    "labels", [[[1, 1], [0, 1], [1, 0], [1, 0]], [{"a"}, {"a"}, {"b"}, {"b"}], [["a"], ["a", "b"], ["b"], ["b"]]]
)
def test_several_labels_per_image_are_refused(labels, tmp_path):
    """In arrays and in tables alike."""
    with pytest.raises(DatasetError, match="one label per image"):
        load_dataset((np.zeros((4, 8, 8, 3), dtype="uint8"), labels))
    _folder(tmp_path, a=4)
    frame = pd.DataFrame({"path": [f"a/{i}.png" for i in range(4)], "label": labels})
    with pytest.raises(DatasetError, match="one label per image"):
        load_dataset(frame, root=tmp_path)
    twice = pd.DataFrame({"path": ["a/0.png", "a/../a/0.png", "a/1.png", "a/2.png"], "label": ["x", "y", "x", "y"]})
    with pytest.raises(DatasetError, match="'x' and 'y'"):
        load_dataset(twice, root=tmp_path)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.full((4, 8, 8, 3), 0.5), "Multiply the images by 255"),
        (np.full((4, 8, 8, 3), -1), "from -1 to -1"),
        (np.full((4, 8, 8, 3), 256), "from 256"),
        (np.full((4, 8, 8, 3), np.nan), "nan"),
        (np.zeros((4, 8, 8, 17), "uint8"), "(8, 8, 17)"),
        (np.zeros((8, 8, 3), "uint8"), "Use the first dimension for the images"),
        (np.zeros((4, 8, 8), bool), "bool"),
    ],
)
def test_arrays_that_are_not_pixels_of_0_to_255_are_refused(images, sentence):
    """The message says what to do; no scale is guessed."""
    with pytest.raises(DatasetError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        load_dataset((images, [0, 0, 1, 1]))


def test_dark_integer_images_are_accepted():
    """A uint8 image may be black; a list may hold images of several sizes."""
    dark = np.zeros((4, 8, 8, 1), "uint8")
    assert len(load_dataset((dark, [0, 0, 1, 1]))) == 4
    assert len(load_dataset(([dark[0], dark[1, :4], dark[2, ..., 0], dark[3]], [0, 0, 1, 1]))) == 4


def _csv(text):
    def write(root):
        _folder(root, a=2)
        (root / "table.csv").write_text(text)
        return root / "table.csv"

    return write


def _file(root):
    return _save(root / "photo.png")


def _loose(root):
    return _save(root / "photo.png").parent


def _untrained(root):
    _folder(root / "train", cat=2, dog=2)
    _folder(root / "test", cat=2, elk=2)
    return root


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: root / "nowhere", "does not exist"),
        (lambda root: 3, "int"),
        (lambda root: root, "one sub-folder per class"),
        (_file, "an image. Give the folder"),
        (_loose, "1 images outside of class folders"),
        (lambda root: _folder(root, cat=0, dog=0), "no image"),
        (lambda root: _folder(root, cat=2, dog=2, elk=0), "'elk'"),
        (lambda root: _folder(root, cat=2), "one class, 'cat'"),
        (lambda root: _folder(root, cat=2, dog=1), "only one image of 'dog'"),
        (_untrained, "none of 'elk' in the train split"),
        (_csv("photo,label\na/0.png,x\n"), "path_column"),
        (_csv("path,label\nb/0.png,x\n"), "b/0.png"),
        (_csv("path,label\na/0.png,x\na/1.png,\n"), "first in row 2"),
        (_csv("path,label,split\na/0.png,x,train\na/1.png,y,\n"), "'split'"),
        (_csv("path,label,split\na/0.png,x,train\na/1.png,y,later\n"), "'later'"),
        (_csv(""), "Fix the file"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_one_line(make, sentence, tmp_path):
    """What was received, what was expected and what to do."""
    with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
        load_dataset(make(tmp_path))
    assert sentence in str(caught.value)


def test_options_that_would_have_no_effect_are_refused(photos):
    """Columns and root belong to tables."""
    for options in ({"root": photos}, {"label_column": "species"}):
        with pytest.raises(DatasetError, match="no effect"):
            load_dataset(photos, **options)


def test_unlabeled_images_come_from_a_folder_a_list_or_arrays(photos):
    """All labels become -1."""
    dataset = load_dataset(photos)
    sources = [photos, list(dataset.items), decode_images(dataset.items, 16), dataset, decode_images(dataset.items, 9)]
    for source in sources:
        found = load_images(source)
        assert len(found) == len(dataset) == 40
        assert found.class_names == ()
        assert set(found.labels.tolist()) == {-1}
    for nothing in ([], [photos / "nowhere.png"], photos / "nowhere"):
        with pytest.raises(DatasetError):
            load_images(nothing)


def test_a_dataset_is_returned_as_it_is_and_a_subset_keeps_the_order(photos):
    """Every column follows the indices."""
    dataset = replace(load_dataset(photos), group=tuple(str(index) for index in range(40)))
    assert load_dataset(dataset) is dataset
    part = dataset.subset(np.array([30, 2]))
    assert part.labels.tolist() == [1, 0]
    assert part.group == ("30", "2")
    assert part.items == [dataset.items[30], dataset.items[2]]
    assert part.split is None


def test_links_are_followed_only_when_asked(tmp_path):
    """A link to a file inside the folder is a file. Folders that are linked in a circle are read once."""
    outside = _folder(tmp_path / "outside", elk=2)
    root = _folder(tmp_path / "data", cat=2, dog=2)
    (root / "cat" / "inside.png").symlink_to(root / "dog" / "0.png")
    (root / "cat" / "outside.png").symlink_to(outside / "elk" / "0.png")
    (root / "cat" / "circle").symlink_to(root, target_is_directory=True)
    (root / "elk").symlink_to(outside / "elk", target_is_directory=True)
    dataset = load_dataset(root)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.names == ("cat/0.png", "cat/1.png", "cat/inside.png", "dog/0.png", "dog/1.png")
    assert tuple(dataset.ignored) == ("cat/circle", "cat/outside.png", "elk")
    followed = load_dataset(root, follow_links=True)
    assert followed.class_names == ("cat", "dog", "elk")
    assert "cat/outside.png" in followed.names
    assert tuple(followed.ignored) == ("cat/circle",)
    assert len(followed) == 8
    with pytest.raises(DatasetError, match="'follow_links' for arrays"):
        load_dataset((np.zeros((4, 8, 8), dtype="uint8"), [0, 0, 1, 1]), follow_links=True)


def test_pipes_sockets_and_devices_are_never_opened(tmp_path):
    """In a folder they are listed as ignored; in a table or a list they are refused."""
    root = _folder(tmp_path / "data", cat=2, dog=2)
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "dog" / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(root / "cat" / "s.png"))
    assert tuple(load_dataset(root).ignored) == ("cat/pipe.png", "cat/s.png", "dog/device.png")
    assert load_dataset(root, follow_links=True).ignored.keys() == load_dataset(root).ignored.keys()
    for path, kind in ((root / "cat" / "pipe.png", "a pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(UnreadableImage, match=kind):
            decode_image(path)
    for suffix in (".csv", ".parquet", ".zip", ".tar", ".tgz", ".npz", ".tfrecord"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        with pytest.raises(DatasetError, match="another kind of file"):
            load_dataset(tmp_path / f"pipe{suffix}")


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
FILE_NAMES = st.one_of(NAMES, NAMES.map(lambda name: f"{name}.png"), NAMES.map(lambda name: f".{name}.JPG"))
PLACES = st.lists(NAMES, max_size=3).filter(lambda parts: not {".", ".."} & set(parts))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(files=st.lists(st.tuples(PLACES, FILE_NAMES, st.sampled_from(["image", "text", "link", "pipe"])), max_size=12))
def test_every_file_is_used_or_unreadable_or_ignored(files):
    """Whatever the files are and whatever their names are, none is skipped silently."""
    with tempfile.TemporaryDirectory() as folder:
        root = _folder(Path(folder, "data"), one=2, two=2)
        for place, name, kind in files:
            path = root.joinpath(*place, name)
            try:
                if os.path.lexists(path):  # a pipe too, which would wait for a reader
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                match kind:
                    case "image":
                        Image.new("RGB", (4, 4)).save(path, "PNG")
                    case "text":
                        path.write_text("text")
                    case "link":
                        path.symlink_to(root / "one" / "0.png")
                    case "pipe":
                        os.mkfifo(path)
            except (OSError, ValueError):  # a file is where a folder should be, or the name is too long
                continue
        there = sum(not entry.is_dir() or entry.is_symlink() for entry in root.rglob("*"))
        dataset = load_dataset(root, for_training=False)
        assert len(dataset) + len(dataset.ignored) == there
        try:
            profile = profile_dataset(dataset, max_unreadable=1)[0]
        except DatasetError:  # a class without a readable image
            return
        assert profile.num_images + len(profile.unreadable) + len(profile.ignored) == there
