"""The command `train`."""

import json
import shutil

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


def test_frozen_features_are_read_from_the_cache_the_second_time(
    advisor, photos, pretrained_weights, tmp_path, monkeypatch
):
    """Their size and place are said on stderr; --no-cache keeps and reads nothing."""
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    arguments = ("train", photos, "--backbone", BACKBONE, "--recipe", "head_only", "--image-size", 32)
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
