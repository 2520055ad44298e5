"""The profile of a dataset agrees with its files."""

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from advisor.expectation import expect
from advisor.measure.profile import profile_dataset, profile_images
from advisor.measure.similarity import Similarity, default_ruler
from advisor.rules import Facts
from strategies.data.loading import load_dataset
from strategies.data.splits import with_groups
from strategies.errors import DatasetError


def _make(root, *, size=(40, 30), **classes):
    """Saves distinct images: the first pixel names class and index."""
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            image = Image.new("RGB", size, (200, 20 * number, index))
            image.save(root / name / f"{index:02}.png")
    return root


def test_counts_and_sizes_are_those_of_the_files(tmp_path):
    """Per class, per split, and in pixels of the originals."""
    root = _make(tmp_path, cat=20, dog=10)
    Image.new("RGB", (15, 200), "red").save(root / "dog" / "tall.jpg")
    (root / "notes.txt").write_text("text")
    profile = profile_images(root)
    assert (profile.num_images, profile.num_classes, profile.class_names) == (31, 2, ("cat", "dog"))
    assert profile.images_per_class == {"cat": 20, "dog": 11}
    assert (profile.min_images_per_class, profile.median_images_per_class, profile.max_images_per_class) == (
        11,
        15.5,
        20,
    )
    assert profile.imbalance_ratio == 20 / 11
    assert profile.image_sizes == {
        "short_side": {"min": 15, "median": 30, "max": 30},
        "long_side": {"min": 40, "median": 40, "max": 200},
    }
    assert profile.images_per_split == {"train": 21, "val": 5, "test": 5}
    assert profile.effective_num_images == 26
    assert profile.ignored == ("notes.txt",)
    assert profile.unreadable == profile.duplicates == ()
    assert not profile.sampled
    assert profile.source == str(root)


def test_photos_give_values_that_follow_the_schema(photos):
    """Plain JSON types, and the same again from the same seed."""
    values = profile_images(photos, seed=3).to_dict()
    assert json.loads(json.dumps(values)) == values == profile_images(photos, seed=3).to_dict()
    schema = json.loads(files("advisor").joinpath("schemas", "fingerprint.json").read_text(encoding="utf-8"))
    jsonschema.validate(values, schema["properties"]["profile"])


def test_grayscale_is_found_whatever_the_mode_of_the_file(tmp_path):
    """L, 16 bit, and RGB with equal channels; a color image is not gray."""
    root = _make(tmp_path, cat=4, dog=4)
    gray = Image.linear_gradient("L")
    gray.save(root / "cat" / "a.png")
    gray.convert("RGB").save(root / "cat" / "b.jpg")
    gray.convert("LA").save(root / "cat" / "c.png")
    Image.fromarray(np.arange(1600, dtype="uint16").reshape(40, 40) * 40).save(root / "cat" / "d.png")
    gray.convert("1").save(root / "cat" / "e.png")
    assert profile_images(root).num_grayscale == 5


def test_duplicates_are_found_by_content_and_kept_on_one_side(tmp_path):
    """By name, with those across classes told apart; the effective size counts each once."""
    root = _make(tmp_path, cat=20, dog=20)
    for source, copy in (
        ("cat/00", "cat/copy"),
        ("cat/00", "cat/again"),
        ("dog/03", "cat/dog"),
        ("dog/05", "dog/copy"),
    ):
        (root / f"{copy}.png").write_bytes((root / f"{source}.png").read_bytes())
    profile, dataset = profile_dataset(load_dataset(root))
    assert {frozenset(cluster) for cluster in profile.duplicates} == {
        frozenset({"cat/00.png", "cat/copy.png", "cat/again.png"}),
        frozenset({"cat/dog.png", "dog/03.png"}),
        frozenset({"dog/05.png", "dog/copy.png"}),
    }
    assert profile.num_duplicates == 4
    assert profile.duplicates_across_classes == (("cat/dog.png", "dog/03.png"),)
    part_of = dict(zip(dataset.names, dataset.split, strict=True))
    for cluster in profile.duplicates:
        assert len({part_of[name] for name in cluster}) == 1
    originals = [name for name in dataset.names if name[4:6].isdigit()]
    assert profile.effective_num_images == sum(part_of[name] != "test" for name in originals)


