"""Folders as people have them: each is read as it was meant, or refused with a sentence that names the way on."""

import os
from collections import Counter

import numpy as np
import pytest
from pictures import fill, picture

import advisor
from advisor.report.terminal import plain
from advisor.report.text import profile_parts
from strategies.data.loading import load_dataset
from strategies.errors import DatasetError
from strategies.runs.prediction import find_images


def _classes(*names, ext=".jpg", count=4):
    def build(root):
        for kind, name in enumerate(names):
            fill(root / name, count, kind, ext)
        return root

    return build


def _splits(**names):
    """Folders of splits, each with the classes a and b, or with those named by a list."""

    def build(root):
        for part, (split, classes) in enumerate(names.items()):
            _classes(*classes)(root / split.replace("__", "/"))
            assert part < 4
        return root

    return build


def _renamed(root, ext):
    for path in root.rglob("*.jpg"):
        path.rename(path.with_suffix(ext))
    return root


AB = ("a", "b")
READ = {  # builder -> classes, and images per split
    "Training and Testing": (_splits(Training=AB, Testing=AB), AB, {"train": 8, "test": 8}),
    "TRAIN and Validation": (_splits(TRAIN=AB, Validation=AB), AB, {"train": 8, "val": 8}),
    "train, dev and eval": (_splits(train=AB, dev=AB, eval=AB), AB, {"train": 8, "val": 8, "test": 8}),
    "words around the split": (_splits(seg_train=AB, seg_test=AB), AB, {"train": 8, "test": 8}),
    "years": (_splits(train2017=AB, val2017=AB), AB, {"train": 8, "val": 8}),
    "a folder of the same name inside": (
        _splits(seg_train__seg_train=AB, seg_test__seg_test=AB), AB, {"train": 8, "test": 8},
    ),
    "one inside only one split": (_splits(train__train=AB, test=AB), AB, {"train": 8, "test": 8}),
    "a folder inside each split": (_splits(train__images=AB, test__images=AB), AB, {"train": 8, "test": 8}),
    "Kaggle's names of sets": (
        _splits(training_set__training_set=AB, test_set__test_set=AB), AB, {"train": 8, "test": 8},
    ),
    "one folder too high": (lambda root: _classes("cat", "dog")(root / "photos").parent, ("cat", "dog"), None),
    "two folders too high": (lambda root: _splits(train=AB, test=AB)(root / "x/y").parent.parent, AB,
                             {"train": 8, "test": 8}),
    "nested": (_classes("animal/cat", "animal/dog", "plant/oak", "plant/rose"), ("animal", "plant"), None),
    "a class called train": (_classes("bus", "train"), ("bus", "train"), None),
    "trains": (_classes("freight_train", "passenger_train"), ("freight_train", "passenger_train"), None),
    "numbers": (_classes("1", "2", "10"), ("1", "10", "2"), None),
    "many": (_classes(*(f"class {index:03d}" for index in range(60)), count=2), None, None),
    "odd names": (
        _classes("two words", "\U0001f98a", "\u05d7\u05ea", "{x} 100%", "<b>", "a|b", "-dash", "new\nline", "'quote\""),
        None, None,
    ),
    "jfif": (_classes("cat", "dog", ext=".jfif"), ("cat", "dog"), None),
    "jpe": (lambda root: _renamed(_classes("cat", "dog")(root), ".JPE"), ("cat", "dog"), None),
    "no suffix": (_classes("cat", "dog", ext=""), ("cat", "dog"), None),
    "upper case": (_classes("cat", "dog", ext=".JPG"), ("cat", "dog"), None),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_folder_is_read_as_it_was_meant(name, tmp_path):
    """All of its images are used, under the right classes and splits."""
    build, classes, splits = READ[name]
    root = build(tmp_path / "data")
    dataset = load_dataset(root)
    there = sum(path.is_file() for path in root.rglob("*"))
    assert len(dataset) == there
    assert not dataset.ignored
    assert classes is None or dataset.class_names == classes
    assert splits == (dataset.split and dict(Counter(dataset.split)))
    for image, label in zip(dataset.names, dataset.labels, strict=True):
        assert dataset.class_names[label] in image.split("/")


def _bytes(content, *names):
    def build(root):
        fill(root / "cat", 4, 0)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return build


def _linked(root):
    for kind, name in enumerate(("cat", "dog")):
        fill(root.parent / "blobs" / name, 4, kind)
        (root / name).mkdir(parents=True)
        for blob in (root.parent / "blobs" / name).iterdir():
            (root / name / blob.name).symlink_to(blob)
    return root


def _linked_folders(root):
    _classes("cat", "dog")(root.parent / "elsewhere")
    root.mkdir()
    for name in ("cat", "dog"):
        (root / name).symlink_to(root.parent / "elsewhere" / name, target_is_directory=True)
    return root


def _with(build, **files):
    def more(root):
        root = build(root)
        for folder, count in files.items():
            fill(root / folder.replace("__", "/"), count, 1, start=50)
        return root

    return more


def _flat_prefix(root):
    for kind, name in enumerate(("cat", "dog")):
        root.mkdir(exist_ok=True)
        for index in range(3):
            picture(kind, index).save(root / f"{name}.{index}.jpg")
    return root


def _metadata(root):
    fill(root / "train", 4, 0)
    (root / "train" / "metadata.csv").write_text("file_name,label\n000.jpg,cat\n")
    return root


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)
REFUSED = {  # builder, parts of the message
    "split words around other words": (
        _classes("cat_train", "cat_test", "dog_train", "dog_test"), ("'cat_train', 'dog_train'", "mean train"),
    ),
    "two folders for one split": (_splits(train=AB, val=AB, dev=AB), ("'dev', 'val'", "mean val")),
    "splits without train": (_splits(val=AB, test=AB), ("Expected a train split", "'test', 'val'")),
    "splits and a third folder": (
        _splits(seg_train=AB, seg_test=AB, seg_pred=("x",)), ("Move 'seg_pred' away",),
    ),
    "spelling": (_splits(train=("Cats", "Dogs"), test=("cats", "dogs")), ("'Cats' in the train", "'cats' in another")),
    "spelling with spaces": (_splits(train=("red fox", "dog"), test=("Red_Fox ", "dog")), ("'red fox'", "'Red_Fox '")),
    "a class only in test": (_splits(train=AB, test=("a", "b", "c")), ("none of 'c' in the train split",)),
    "links": (_linked, ("fewer of 'cat', 'dog'", "link that leads out of the folder: 8", "--follow-links")),
    "links to class folders": (_linked_folders, ("link to a folder: 2", "--follow-links")),
    "a link to a class folder": (_with(_linked_folders, fox=3), ("one, 'fox', and 'cat', 'dog'", "--follow-links")),
    "one folder too high, with a cover": (
        lambda root: _saved(_classes("x/cat", "x/dog")(root), "cover.jpg").parent,
        ("'x', whose sub-folders 'cat', 'dog'",),
    ),
    "HEIC": (_bytes(HEIC, "dog/1.HEIC", "dog/2.HEIC"), ("fewer of 'dog'", "HEIC photo .HEIC: 2", "*.HEIC'")),
    "HEIC beside one image": (_with(_bytes(HEIC, "dog/1.heic"), dog=1), ("fewer of 'dog'", "HEIC photo .heic: 1")),
    "raw": (_bytes(b"II*\0", "dog/1.NEF"), ("raw photo .NEF: 1", "jpg *.NEF")),
    "videos": (_bytes(b"\0\0\0\x18ftypmp42", "walk/1.mp4", "run/1.mp4"), ("video .mp4: 2", "ffmpeg")),
    "PPM": (_bytes(b"P6 1 1 255\n\0\0\0", "dog/1.ppm", "dog/2.ppm"), ("Netpbm image .ppm: 2",)),
    "text only": (_bytes(b"text", "dog/1.foo"), ("not an image .foo: 1", "end in .jpg")),
    "no folder at all": (lambda root: _saved(_made(root), "1.heic").parent, ("none, and files that are", ".heic: 1")),
    "an empty class": (lambda root: _made(_classes("cat", "dog")(root) / "horse").parent, ("no image of 'horse'",)),
    "a class of one image": (_with(_classes("cat", "dog"), fox=1), ("only one image of 'fox'",)),
    "classes in the names": (_flat_prefix, ("6 images outside of class folders", "a folder for each class")),
    "classes in the names, in train": (lambda root: _flat_prefix(_made(root) / "train").parent, ("6 images outside",)),
    "a table in the folder": (_metadata, ("'train/metadata.csv' names the classes, give its path",)),
}  # fmt: skip


