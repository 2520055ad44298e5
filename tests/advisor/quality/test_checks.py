"""What is found of the health of a dataset is what is wrong with it."""

import csv
import json
import shutil
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from advisor.measure.examination import check_images
from advisor.measure.profile import profile_dataset, profile_images
from advisor.quality.checks import CHECKS, faults, health_cautions, make_finding, save_suspects
from advisor.quality.features import label_mistakes, lookalikes, split_gap
from advisor.quality.near_copies import near_copies
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.splits import with_groups
from strategies.errors import DatasetError


def _photo(index, size=160):
    """A photo of its own: another part of scikit-learn's two, and no part twice."""
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image(("china.jpg", "flower.jpg")[index % 2]))
    left, top = 100 * (index // 2 % 5), 130 * (index // 10 % 3)
    part = photo.crop((left, top, left + 120, top + 120)).resize((size, size))
    grain = np.random.default_rng(index).normal(0, 10, (size, size, 3))  # some of it is sky, or out of focus
    return Image.fromarray(np.clip(np.asarray(part) + grain, 0, 255).astype("uint8"))


@pytest.fixture
def healthy(tmp_path):
    """A class folder with 12 different photos in each of two classes."""
    for index in range(24):
        folder = tmp_path / "data" / ("cat", "dog")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        _photo(index).save(folder / f"{index:02}.png")
    return tmp_path / "data"


def _found(source, **options):
    return {one["code"]: one for one in profile_images(source, **options).findings}


def _paths(finding):
    return [one["path"] for one in finding["suspects"]]


def test_nothing_is_found_in_healthy_images(healthy):
    """Photos that are all different are no reason to say anything."""
    assert _found(healthy) == {}


def _jpeg(image, path):
    image.save(path.with_suffix(".jpg"), quality=40)


@pytest.mark.parametrize(
    "again",
    [
        _jpeg,
        lambda image, path: image.resize((100, 100)).save(path),
        lambda image, path: ImageEnhance.Brightness(image).enhance(0.85).save(path),
        lambda image, path: image.convert("L").save(path),
    ],
    ids=["stored again", "smaller", "darker", "gray"],
)
def test_near_copies_are_found_count_once_and_stay_in_one_split(healthy, again):
    """Within a class and across classes; the effective number of images is what it was."""
    before = profile_images(healthy)
    again(_photo(10), healthy / "cat" / "again.png")
    again(_photo(13), healthy / "cat" / "wrong.png")
    profile, dataset = profile_dataset(load_dataset(healthy))
    found = {one["code"]: one for one in profile.findings}
    assert found["near_copies"]["count"] == 2
    (wrong,) = [path for path in _paths(found["near_copies_across_classes"]) if path.startswith("cat/")]
    assert wrong.startswith("cat/wrong")
    part_of = {name.split(".")[0]: part for name, part in zip(dataset.names, dataset.split, strict=True)}
    assert part_of["cat/again"] == part_of["cat/10"]
    assert part_of["cat/wrong"] == part_of["dog/13"]
    assert profile.num_images == before.num_images + 2
    assert profile.effective_num_images == sum(
        part != "test" for name, part in part_of.items() if name[4:] not in ("again", "wrong")
    )


def test_copies_between_a_users_own_splits_are_a_leak(healthy, tmp_path):
    """The split is kept, and it is said how many test images are known from training."""
    shutil.copytree(healthy, tmp_path / "own" / "train")
    for index, name in enumerate(("cat", "dog")):
        (tmp_path / "own" / "test" / name).mkdir(parents=True)
        _photo(12 + index).resize((90, 90)).save(tmp_path / "own" / "test" / name / "again.png")
        Image.linear_gradient("L").rotate(90 * index).save(tmp_path / "own" / "test" / name / "new.png")
    profile = profile_images(tmp_path / "own")
    leak = next(one for one in profile.findings if one["code"] == "copies_across_splits")
    assert (leak["count"], leak["total"]) == (2, 4)
    assert leak["suspects"][0] == {"path": "test/cat/again.png", "detail": "copy of train/cat/12.png"}
    assert profile.images_per_split["test"] == 4


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("blank", lambda: Image.new("RGB", (160, 160), "teal")),
        ("dark", lambda: ImageEnhance.Brightness(_photo(3)).enhance(0.1)),
        ("blurred", lambda: _photo(3, 256).filter(ImageFilter.GaussianBlur(16))),
        ("tiny", lambda: _photo(3, 24)),
        ("odd_shape", lambda: _photo(3).resize((600, 150))),
        ("odd_size", lambda: _photo(3, 900)),
        ("unreadable", None),
        ("ignored", None),
    ],
)
def test_odd_pictures_are_named(healthy, code, make):
    """Each by its own check, and no other picture with it."""
    path = healthy / "cat" / ("odd.txt" if code == "ignored" else "odd.png")
    if make is None:
        path.write_bytes((healthy / "cat" / "00.png").read_bytes()[:500])
    else:
        make().save(path)
    found = _found(healthy, max_unreadable=0.1)
    assert _paths(found[code]) == [f"cat/{path.name}"]
    assert found[code]["count"] == 1
    assert found[code]["suspects"][0]["detail"]


