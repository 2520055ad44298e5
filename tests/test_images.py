"""Every form of a dataset becomes the same values; every file the same pixels; every split keeps its promises."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from strategies.errors import DatasetError
from strategies.images import (
    ImageDataset,
    UnreadableImage,
    decode_image,
    decode_images,
    load_dataset,
    load_images,
    split_dataset,
)


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


def _labelled(sizes, **options):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return ImageDataset(
        class_names=tuple("abcdefgh"[: len(sizes)]),
        labels=labels,
        items=[Path(f"{index}.png") for index in range(len(labels))],
        names=tuple(f"{index}.png" for index in range(len(labels))),
        source="test",
        **options,
    )


# Loading


def test_a_class_folder_is_read_in_sorted_order(tmp_path):
    """Classes sort as text, files below class folders count, extensions in any case."""
    root = _folder(tmp_path, dog=2, cat=2)
    _save(root / "cat" / "more" / "9.JPG")
    dataset = load_dataset(str(root))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.names == ("cat/0.png", "cat/1.png", "cat/more/9.JPG", "dog/0.png", "dog/1.png")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.labels.dtype == np.int64
    assert dataset.source == str(root)
    assert dataset.split is None


def test_what_is_not_an_image_is_listed_unless_it_is_hidden_or_a_known_sidecar(tmp_path):
    """Nothing is left out in silence, images without a class included; links to folders are not followed."""
    root = _folder(tmp_path / "data", cat=2, dog=2)
    for name in ("cat/notes.txt", "cat/photo.heic", "cat/.hidden.png", "dog/Thumbs.db", ".git/config", "readme.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("text")
    _save(root / "loose.png")
    (root / "dog" / "link").symlink_to(_folder(tmp_path / "elsewhere", elk=2), target_is_directory=True)
    dataset = load_dataset(root)
    assert dataset.ignored == ("cat/notes.txt", "cat/photo.heic", "dog/link", "loose.png", "readme.md")
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
    """Vehicles: bus and train."""
    assert load_dataset(_folder(tmp_path, train=2, bus=2)).class_names == ("bus", "train")


def test_tables_keep_labels_as_text_and_paths_relative_to_the_csv(tmp_path):
    """'01' and 'NA' are class names; split and group are read where they are."""
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
    """Integer labels of a table sort as text, as folders do; an empty split column is none."""
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
    """Of unknown length too, with values and labels as they are."""
    import tensorflow as tf

    x = np.random.default_rng(0).uniform(0, 255, (7, 8, 9, 3)).astype("float32")
    y = np.array([0, 1, 0, 1, 0, 1, 0])
    source = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda image, label: True)
    dataset = load_dataset(source.batch(3) if batched else source)
    assert np.array_equal(np.stack(dataset.items), x)
    assert dataset.items[0].dtype == np.float32
    assert dataset.labels.tolist() == y.tolist()
    assert len(load_images(source.batch(2))) == len(load_images(source.map(lambda image, label: image))) == 7


def test_endless_or_unlabelled_tf_data_is_refused():
    """Reading it would never end, or nothing could be learnt."""
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
        (np.zeros((4, 8, 8, 2), "uint8"), "(8, 8, 2)"),
        (np.zeros((8, 8, 3), "uint8"), "Put the images first"),
        (np.zeros((4, 8, 8), bool), "bool"),
    ],
)
def test_arrays_that_are_not_pixels_of_0_to_255_are_refused(images, sentence):
    """The sentence says what to do, and does not guess a scale."""
    with pytest.raises(DatasetError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        load_dataset((images, [0, 0, 1, 1]))


def test_dark_integer_images_are_no_mistake():
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
        (_file, "another kind of file"),
        (_loose, "1 images outside of class folders"),
        (lambda root: _folder(root, cat=0, dog=0), "no image"),
        (lambda root: _folder(root, cat=2, dog=2, elk=0), "'elk'"),
        (lambda root: _folder(root, cat=2), "one class, 'cat'"),
        (lambda root: _folder(root, cat=2, dog=1), "only one image of 'dog'"),
        (_untrained, "none of 'elk' in the train split"),
        (_csv("file,label\na/0.png,x\n"), "path_column"),
        (_csv("path,label\nb/0.png,x\n"), "b/0.png"),
        (_csv("path,label\na/0.png,x\na/1.png,\n"), "first in row 2"),
        (_csv("path,label,split\na/0.png,x,train\na/1.png,y,\n"), "'split'"),
        (_csv("path,label,split\na/0.png,x,train\na/1.png,y,dev\n"), "'dev'"),
        (_csv(""), "Mend the file"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_with_one_sentence(make, sentence, tmp_path):
    """What was received, what was expected and what to do."""
    with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
        load_dataset(make(tmp_path))
    assert sentence in str(caught.value)


def test_options_that_would_have_no_effect_are_refused(photos):
    """Columns and root belong to tables."""
    for options in ({"root": photos}, {"label_column": "species"}):
        with pytest.raises(DatasetError, match="no effect"):
            load_dataset(photos, **options)


def test_unlabelled_images_come_from_a_folder_a_list_or_arrays(photos):
    """Labels are -1, whatever they were."""
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


# Pixels


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
    """16-bit gray is scaled, not cut off; transparent pixels are white."""
    suffix = "tif" if mode == "CMYK" else "png"
    path = _save(tmp_path / f"image.{suffix}", color, mode=mode)
    assert np.array_equal(decode_image(path, 8), np.broadcast_to(np.array(expected, "uint8"), (8, 8, 3)))


def test_the_camera_s_orientation_is_applied(tmp_path):
    """A picture taken upright is upright."""
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


def test_arrays_take_the_same_way_as_files(tmp_path):
    """Floats are rounded, one channel and four become three."""
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype="uint8")
    Image.fromarray(values).save(tmp_path / "image.png")
    expected = decode_image(tmp_path / "image.png", 16)
    opaque = np.dstack([values, np.full((20, 30), 255, "uint8")])
    for array in (values, values + np.float32(0.3), values.astype("int64"), opaque):
        assert np.array_equal(decode_image(array, 16), expected)
    assert np.array_equal(decode_image(values[..., :1], 16), decode_image(values[..., 0], 16))


@pytest.mark.parametrize("size", [0, 8, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
def test_cut_off_files_are_unreadable_and_say_so(suffix, size, photos, tmp_path):
    """Path and reason, on one line; nothing is filled up in gray."""
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
    """A file of some kilobytes that would fill the memory is not opened."""
    (tmp_path / "folder.png").mkdir()
    Image.new("1", (20000, 10000)).save(tmp_path / "bomb.png")
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    for name, reason in (
        ("none.png", "No such file"),
        ("folder.png", "directory"),
        ("bomb.png", "bomb"),
        ("float.tif", "range"),
    ):
        with pytest.raises(UnreadableImage, match=reason):
            decode_image(tmp_path / name, 16)


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
    """Neither names, nor content, nor times, and no file stays open."""

    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(photos.rglob("*"))}

    before = state()
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    decode_images(split_dataset(load_dataset(photos), seed=0).items, 32)
    load_images(photos)
    assert state() == before
    if open_files:
        assert len(os.listdir("/proc/self/fd")) <= open_files


# Splits

SIZES = st.lists(st.integers(2, 40), min_size=2, max_size=6)
SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.sampled_from([(0.15, 0.15), (0.2, 0.1), (0.0, 0.3), (0.3, 0.0), (0.45, 0.45)])


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS, fractions=FRACTIONS)
def test_each_class_is_split_in_the_wanted_proportion(sizes, seed, fractions):
    """Within one image, with a training image always; of two images one trains and one tests; reproducibly."""
    dataset = _labelled(sizes)
    wanted = dict(zip(("val_fraction", "test_fraction"), fractions, strict=True))
    split = split_dataset(dataset, seed=seed, **wanted).split
    assert split == split_dataset(dataset, seed=seed, **wanted).split
    for label, size in enumerate(sizes):
        counts = Counter(part for part, one in zip(split, dataset.labels, strict=True) if one == label)
        assert counts["train"] >= 1
        for part, fraction in zip(("val", "test"), fractions, strict=True):
            assert abs(counts[part] - round(size * fraction)) <= (1 if fraction else 0)
        if size == 2 and fractions[1]:
            assert counts == {"train": 1, "test": 1}


@settings(deadline=None)
@given(data=st.data(), sizes=SIZES, seed=SEEDS)
def test_groups_and_duplicates_never_straddle_the_split(data, sizes, seed):
    """Not even when they are chained, and every class still has a training image."""
    total = sum(sizes)
    group = data.draw(st.lists(st.integers(0, total), min_size=total, max_size=total))
    order = data.draw(st.permutations(range(total)))
    duplicates = [order[start : start + 2] for start in range(0, total // 3, 2)]
    dataset = _labelled(sizes, group=tuple(str(one) for one in group))
    split = split_dataset(dataset, seed=seed, duplicates=duplicates).split
    for value in set(group):
        assert len({part for part, one in zip(split, group, strict=True) if one == value}) == 1
    for cluster in duplicates:
        assert len({split[index] for index in cluster}) == 1
    assert {label for part, label in zip(split, dataset.labels.tolist(), strict=True) if part == "train"} == set(
        range(len(sizes))
    )


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_copies_stay_with_their_originals_and_change_nothing(sizes, seed):
    """A copy of every image, at the end: the originals are split as without them."""
    dataset = _labelled(sizes)
    total = len(dataset)
    doubled = dataset.subset([*range(total), *range(total)])
    split = split_dataset(doubled, seed=seed, duplicates=[(index, total + index) for index in range(total)]).split
    assert split[:total] == split[total:] == split_dataset(dataset, seed=seed).split


@settings(deadline=None)
@given(
    data=st.data(),
    sizes=st.lists(st.integers(4, 30), min_size=2, max_size=4),
    seed=SEEDS,
    given_parts=st.sampled_from([("train", "test"), ("train", "val"), ("train",), ("train", "val", "test")]),
)
def test_the_users_own_split_is_kept(data, sizes, seed, given_parts):
    """What is missing is carved out of the training images alone."""
    dataset = _labelled(sizes)
    own = [data.draw(st.sampled_from(given_parts)) for _ in range(len(dataset))]
    for label in range(len(sizes)):
        own[int(np.flatnonzero(dataset.labels == label)[0])] = "train"
    split = split_dataset(replace(dataset, split=tuple(own)), seed=seed).split
    allowed = {"train"} | ({"train", "val", "test"} - set(own))
    for before, after in zip(own, split, strict=True):
        assert after == before if before != "train" else after in allowed
    assert {label for part, label in zip(split, dataset.labels.tolist(), strict=True) if part == "train"} == set(
        range(len(sizes))
    )


def test_two_large_groups_are_shared_between_training_and_test():
    """A class whose images come from two patients has one of them to test with."""
    dataset = _labelled([100, 100], group=tuple("a" * 50 + "b" * 50 + "c" * 50 + "d" * 50))
    split = split_dataset(dataset, seed=0).split
    for label in (0, 1):
        assert {part for part, one in zip(split, dataset.labels, strict=True) if one == label} == {"train", "test"}


def test_a_rare_class_within_one_large_group_is_trained():
    """Though the group would fit best into the test split, which gets another one instead."""
    dataset = _labelled([100, 2], group=tuple("a" * 70 + "b" * 15 + "c" * 15 + "cc"))
    split = split_dataset(dataset, seed=0).split
    assert split[-2:] == ("train", "train")
    assert set(split[70:85]) == {"test"}


def test_different_seeds_give_different_splits():
    """Or the seed would be for show."""
    dataset = _labelled([20, 20])
    assert len({split_dataset(dataset, seed=seed).split for seed in range(5)}) > 1


def test_twenty_thousand_images_are_split_in_a_second():
    """With groups too."""
    import time

    dataset = _labelled([10_000, 10_000])
    started = time.perf_counter()
    split_dataset(dataset, seed=0)
    split_dataset(replace(dataset, group=tuple(str(index // 3) for index in range(20_000))), seed=0)
    assert time.perf_counter() - started < 2


def test_a_split_of_some_images_only_or_fractions_that_leave_nothing_are_refused():
    """Each with a sentence."""
    dataset = _labelled([3, 3])
    with pytest.raises(DatasetError, match="for every image or for none"):
        split_dataset(replace(dataset, split=("train", None, None, "train", None, None)), seed=0)
    with pytest.raises(DatasetError, match="fractions"):
        split_dataset(dataset, seed=0, val_fraction=0.5, test_fraction=0.5)
    with pytest.raises(DatasetError, match="without labels"):
        split_dataset(load_images([np.zeros((4, 5), "uint8")] * 4), seed=0)
