"""What is found of single images and of copies is what is wrong with them."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from advisor.measure.profile import profile_dataset, profile_images
from advisor.quality.checks import Suspect
from strategies.data.loading import load_dataset


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
    return {finding.code: finding for finding in profile_images(source, **options).findings}


def _paths(finding):
    return [suspect.path for suspect in finding.suspects]


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
    found = {finding.code: finding for finding in profile.findings}
    assert found["near_copies"].count == 2
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
    leak = next(finding for finding in profile.findings if finding.code == "copies_across_splits")
    assert (leak.count, leak.total) == (2, 4)
    assert leak.suspects[0] == Suspect(path="test/cat/again.png", detail="copy of train/cat/12.png")
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
    assert found[code].count == 1
    assert found[code].suspects[0].detail