def _made(root):
    root.mkdir()
    return root


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_in_doubt_is_refused_with_the_way_on(name, tmp_path):
    """In one sentence on what was expected, what was received, and what to do."""
    build, parts = REFUSED[name]
    with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
        load_dataset(build(tmp_path / "data"))
    for part in parts:
        assert part in str(caught.value)


def test_the_split_is_shown(tmp_path):
    """With its sizes, and whose it is: the user's, drawn at random, or a part of each."""
    for names, text in (
        ({"train": AB, "valid": AB, "test": AB}, "8 / 8 / 8 images (train / val / test), your split"),
        ({"train": AB, "test": AB}, "your test images, val taken from your train images at random"),
        ({}, "images (train / val / test), split at random"),
    ):
        root = tmp_path / str(len(names))
        profile = advisor.profile_images((_splits(**names) if names else _classes(*AB, count=8))(root))
        assert text in plain(profile_parts(profile))
        assert type(profile).from_dict(profile.to_dict()) == profile


def test_an_unlabeled_test_folder_is_no_test_split(tmp_path):
    """Its images are not used, and the reason says why."""
    root = _with(_splits(train=AB), test=3)(tmp_path / "data")
    dataset = load_dataset(root)
    assert set(dataset.split) == {"train"}
    reason = "directly in 'test', so without a class, and no test split is read from there"
    assert set(dataset.ignored.values()) == {reason}
    assert f"Files that are not used: 3 ({reason}: 3)" in plain(profile_parts(advisor.profile_images(root)))


