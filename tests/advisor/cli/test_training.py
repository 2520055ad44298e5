"""The command `train`."""

import json
import shutil

import pytest

from strategies.plans.plan import read_plan

BACKBONE = "MobileNetV2-0.35"


def test_a_written_plan_can_be_edited_and_trained(advisor, photos, pretrained_weights, tmp_path):
    """recommend --out, edit, train --plan: what was edited is what is done."""
    assert advisor("recommend", photos, "--backbone", BACKBONE, "--out", tmp_path / "advice")[0] == 0
    path = tmp_path / "advice" / "plan.json"
    values = json.loads(path.read_text())
    values["dropout"] = 0.4
    values["phases"] = [phase | {"steps": min(phase["steps"], 3)} for phase in values["phases"]]
    path.write_text(json.dumps(values))
    arguments = ("--plan", path, "--out", tmp_path / "run", "--tensorboard", tmp_path / "logs")
    code, _, err = advisor("train", photos, *arguments)
    assert code == 0, err
    if any(phase["solver"] != "logistic" for phase in values["phases"]):
        assert (tmp_path / "logs" / "train").is_dir()
    assert json.loads((tmp_path / "run" / "plan.json").read_text()) == values


def test_frozen_features_are_read_from_the_cache_the_second_time(advisor, photos, small_network, tmp_path, monkeypatch):
    """Their size and place are said on stderr; --no-cache keeps and reads nothing."""
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    arguments = ("train", photos, "--backbone", "small", "--weights", "own", "--recipe", "head_only")
    said = []
    for run, option in (("one", "--no-cache"), ("two", "--cache"), ("three", "--cache")):
        code, _, err = advisor(*arguments, "--out", tmp_path / run, option)
        assert code == 0, err
        said.append(err)
        assert (tmp_path / "cache").exists() == (run != "one")
    assert "cache" not in said[0]
    assert "Kept features of 28 images" in said[1]
    assert str(tmp_path / "cache") in said[1]
    assert "Read features of 28 images" in said[2]


def test_a_plan_for_another_backbone_or_other_classes_is_refused(advisor, photos, pretrained_weights, tmp_path):
    """Both get a sentence; the run folder is not created."""
    assert advisor("recommend", photos, "--backbone", BACKBONE, "--out", tmp_path / "advice")[0] == 0
    plan = tmp_path / "advice" / "plan.json"
    arguments = ["train", photos, "--plan", plan, "--out", tmp_path / "run"]
    code, _, err = advisor(*arguments, "--backbone", "MobileNet")
    assert code == 2
    assert "--backbone" in err
    for name, renamed in (("china", "cat"), ("flower", "dog")):
        shutil.copytree(photos / name, tmp_path / "renamed" / renamed)
    code, _, err = advisor("train", tmp_path / "renamed", *arguments[2:])
    assert code == 2
    assert "other classes" in err
    assert not (tmp_path / "run").exists()


def test_steps_and_batches_are_those_of_the_options(advisor, photos, small_network, tmp_path, monkeypatch):
    """Of a recipe, or of a plan; its cost is that of what is left."""
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 640)
    arguments = ("train", photos, "--backbone", "small", "--weights", "own", "--recipe", "fine_tune_all")
    code, _, err = advisor(*arguments, "--out", tmp_path / "half", "--budget", 0.5)
    assert code == 0, err
    half = read_plan(tmp_path / "half" / "plan.json")
    assert (half.batch_size, half.phases[-1].steps) == (32, 10)
    shorter = ("--budget", 0.1, "--batch-size", 4, "--minutes", 600)
    code, _, err = advisor(
        "train", photos, "--plan", tmp_path / "half" / "plan.json", "--out", tmp_path / "run", *shorter
    )
    assert code == 0, err
    assert "With 600 minutes, fine_tune_all gets all of its steps." in err
    plan = read_plan(tmp_path / "run" / "plan.json")
    assert (plan.batch_size, plan.phases[-1].steps) == (4, 8)
    seconds = [each.advice["costs"]["fine_tune_all"]["seconds"] for each in (plan, half)]
    assert seconds[0] != seconds[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--minutes", "0"), "minutes above 0"),
        (("--budget", "-1"), "factor above 0"),
        (("--batch-size", "0"), "batch size of 1 or more"),
        (("--minutes", "5", "--race"), "--minutes without --race"),
        (("--minutes", "5", "--data-parallel"), "--minutes without --data-parallel"),
    ],
)
def test_steps_that_cannot_be_are_refused_at_once(advisor, tmp_path, options, sentence):
    """One sentence, before any image is looked for."""
    code, out, err = advisor("train", tmp_path / "nowhere", "--out", tmp_path / "run", *options)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
