"""The command line as a whole: errors, in this process and as an installed command."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from strategies.files import write_json
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


def _race_for_a_plan(root):
    return ["train", root / "data", "--plan", root / "plan.json", "--race", "--out", root / "out"]


def _no_such_recipe_to_plan(root):
    return ["recommend", _make(root / "data", cat=3, dog=3), "--recipe", "head"]


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
        (_race_for_a_plan, "--race without --plan"),
        (_no_such_recipe_to_plan, "Did you mean 'head_only'"),
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


def test_the_command_is_installed_and_fails_without_a_traceback(tmp_path):
    """As a process of its own: exit code 2, one sentence on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "advisor", "recommend", str(tmp_path / "x")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