def test_nested_classes_are_a_caution(tmp_path):
    """Every class has sub-folders of its own; sub-folders of the same names are no classes."""
    nested = READ["nested"][0](tmp_path / "nested")
    assert "animal/cat, animal/dog, plant/oak, plant/rose. If these are" in plain(
        profile_parts(advisor.profile_images(nested))
    )
    for number, folders in enumerate((["cat/day", "cat/night", "dog/day", "dog/night"], ["cat/images", "dog/photos"])):
        profile = advisor.profile_images(_classes(*folders)(tmp_path / str(number)))
        assert "nested_classes" not in {finding.code for finding in profile.findings}


def test_each_unused_file_has_a_true_reason(tmp_path):
    """Results of this package, hidden files, files of the system, links and pipes."""
    root = _classes("cat", "dog")(tmp_path / "data")
    reasons = {
        ".DS_Store": "hidden",
        "Thumbs.db": "not an image .db",
        "cat/.ipynb_checkpoints/000.jpg": "hidden",
        "cat/._000.jpg": "hidden",
        "cat/desktop.ini": "not an image .ini",
        "cat/LICENSE": "not an image",
        "cat/clip.mov": "video .mov",
        "run/plan.json": "in a folder of results of this package",
        "run/model.keras": "in a folder of results of this package",
    }
    for name in reasons:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"BM, but not an image")
    (root / "dog" / "out.jpg").symlink_to("/etc/hostname")
    os.mkfifo(root / "dog" / "pipe.jpg")
    reasons |= {"dog/out.jpg": "link that leads out of the folder", "dog/pipe.jpg": "pipe, socket or device"}
    dataset = load_dataset(root)
    assert dataset.class_names == ("cat", "dog")
    assert dict(dataset.ignored) == reasons
    finding = next(found for found in advisor.profile_images(root).findings if found.code == "ignored")
    assert {suspect.path: suspect.detail for suspect in finding.suspects} == reasons


def test_patterns_keep_to_their_folder(tmp_path, capsys):
    """Links out of it are not followed, nor are links in a circle; links within it are. What is left out is said."""
    root = _classes("cat", "dog")(tmp_path / "data")
    fill(tmp_path / "outside", 2, 0)
    (root / "cat" / "out.jpg").symlink_to(tmp_path / "outside" / "000.jpg")
    (root / "cat" / "in.jpg").symlink_to(root / "dog" / "000.jpg")
    for number in range(4):
        (root / "cat" / f"circle{number}").symlink_to(root, target_is_directory=True)
    (root / "away").symlink_to(tmp_path / "outside", target_is_directory=True)
    used = sorted(path for path in root.glob("???/*.jpg") if path.name != "out.jpg")
    assert len(used) == 9
    for pattern in ("**/*.jpg", "**/**/*.jp*g", "*/*.jpg", "**", "???"):
        assert find_images(f"{root}/{pattern}") == used
        assert "link that leads out of the folder: 1" in capsys.readouterr().err
    assert find_images(f"{root}/dog/00[01].jpg") == used[-4:-2]
    assert capsys.readouterr().err == ""
    assert find_images(root / "cat" / "out.jpg") == [root / "cat" / "out.jpg"]
    with pytest.raises(DatasetError, match=r"link that leads out of the folder: 1.*cp -rL"):
        find_images(f"{root}/cat/ou*.jpg")