def test_copies_of_everything_do_not_change_the_effective_size(tmp_path):
    """Nor the assignment of the originals."""
    root = _make(tmp_path, cat=20, dog=20)
    before, alone = profile_dataset(load_dataset(root))
    for path in list(root.rglob("*.png")):
        (path.parent / f"{path.stem}-copy.png").write_bytes(path.read_bytes())
    after, both = profile_dataset(load_dataset(root))
    assert (after.num_images, after.num_duplicates) == (80, 40)
    assert after.effective_num_images == before.effective_num_images
    part_of = dict(zip(both.names, both.split, strict=True))
    assert [part_of[name] for name in alone.names] == list(alone.split)


@settings(deadline=None, max_examples=15)
@given(
    sizes=st.lists(st.integers(2, 12), min_size=2, max_size=4),
    near=st.integers(0, 3),
    score=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_copy_of_every_image_leaves_the_advice_as_it_is(sizes, near, score, seed):
    """Exact copies of everything, near copies included: the same split, effective size, reasons and confidence."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = (
        np.random.default_rng(seed).integers(0, 200, (len(labels), 8, 8, 3), dtype="uint8").repeat(8, 1).repeat(8, 2)
    )
    images = np.concatenate([images, images[:near] + 20])
    labels = np.concatenate([labels, labels[:near]])
    similarity = Similarity(
        score=score,
        low=score,
        high=score,
        distance=0.01,
        floor=0.005,
        by_depth={},
        ruler=default_ruler(),
        calibrated=True,
        num_images=len(labels),
    )
    verdicts = []
    for source in ((images, labels), (np.concatenate([images, images]), np.concatenate([labels, labels]))):
        profile, dataset = profile_dataset(load_dataset(source), seed=seed)
        facts = Facts(
            effective_num_images=profile.effective_num_images, num_classes=profile.num_classes, similarity=similarity
        )
        verdicts.append((dataset.split[: len(labels)], profile.effective_num_images, expect(facts)))
        near_copies = [finding.count for finding in profile.findings if finding.code == "near_copies"]
        assert near_copies == [min(near, len(labels))] * bool(near)
    assert verdicts[0] == verdicts[1]


def test_groups_stay_together_and_do_not_reduce_the_size(tmp_path):
    """Ten patients with two images each are twenty images, and no patient is on two sides."""
    root = _make(tmp_path, cat=20, dog=20)
    rows = [f"{name}/{index:02}.png,{name},{name}{index // 2}" for name in ("cat", "dog") for index in range(20)]
    (root / "table.csv").write_text("\n".join(["path,label,group", *rows]))
    profile, dataset = profile_dataset(load_dataset(root / "table.csv"))
    sides = {}
    for group, part in zip(dataset.group, dataset.split, strict=True):
        sides.setdefault(group, set()).add(part)
    assert len(sides) == 20
    assert all(len(parts) == 1 for parts in sides.values())
    assert profile.effective_num_images == sum(part != "test" for part in dataset.split)


def test_groups_are_named_by_a_pattern_in_the_path(tmp_path):
    """Files with one match stay together; what is no pattern, or no use, gets a sentence."""
    root = _make(tmp_path, cat=24, dog=24)
    _, dataset = profile_dataset(with_groups(load_dataset(root), r"\d(?=\d\.)"))
    sides = {}
    for name, part in zip(dataset.names, dataset.split, strict=True):
        sides.setdefault(name[4], set()).add(part)
    assert len(sides) == 3
    assert all(len(parts) == 1 for parts in sides.values())
    for pattern, sentence in (("(", "Received: '\\('"), ("nowhere", "matches no file"), ("png", "as one group")):
        with pytest.raises(DatasetError, match=sentence):
            profile_images(root, group_by=pattern)
    with pytest.raises(DatasetError, match="not files"):
        profile_images((np.zeros((4, 8, 8, 3), "uint8"), [0, 0, 1, 1]), group_by="a")


def test_unreadable_files_are_listed_by_name_and_left_out(tmp_path):
    """Missing files of a table count as unreadable; the others are profiled."""
    root = _make(tmp_path, cat=30, dog=30)
    (root / "cat" / "00.png").write_bytes((root / "cat" / "00.png").read_bytes()[:50])
    (root / "dog" / "00.png").write_bytes(b"")
    profile, dataset = profile_dataset(load_dataset(root))
    assert [file["path"] for file in profile.unreadable] == ["cat/00.png", "dog/00.png"]
    assert all(file["reason"] for file in profile.unreadable)
    assert len(dataset) == profile.num_images == 58
    assert not {"cat/00.png", "dog/00.png"} & set(dataset.names)
    rows = [f"{name}/{index:02}.png,{name}" for name in ("cat", "dog") for index in range(1, 31)]
    (root / "table.csv").write_text("\n".join(["path,label", *rows]))
    missing = profile_images(root / "table.csv").unreadable
    assert [(file["path"], file["reason"]) for file in missing] == [
        ("cat/30.png", "No such file or directory"),
        ("dog/30.png", "No such file or directory"),
    ]


def test_a_truncated_jpeg_is_found_at_reduced_scale(photos, tmp_path):
    """Most of it is there, yet it does not decode to its end."""
    root = _make(tmp_path, cat=10, dog=10)
    Image.open(photos / "china" / "00.png").resize((640, 640)).save(root / "cat" / "cut.jpg")
    content = (root / "cat" / "cut.jpg").read_bytes()
    (root / "cat" / "cut.jpg").write_bytes(content[:-400])
    assert [file["path"] for file in profile_images(root).unreadable] == ["cat/cut.jpg"]


def test_too_many_unreadable_files_are_refused_unless_allowed(tmp_path):
    """The sentence names some of them and the option."""
    root = _make(tmp_path, cat=10, dog=10)
    for index in range(5):
        (root / "cat" / f"{index:02}.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"5 of 20 .*'cat/00.png' .* and 2 more.*--max-unreadable"):
        profile_images(root)
    assert profile_images(root, max_unreadable=0.25).num_images == 15
    with pytest.raises(DatasetError, match="share from 0 to 1"):
        profile_images(root, max_unreadable=float("nan"))


def test_a_class_left_with_one_readable_image_is_refused(tmp_path):
    """It names the class and the file."""
    root = _make(tmp_path, cat=30, dog=2)
    (root / "dog" / "01.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"only one image of 'dog'.*'dog/01.png'"):
        profile_images(root)


def test_arrays_are_profiled_as_files_are(photos):
    """The same counts, sizes and duplicates, whatever the form."""
    dataset = load_dataset(photos)
    arrays = [np.asarray(Image.open(path)) for path in dataset.items]
    found = profile_images(([*arrays, arrays[0]], [*dataset.labels.tolist(), 0]))
    expected = profile_images(photos)
    assert found.image_sizes == expected.image_sizes
    assert found.num_grayscale == expected.num_grayscale
    assert found.duplicates == (("image 0", "image 40"),)
    assert found.effective_num_images == expected.effective_num_images


def test_profiling_changes_nothing_of_the_users_folder(photos):
    """Neither names, nor content, nor times."""

    def state():
        return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in photos.rglob("*")}

    before = state()
    profile_images(photos)
    assert state() == before


def test_a_users_split_is_kept_and_counted(tmp_path):
    """Validation is carved out of the training images."""
    _make(tmp_path / "train", cat=20, dog=20)
    _make(tmp_path / "test", size=(50, 50), cat=5, dog=7)
    profile, dataset = profile_dataset(load_dataset(tmp_path))
    assert profile.images_per_split == {"train": 34, "val": 6, "test": 12}
    assert profile.effective_num_images == 40
    assert all(
        (part == "test") == name.startswith("test/") for name, part in zip(dataset.names, dataset.split, strict=True)
    )


def test_of_many_images_a_sample_is_looked_at_and_all_count(tmp_path):
    """Every class is in it; what is found is of the sample, sizes of classes and the split of all."""
    root = _make(tmp_path, cat=60, dog=3)
    for index in range(60):
        (root / "cat" / f"{index:02}.png").write_bytes((root / "dog" / "01.png").read_bytes())
    dataset = load_dataset(root)
    profile, split = profile_dataset(dataset, max_images=20)
    whole, _ = profile_dataset(dataset)
    assert (profile.sampled, profile.num_looked_at, profile.num_images) == (True, 20, 63)
    assert (whole.sampled, whole.num_looked_at) == (False, 63)
    assert profile.images_per_class == whole.images_per_class == {"cat": 60, "dog": 3}
    assert len(split) == sum(profile.images_per_split.values()) == 63
    assert None not in split.split
    (copies,) = [finding for finding in profile.findings if finding.code == "duplicates"]
    assert copies.total == 20
    assert 10 < copies.count < 20
    not_test = 63 - profile.images_per_split["test"]
    assert not_test - 20 < profile.effective_num_images < not_test
