"""The command line, run in this process, and as an installed command."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from strategies.files import check_schema, write_json
from strategies.plans.plan import plan_from_dict
from strategies.plans.planning import make_plan

BACKBONE = "MobileNetV2-0.35"


def _files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _make(folder, **classes):
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.random.default_rng([index, len(name)]).integers(0, 256, (40, 40, 3), dtype="uint8")
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def test_recommend_prints_and_writes_nothing_without_out(advisor, photos, pretrained_weights, tmp_path, monkeypatch):
    """The advice goes to stdout, and no file appears anywhere near."""
    monkeypatch.chdir(tmp_path)
    before = _files(photos)
    code, out, _ = advisor("recommend", photos, "--backbone", BACKBONE)
    assert code == 0
    assert "Freeze map" in out
    assert "Why not the others" in out
    assert list(tmp_path.iterdir()) == []
    assert _files(photos) == before


def test_json_is_the_only_thing_on_stdout(advisor, photos, pretrained_weights, tmp_path):
    """`{version, fingerprint, plan}`, and after training `metrics`; all by their schemas. Times where asked for."""
    code, out, _ = advisor("recommend", photos, "--backbone", BACKBONE, "--image-size", "32", "--time", "--json")
    values = json.loads(out)
    assert code == 0
    assert set(values) == {"version", "fingerprint", "plan"}
    check_schema(values["fingerprint"], "fingerprint", package="advisor")
    costs = plan_from_dict(values["plan"]).advice["costs"]
    assert costs["head_only"]["seconds_per_epoch"] is None
    assert 0 < costs["retrain_all"]["seconds_per_epoch"] < costs["retrain_all"]["seconds"]
    arguments = ("train", photos, "--backbone", BACKBONE, "--recipe", "head_only", "--out", tmp_path / "run", "--json")
    code, out, err = advisor(*arguments)
    values = json.loads(out)
    assert code == 0, err
    assert set(values) == {"version", "fingerprint", "plan", "metrics"}
    assert values["plan"]["recipe"] == "head_only"


def test_a_written_plan_can_be_edited_and_trained(advisor, photos, pretrained_weights, tmp_path):
    """recommend --out, edit, train --plan: what was edited is what is done."""
    assert advisor("recommend", photos, "--backbone", BACKBONE, "--out", tmp_path / "advice")[0] == 0
    path = tmp_path / "advice" / "plan.json"
    values = json.loads(path.read_text())
    values["new_layers"][-1]["dropout"] = 0.4
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


def test_a_run_is_evaluated_on_other_images(advisor, photos, pretrained_weights, tmp_path, monkeypatch):
    """One class of it is enough; nothing is written without --out, and --json is clean and by its schema."""
    run = tmp_path / "run"
    code, out, err = advisor("train", photos, "--backbone", BACKBONE, "--recipe", "head_only", "--out", run)
    assert code == 0, err
    assert "the head alone" in out
    shutil.copytree(photos / "flower", tmp_path / "new" / "flower")
    (tmp_path / "new" / "flower" / "broken.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    before = _files(tmp_path)
    code, out, err = advisor("evaluate", run, tmp_path / "new")
    assert code == 0, err
    assert "all of its images: 20 images" in out
    assert "flower/broken.png" in out
    code, out, err = advisor("evaluate", run, photos, "--json")
    assert "trained on" in err
    values = json.loads(out)["evaluation"]
    check_schema(values, "evaluation", package="strategies")
    assert values["evaluation"]["num_images"] == 40
    assert _files(tmp_path) == before
    code, _, err = advisor("evaluate", run, tmp_path / "new", "--out", tmp_path / "out")
    assert code == 0, err
    check_schema(json.loads((tmp_path / "out" / "evaluation.json").read_text()), "evaluation", package="strategies")
    assert "flower" in (tmp_path / "out" / "evaluation.md").read_text()
    report = (run / "report.md").read_bytes()
    (run / "report.md").unlink()
    assert advisor("report", run)[0] == 0
    assert _files(run)[run / "report.md"] == report


def test_recipes_backbones_and_profile_are_listed(advisor, photos):
    """Each prints its rows, and the same as JSON."""
    for command, expected in (("recipes", "keep_early_layers"), ("backbones", "ConvNeXtTiny")):
        assert expected in advisor(command)[1]
        assert expected in json.dumps(json.loads(advisor(command, "--json")[1]))
    code, out, _ = advisor("profile", photos)
    assert code == 0
    assert "images in 2 classes" in out
    assert json.loads(advisor("profile", photos, "--json")[1])["profile"]["num_classes"] == 2


def test_check_prints_findings_and_lists_suspects(advisor, photos, pretrained_weights, tmp_path):
    """Clean JSON; --strict exits with 1; --out is a new CSV file; --group-by is a pattern; nothing else is written."""
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "china" / "broken.png").write_bytes(b"no image")
    shutil.copy(data / "china" / "05.png", data / "flower" / "copy.png")
    before = _files(data)
    code, out, err = advisor("check", data, "--out", tmp_path / "suspects.csv")
    assert code == 0, err
    assert "china/broken.png" in out
    assert "flower/copy.png,duplicates_across_classes,copy of china/05.png" in (tmp_path / "suspects.csv").read_text()
    code, out, _ = advisor("check", data, "--strict", "--json", "--group-by", r"\d\d")
    assert code == 1
    codes = {one["code"] for one in json.loads(out)["profile"]["findings"]}
    assert {"unreadable", "duplicates", "duplicates_across_classes", "groups"} <= codes
    code, out, err = advisor("check", data, "--out", tmp_path / "suspects.csv")
    assert (code, out) == (2, "")
    assert "new file" in err
    assert _files(data) == before


def test_columns_can_have_other_names(advisor, photos, tmp_path):
    """--column label=species; anything else is refused."""
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.png"))]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,species", *rows]))
    code, out, err = advisor("profile", table, "--column", "path=file", "--column", "label=species")
    assert code == 0, err
    assert "in 2 classes" in out
    code, _, err = advisor("profile", table, "--column", "species")
    assert code == 2
    assert "--column label=species" in err


def _no_such_folder(root):
    return ["recommend", root / "nowhere"]


def _empty_folder(root):
    (root / "empty").mkdir()
    return ["recommend", root / "empty"]


def _empty_class(root):
    (_make(root / "data", cat=3, dog=3) / "elk").mkdir()
    return ["recommend", root / "data"]


def _one_class(root):
    return ["recommend", _make(root / "data", cat=5)]


def _one_image(root):
    return ["recommend", _make(root / "data", cat=5, dog=1)]


def _nothing_readable(root):
    for path in _make(root / "data", cat=3, dog=3).rglob("*.png"):
        path.write_bytes(b"no image")
    return ["recommend", root / "data", "--max-unreadable", "1"]


def _too_many_unreadable(root):
    (_make(root / "data", cat=8, dog=8) / "cat" / "0.png").write_bytes(b"no image")
    return ["recommend", root / "data"]


def _class_left_with_one(root):
    (_make(root / "data", cat=30, dog=2) / "dog" / "0.png").write_bytes(b"no image")
    return ["recommend", root / "data"]


def _full_output(root):
    _make(root / "out", cat=1)
    return ["recommend", _make(root / "data", cat=3, dog=3), "--out", root / "out"]


def _output_is_a_file(root):
    (root / "out").write_text("mine")
    return ["train", _make(root / "data", cat=3, dog=3), "--out", root / "out"]


def _unknown_backbone(root):
    return ["recommend", _make(root / "data", cat=3, dog=3), "--backbone", "ResNet5"]


def _unknown_recipe(root):
    return ["train", _make(root / "data", cat=3, dog=3), "--recipe", "head", "--out", root / "out"]


def _no_such_plan(root):
    return ["train", _make(root / "data", cat=3, dog=3), "--plan", root / "plan.json", "--out", root / "out"]


def _no_such_run(root):
    return ["evaluate", root / "run", _make(root / "data", cat=3)]


def _other_classes(root):
    names = ["cat", "dog"]
    write_json(root / "class_names.json", {"version": 1, "class_names": names})
    write_json(root / "plan.json", make_plan("head_only", BACKBONE, class_names=names, num_train=9).to_dict())
    (root / "model.keras").touch()
    return ["evaluate", root, _make(root / "data", elk=3), "--max-unreadable", "1"]


def _nothing_to_report(root):
    return ["report", root / "run"]


def _pattern_without_a_match(root):
    return ["recommend", _make(root / "data", cat=3, dog=3), "--group-by", "patient"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_no_such_folder, "nowhere"),
        (_empty_folder, "empty"),
        (_empty_class, "elk"),
        (_one_class, "cat"),
        (_one_image, "dog"),
        (_nothing_readable, "0.png"),
        (_too_many_unreadable, "--max-unreadable"),
        (_class_left_with_one, "dog"),
        (_full_output, "--overwrite"),
        (_output_is_a_file, "a file"),
        (_unknown_backbone, "Did you mean 'ResNet50'"),
        (_unknown_recipe, "Did you mean 'head_only'"),
        (_no_such_plan, "plan.json"),
        (_no_such_run, "run folder"),
        (_other_classes, "elk"),
        (_nothing_to_report, "plan.json"),
        (_pattern_without_a_match, "--group-by"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(make, sentence, advisor, tmp_path):
    """No traceback, nothing on stdout, nothing written, nothing of the user's changed."""
    arguments = make(tmp_path)
    before = _files(tmp_path)
    code, out, err = advisor(*arguments)
    assert code == 2
    assert out == ""
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert _files(tmp_path) == before


