"""A saved run, read back: the same pixels, the same answers, and sentences where something is missing."""

import json
import shutil

import numpy as np
import pytest

from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import DatasetError, UserError
from strategies.files import check_schema
from strategies.plans.planning import make_plan
from strategies.runs.evaluation import evaluate_run
from strategies.training.trainer import train


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """A run on the photos, by a random network, with the dataset and the result."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    dataset = split_dataset(load_dataset(photos), seed=0)
    plan = make_plan(
        "head_only", "MobileNet-0.25", class_names=dataset.class_names, num_train=28, image_size=32, weights="random"
    )
    return folder, dataset, train(plan, dataset, folder)


def test_its_own_test_images_give_its_own_metrics(run):
    """Only the test split is evaluated, and every number is that of training, the temperature too."""
    folder, dataset, result = run
    found = evaluate_run(folder, dataset)
    assert found.images == "test"
    assert found.evaluation == result.test
    check_schema(found.to_dict(), "evaluation", package="strategies")


def test_some_of_the_classes_are_enough_and_keep_their_places(run, photos, tmp_path):
    """One class, one image: it is compared with the answers for all classes."""
    folder, _, result = run
    (tmp_path / "flower").mkdir()
    shutil.copy(photos / "flower" / "00.png", tmp_path / "flower")
    found = evaluate_run(folder, tmp_path)
    assert found.images == "all"
    assert found.evaluation.num_images == 1
    assert list(found.evaluation.per_class) == list(result.plan.class_names)
    assert found.evaluation.per_class["china"]["recall"] is None
    assert np.array(found.evaluation.confusion)[1].sum() == 1


def test_unreadable_files_are_named_and_too_many_are_an_error(run, photos, tmp_path):
    """As in training."""
    shutil.copytree(photos, tmp_path / "data")
    (tmp_path / "data" / "china" / "broken.png").write_bytes(b"no image")
    found = evaluate_run(run[0], tmp_path / "data")
    assert [row["path"] for row in found.unreadable] == ["china/broken.png"]
    assert found.evaluation.num_images == 40
    with pytest.raises(DatasetError, match=r"china/broken\.png"):
        evaluate_run(run[0], tmp_path / "data", max_unreadable=0.0)


def test_what_is_missing_or_strange_gets_a_sentence(run, tmp_path, photos):
    """Other classes, no images, no model, a broken one; without metrics the data itself names the majority."""
    images = np.zeros((2, 32, 32, 3), dtype="uint8")
    with pytest.raises(DatasetError, match="zebra"):
        evaluate_run(run[0], (images, ["zebra", "china"]))
    (tmp_path / "empty" / "china").mkdir(parents=True)
    with pytest.raises(DatasetError, match="labeled images"):
        evaluate_run(run[0], tmp_path / "empty")
    with pytest.raises(UserError, match="run folder"):
        evaluate_run(tmp_path / "nowhere", photos)
    copy = shutil.copytree(run[0], tmp_path / "copy")
    (copy / "metrics.json").unlink()
    found = evaluate_run(copy, (images, ["flower", "flower"]))
    assert found.evaluation.majority_class == "flower"
    assert found.evaluation.calibration.temperature is None
    (copy / "model.keras").write_bytes(b"no model")
    with pytest.raises(UserError, match="a model that Keras"):
        evaluate_run(copy, photos)
    (copy / "metrics.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(UserError, match="schema"):
        evaluate_run(copy, photos)
    (copy / "model.keras").unlink()
    with pytest.raises(UserError, match=r"without 'model\.keras'"):
        evaluate_run(copy, photos)
