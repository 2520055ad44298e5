"""New classes and images join a finished run."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

import advisor
import strategies
from strategies.errors import DatasetError, OutputError, RunError
from strategies.files import check_schema
from strategies.plans.plan import read_plan
from strategies.training.run_images import find_images


@pytest.fixture(scope="module")
def more(photos, tmp_path_factory):
    """Photos of a new class, negatives; two new photos of an old class, one that the run has, and a broken file."""
    root = tmp_path_factory.mktemp("more") / "more"
    for name in ("attic", "flower"):
        (root / name).mkdir(parents=True)
    for path in sorted((photos / "china").iterdir())[:10]:
        ImageOps.invert(Image.open(path)).save(root / "attic" / path.name)
    for path in sorted((photos / "flower").iterdir())[:2]:
        ImageOps.flip(Image.open(path)).save(root / "flower" / f"new {path.name}")
    shutil.copy(photos / "flower" / "05.png", root / "flower" / "again.png")
    (root / "flower" / "broken.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def train_small(photos, small_network, tmp_path_factory):
    """A function that trains a recipe on the photos with a small network: `(folder, dataset, result)`."""
    dataset = strategies.split_dataset(strategies.load_dataset(photos), seed=0)

    def train(recipe):
        folder = tmp_path_factory.mktemp(recipe) / "run"
        plan = strategies.make_plan(recipe, class_names=dataset.class_names, num_train=28, budget=0.02, **small_network)
        return folder, dataset, strategies.train(plan, dataset, folder, cache=False, baseline=False)

    return train


@pytest.fixture(scope="module")
def head_run(train_small):
    """A run that trained only a new head."""
    return train_small("head_only")


@pytest.fixture(scope="module")
def tuned_run(train_small):
    """A run that trained the whole network."""
    return train_small("fine_tune_all")


def test_new_classes_join_as_if_all_had_been_there(head_run, more, tmp_path):
    """The head is that of all images at once; old images keep their split, old classes their numbers."""
    run, old, before = head_run
    found = advisor.extend(run, more, tmp_path / "run2", max_unreadable=0.2, cache=False)
    result, names = found.result, ("china", "flower", "attic")
    assert result.plan.class_names == names
    assert (found.new_classes, found.num_copies, sum(found.images_added.values())) == (("attic",), 1, 12)
    assert result.plan.weights == before.plan.weights
    joined = find_images(tmp_path / "run2", names, image_bits=16)
    split = dict(zip(map(str, joined.names), joined.split, strict=True))
    assert len(split) == len(old) + 12
    assert {str(item): split[str(item)] for item in old.items} == dict(zip(map(str, old.items), old.split, strict=True))
    assert found.accuracy_before == before.test.accuracy
    (count,) = {found.num_tested, before.test.num_images}
    tested = [label for label, part in zip(joined.labels, joined.split, strict=True) if part == "test"][:count]
    assert found.accuracy_after == np.mean(result.predicted[:count] == tested)
    whole = strategies.train(result.plan, joined, cache=False)
    for weight, expected in zip(result.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-4)
    metrics = json.loads((tmp_path / "run2" / "metrics.json").read_text())
    check_schema(metrics, "metrics", package="strategies")
    assert metrics["extension"] == found.to_dict()
    sentence = f"On the {count} test images of the earlier run: {before.test.accuracy:.1%} before"
    for name in ("report.md", "report.html"):
        assert sentence in (tmp_path / "run2" / name).read_text()
    assert "2 classes became 3, with 'attic'." in str(found)
    assert "Left out: 1 that" in str(found)


def test_a_trained_network_learns_on(tuned_run, more, tmp_path):
    """The plan starts from the model of the run, and has more steps; a run that was extended can be extended again."""
    run, _, before = tuned_run
    found = advisor.extend(run, more, tmp_path / "run2", max_unreadable=0.2, cache=False)
    plan = found.result.plan
    assert (plan.recipe, plan.weights) == ("fine_tune_all", str(run / "model.keras"))
    assert [phase.name for phase in plan.phases] == [phase.name for phase in before.plan.phases]
    assert found.result.head is not None
    (tmp_path / "again" / "attic").mkdir(parents=True)
    for path in sorted((more / "attic").iterdir()):
        ImageOps.flip(Image.open(path)).save(tmp_path / "again" / "attic" / path.name)
    again = advisor.extend(tmp_path / "run2", tmp_path / "again", tmp_path / "run3", head=True, cache=False)
    assert again.result.plan.weights == str(tmp_path / "run2" / "model.keras")
    assert again.new_classes == ()
    assert "3 classes as before" in str(again)


def test_only_a_new_head_is_solved_on_the_network_of_the_run(tuned_run, more, tmp_path, advisor):
    """With --head, nothing of the network changes, bit for bit; --json and --quiet are as for other commands."""
    run, _, before = tuned_run
    shutil.copytree(more / "attic", tmp_path / "more" / "attic")
    code, out, err = advisor(
        "extend", run, tmp_path / "more", "--head", "--no-cache", "--out", tmp_path / "run2", "--json"
    )
    assert code == 0, err
    values = json.loads(out)
    check_schema(values["metrics"], "metrics", package="strategies")
    assert values["metrics"]["extension"]["new_classes"] == ["attic"]
    assert read_plan(tmp_path / "run2" / "plan.json").recipe == "head_only"
    model = strategies.read_run(tmp_path / "run2").model
    for layer in before.model.layers[:-1]:
        for weight, expected in zip(model.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)
    arguments = (
        "extend",
        run,
        tmp_path / "more",
        "--head",
        "--no-cache",
        "--out",
        tmp_path / "run2",
        "--overwrite",
        "--quiet",
    )
    code, out, err = advisor(*arguments)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["Test", "On"]
    assert advisor("predict", tmp_path / "run2", tmp_path / "more", "--csv")[0] == 0
    code, out, _ = advisor("script", tmp_path / "run2")
    assert (code, out) == (2, "")


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ("same folder", OutputError, "another folder than that of the run"),
        ("files in out", OutputError, "--overwrite"),
        ("unfinished", RunError, "Expected a finished run"),
        ("no plan", RunError, "without 'plan.json'"),
        ("other metrics", RunError, "Keep the files of a run together"),
        ("known images", DatasetError, "are all in the run already"),
        ("another class", DatasetError, "that the run has in another class, such as 'flower/moved.png'"),
        ("unreadable", DatasetError, "to be unreadable"),
        ("no class", DatasetError, "Expected one sub-folder per class"),
    ],
)
def test_what_cannot_be_joined_is_refused(head_run, photos, tmp_path, change, error, sentence):
    """In one sentence, before anything is written or trained."""
    run, out, new = shutil.copytree(head_run[0], tmp_path / "run"), tmp_path / "run2", tmp_path / "more"
    (new / "flower").mkdir(parents=True)
    shutil.copy(photos / "flower" / "00.png", new / "flower")
    if change == "same folder":
        out = run
    elif change == "files in out":
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    elif change == "unfinished":
        (run / "unfinished.txt").write_text("cut off")
    elif change == "no plan":
        (run / "plan.json").unlink()
    elif change == "other metrics":
        rows = (run / "images.csv").read_text().splitlines()
        (run / "images.csv").write_text("\n".join(row for row in rows if ",test," not in row))
    elif change == "another class":
        shutil.copy(photos / "china" / "00.png", new / "flower" / "moved.png")
    elif change == "unreadable":
        (new / "flower" / "00.png").write_bytes(b"no image")
    elif change == "no class":
        shutil.rmtree(new / "flower")
    with pytest.raises(error, match=sentence):
        advisor.extend(run, new, out, overwrite=change == "same folder")
    assert change in ("same folder", "files in out") or not out.exists()