def test_a_plan_for_another_backbone_or_other_classes_is_refused(advisor, photos, pretrained_weights, tmp_path):
    """Both get a sentence; the run folder is not made."""
    assert advisor("recommend", photos, "--backbone", BACKBONE, "--out", tmp_path / "advice")[0] == 0
    plan = tmp_path / "advice" / "plan.json"
    arguments = ["train", photos, "--plan", plan, "--out", tmp_path / "run"]
    code, _, err = advisor(*arguments, "--backbone", "MobileNet")
    assert code == 2
    assert "--backbone" in err
    other = _make(tmp_path / "other", cat=4, dog=4)
    code, _, err = advisor("train", other, *arguments[2:])
    assert code == 2
    assert "other classes" in err
    assert not (tmp_path / "run").exists()


def test_some_unreadable_files_are_a_caution_and_the_run_goes_on(advisor, photos, pretrained_weights, tmp_path):
    """Listed by path in the fingerprint, counted in the report."""
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "china" / "broken.png").write_bytes(b"\x89PNG\r\n")
    arguments = ("recommend", data, "--backbone", BACKBONE, "--json", "--max-unreadable", "0.1")
    code, out, err = advisor(*arguments)
    assert code == 0, err
    values = json.loads(out)
    assert [one["path"] for one in values["fingerprint"]["profile"]["unreadable"]] == ["china/broken.png"]
    assert "unreadable" in {caution["code"] for caution in values["plan"]["advice"]["cautions"]}


def test_the_command_is_installed_and_fails_without_a_traceback(tmp_path):
    """As a process of its own: exit code 2, one sentence on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "advisor", "recommend", str(tmp_path / "x")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