def test_patterns_of_shards_keep_to_their_folder(tmp_path):
    """A shard that is named itself may be a link; one that a pattern finds may not lead out."""
    (tmp_path / "shards").mkdir()
    (tmp_path / "other.tar").write_bytes(bytes(1024))
    (tmp_path / "shards" / "0.tar").symlink_to(tmp_path / "other.tar")
    with pytest.raises(DatasetError, match=r"'.*0.tar', a link that leads out"):
        load_dataset(str(tmp_path / "shards" / "*.tar"))


def _saved(root, name):
    (root / name).write_bytes(b"PK or anything else")
    return root / name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("labels.xlsx", ("a spreadsheet", "Save it as CSV")),
        ("x.npy", ("an array without its labels", "np.savez(path, x=images, y=labels)")),
        ("x.pkl", ("may hold code",)),
        ("photos.7z", ("an archive of another format", "Unpack it")),
        ("photos.rar", ("Unpack it",)),
        ("photos.tar.xz", ("Unpack it",)),
        ("photo.JPG", ("an image", "Give the folder")),
        ("photos.foo", ("a file of an unknown kind",)),
    ],
)
def test_other_kinds_of_files_are_named_with_the_way_on(name, parts, tmp_path):
    """None is taken as a folder."""
    with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
        load_dataset(_saved(tmp_path, name))
    for part in (*parts, name):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["labels.tsv", "labels.txt", "labels.tab"])
def test_tables_may_end_otherwise(name, tmp_path):
    """They are given to the reader of tables."""
    root = _classes("cat", "dog")(tmp_path)
    rows = [f"{path.relative_to(root)},{path.parent.name}\n" for path in sorted(root.rglob("*.jpg"))]
    (root / name).write_text("path,label\n" + "".join(rows))
    assert load_dataset(root / name).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("x_train", "y_train", "x_test", "y_test"), {"train": 4, "test": 4}),
        (("train_images", "train_labels", "val_images", "val_labels"), {"train": 4, "val": 4}),
        (("X", "Y"), None),
        (("images", "labels"), None),
    ],
)
def test_arrays_may_have_the_names_of_keras_and_medmnist(names, parts, tmp_path):
    """Those of splits are kept as the split."""
    pixels = np.stack([np.asarray(picture(kind, index, (28, 28))) for kind in (0, 1) for index in (0, 1)])
    values = {name: (pixels, np.array([[0], [0], [1], [1]]))[number % 2] for number, name in enumerate(names)}
    np.savez(tmp_path / "data.npz", **values)
    dataset = load_dataset(tmp_path / "data.npz")
    assert (dataset.split and dict(Counter(dataset.split))) == parts
    assert dataset.class_names == ("0", "1")
    assert dataset.source == str(tmp_path / "data.npz")


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x"), ("x_train", "y_test"), ("x", "y", "x_train", "y_train"), ("a", "b")]
)
def test_arrays_without_a_partner_are_refused(names, tmp_path):
    """Nothing is guessed; the message names them."""
    np.savez(tmp_path / "data.npz", **{name: np.zeros((2, 8, 8), "uint8") for name in names})
    with pytest.raises(DatasetError, match=f"{names[-1]!r}.*np.savez"):
        load_dataset(tmp_path / "data.npz")


def test_records_of_kaggle_are_records(tmp_path):
    """Their features are named, where they are others than those that are read."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrec")) as writer:
        values = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"]))
        features = tf.train.Features(feature={"image": values, "target": values})
        writer.write(tf.train.Example(features=features).SerializeToString())
    with pytest.raises(DatasetError, match=r"image/encoded.*'image', 'target'"):
        load_dataset(tmp_path / "a.tfrec")


def test_a_pattern_of_groups_that_takes_forever_is_given_up(tmp_path, monkeypatch):
    """Python's matching of some patterns takes a time that doubles with each letter of a name."""
    monkeypatch.setattr("strategies.data.splits.MATCH_SECONDS", 1)
    root = _classes("cat", "dog")(tmp_path)
    fill(root / "cat", 1, 0, start=9)
    (root / "cat" / "009.jpg").rename(root / "cat" / f"{'a' * 60}!.jpg")
    with pytest.raises(DatasetError, match=r"more than 1 s on 9 names.*itself a repetition"):
        advisor.profile_images(root, group_by="(a+)+$")
    with pytest.raises(DatasetError, match="finds groups"):
        advisor.profile_images(root, group_by="(" * 5000)
    assert advisor.profile_images(root, group_by=r"/0\d+").num_images == 9