def test_every_check_writes_its_message_and_becomes_a_caution():
    """No template is left unfilled; groups and other files are no fault."""
    values = {"gap": 3.2, "random": 0.8, "grouped": 0.768}
    findings = [make_finding(check.code, [("a.png", "odd")], total=10, **values) for check in CHECKS]
    for check, caution in zip(CHECKS, health_cautions(findings), strict=True):
        assert caution["code"] == check.code
        assert check.effect in caution["message"]
        assert "{" not in caution["message"] + caution["source"]
    assert {one["code"] for one in findings} - {one["code"] for one in faults(findings)} == {"ignored", "groups"}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 5))
def test_near_copies_are_linked_however_many_there_are(seed, others, copies):
    """Whatever their order: every copy is in a pair, and no other image is."""
    generator = np.random.default_rng(seed)
    thumbnails = generator.integers(0, 256, (others + 1, 1024), dtype="uint8")
    thumbnails = np.concatenate([thumbnails, np.repeat(thumbnails[:1] // 2 + 50, copies, axis=0)])
    hashes = generator.integers(0, 2**64, others + 1, dtype="uint64")
    flips = np.uint64(1) << generator.integers(0, 64, copies, dtype="uint64")
    hashes = np.concatenate([hashes, hashes[0] ^ flips])
    order = generator.permutation(len(hashes))
    pairs = near_copies(hashes[order], thumbnails[order])
    inside = {int(order[index]) for pair in pairs for index in pair}
    assert inside == {0, *range(others + 1, others + 1 + copies)}


@settings(deadline=None, max_examples=25)
@given(st.sets(st.integers(0, 59), max_size=6))
def test_changed_labels_are_suggested_where_predictions_are_sure(changed):
    """All of them, with the class they had; none where predictions are unsure."""
    truth = np.repeat([0, 1, 2], 20)
    labels = truth.copy()
    labels[list(changed)] = (labels[list(changed)] + 1) % 3
    for right, expected in ((0.9, changed), (0.5, set())):
        beliefs = np.full((60, 3), (1 - right) / 2)
        beliefs[np.arange(60), truth] = right
        found = label_mistakes(beliefs, labels)
        assert set(np.flatnonzero(found >= 0)) == expected
        assert all(found[index] == truth[index] for index in expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10))
def test_lookalikes_are_the_frames_of_what_was_seen(seed, frames):
    """Whatever the scale of the features; images drawn as the others are none."""
    generator = np.random.default_rng(seed)
    others = generator.normal(size=(60, 64))
    new = generator.normal(size=(10, 64))
    new[:frames] = others[:frames] + 0.05 * generator.normal(size=(frames, 64))
    found = lookalikes([new, 9 * new], [others, 9 * others])
    assert found.tolist() == [*range(frames), *[-1] * (10 - frames)]


def test_a_random_split_flatters_where_groups_share_more_than_their_class():
    """Features that know the group, not the class, are as good as chance on new groups alone."""
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 6)
    labels = group % 2
    features = generator.normal(size=(20, 40))[group] + 0.1 * generator.normal(size=(120, 40))
    dataset = ImageDataset(
        class_names=("cat", "dog"),
        labels=labels,
        items=[np.zeros((2, 2), "uint8")] * 120,
        names=tuple(map(str, range(120))),
        source="made up",
        group=tuple(map(str, group)),
    )
    random, grouped = split_gap(dataset, features, seed=0)
    assert random > 0.95
    assert grouped < 0.8
    assert (random, grouped) == split_gap(dataset, features, seed=0)


def test_check_finds_wrong_labels_and_leaves_everything_as_it_is(photos, tmp_path, pretrained_weights):
    """Findings follow the schema; a list of suspects holds one row for each; no file of the user's changes."""
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "china" / "03.png").rename(data / "flower" / "from_china.png")
    before = {path: path.read_bytes() for path in data.rglob("*.png")}
    profile = check_images(data)
    found = {one["code"]: one for one in profile.findings}
    assert "flower/from_china.png" in _paths(found["label_mistakes"])
    assert "china" in found["label_mistakes"]["suspects"][0]["detail"]
    schema = json.loads(files("advisor").joinpath("schemas", "fingerprint.json").read_text(encoding="utf-8"))
    jsonschema.validate(profile.to_dict(), schema["properties"]["profile"])
    save_suspects(profile.findings, tmp_path / "suspects.csv")
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(one["suspects"]) for one in profile.findings)
    assert {"path", "finding", "detail"} == set(rows[0])
    assert {path: path.read_bytes() for path in data.rglob("*.png")} == before


