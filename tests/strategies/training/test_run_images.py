"""The images of a run, as its folder lists them."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import strategies
from strategies.data.dataset import SPLITS
from strategies.data.pixels import Pixels
from strategies.errors import DatasetError, RunError
from strategies.training.run_images import find_images, write_images


def _write(folder, dataset):
    parts = {part: dataset.subset(np.flatnonzero(np.array(dataset.split) == part)) for part in SPLITS}
    folder.mkdir()
    write_images(folder, parts, {part: Pixels(images.items, 32) for part, images in parts.items()})


def _split(dataset):
    names = [dataset.class_names[label] for label in dataset.labels]
    return {
        (str(name).split("/")[-1], label): part
        for name, label, part in zip(dataset.names, names, dataset.split, strict=True)
    }


@pytest.fixture
def dataset(photos, tmp_path):
    """A copy of the photos, split."""
    copy = shutil.copytree(photos, tmp_path / "photos")
    return strategies.split_dataset(strategies.load_dataset(copy), seed=0)


def test_a_run_finds_its_images_again(dataset, tmp_path):
    """Where they were, or under other names elsewhere; the list is a dataset by itself."""
    _write(tmp_path / "run", dataset)
    names = dataset.class_names
    found = find_images(tmp_path / "run", names, image_bits=16)
    assert _split(found) == _split(dataset)
    assert _split(strategies.load_dataset(tmp_path / "run" / "images.csv")) == _split(dataset)
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match=r"the 40 images .* 40 of them that are missing .* --old-data"):
        find_images(tmp_path / "run", names, image_bits=16)
    assert _split(find_images(tmp_path / "run", names, tmp_path / "moved", image_bits=16)) == _split(dataset)
    (tmp_path / "moved" / "china" / "00.png").write_bytes(b"changed")
    with pytest.raises(DatasetError, match=r"1 of them that are missing or have changed, such as .*00.png"):
        find_images(tmp_path / "run", names, tmp_path / "moved", image_bits=16)


def test_images_that_were_no_files_have_to_be_given(tmp_path):
    """Arrays are found by their content; groups are kept."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype="uint8")
    dataset = strategies.load_dataset((pixels, ["cat", "dog"] * 6))
    dataset = replace(strategies.split_dataset(dataset, seed=0), group=tuple(str(index // 2) for index in range(12)))
    _write(tmp_path / "run", dataset)
    with pytest.raises(DatasetError, match="12 of them that are missing"):
        find_images(tmp_path / "run", dataset.class_names, image_bits=16)
    found = find_images(tmp_path / "run", dataset.class_names, (pixels[::-1], ["dog", "cat"] * 6), image_bits=16)
    assert _split(found) == _split(dataset)
    assert sorted(found.group) == sorted(dataset.group)


@pytest.mark.parametrize("wrong", ["", "path,label\na,cat\n", "path,label,split,sha256\n", None])
def test_a_list_that_is_missing_or_wrong_is_refused(tmp_path, wrong):
    """A run of an earlier release has none."""
    rows = ["path,label,split,sha256\na,owl,train," + "0" * 64, "path,label,split,sha256\na,cat,train,1"]
    for text in [wrong] if wrong != "" else [wrong, *rows]:
        if text is not None:
            (tmp_path / "images.csv").write_text(text)
        with pytest.raises(RunError, match=r"images.csv.* Restore the file, or train the run again"):
            find_images(tmp_path, ["cat", "dog"], image_bits=16)