def test_groups_are_named_by_a_pattern_in_the_path(healthy):
    """Files with one match stay together; what is no pattern, or no use, gets a sentence."""
    _, dataset = profile_dataset(with_groups(load_dataset(healthy), r"\d(?=\d\.)"))
    sides = {}
    for name, part in zip(dataset.names, dataset.split, strict=True):
        sides.setdefault(name[4], set()).add(part)
    assert len(sides) == 3
    assert all(len(parts) == 1 for parts in sides.values())
    for pattern, sentence in (("(", "Received: '\\('"), ("nowhere", "matches no file"), ("png", "as one group")):
        with pytest.raises(DatasetError, match=sentence):
            profile_images(healthy, group_by=pattern)
    with pytest.raises(DatasetError, match="no files"):
        profile_images((np.zeros((4, 8, 8, 3), "uint8"), [0, 0, 1, 1]), group_by="a")


@pytest.mark.parametrize(
    ("name", "pattern", "leaks"),
    [("asl36", r"hand\d+", True), ("gtsrb43", r"^[^/]+/\d+", True), ("flowers5", None, False)],
)
def test_leaks_are_seen_without_being_told_the_groups(test_data, imagenet_weights, monkeypatch, name, pattern, leaks):
    """And are gone where the groups are named."""
    from advisor.measure.examination import measure_and_examine
    from advisor.measure.probes import FrozenNetwork

    monkeypatch.setattr("strategies.training.head.make_folds", lambda *_: [])  # of no matter here, and slow

    def found(group_by):
        profile, dataset = profile_dataset(with_groups(load_dataset(test_data / name), group_by))
        network = FrozenNetwork("MobileNetV2-0.35", 96)
        examined, _ = measure_and_examine(profile, dataset, network, most=1_000, most_tested=300, seed=0, whole=False)
        return {one["code"] for one in examined.findings}

    if not (test_data / name).is_dir():
        pytest.skip(f"ADVISOR_TEST_DATA holds no {name}")
    assert ("lookalikes" in found(None)) == leaks
    assert pattern is None or "lookalikes" not in found(pattern)
