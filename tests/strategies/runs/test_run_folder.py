"""Run folders, read back: what is missing or does not fit is named, and the model is loaded once."""

import json
import shutil

import pytest

import strategies
from strategies.errors import RunError


def _without_model(folder):
    (folder / "model.keras").unlink()


def _broken_model(folder):
    (folder / "model.keras").write_bytes(b"no archive")


def _broken_plan(folder):
    (folder / "plan.json").write_text("{")


def _empty_plan(folder):
    (folder / "plan.json").write_text("{}")


def _other_classes(folder):
    (folder / "class_names.json").write_text('{"version": 1, "class_names": ["cat", "dog"]}')


def _other_size(folder):
    plan = json.loads((folder / "plan.json").read_text()) | {"image_size": 64}
    (folder / "plan.json").write_text(json.dumps(plan))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (shutil.rmtree, "not a folder"),
        (_without_model, "model.keras"),
        (_broken_model, "can load"),
        (_broken_plan, "plan.json"),
        (_empty_plan, "image_size"),
        (_other_classes, "'cat'"),
        (_other_size, "64 px"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(spoil, sentence, small_run, photos, tmp_path, advisor):
    """One sentence that says what is wrong, exit code 2, nothing on stdout."""
    folder = tmp_path / "run"
    shutil.copytree(small_run[0], folder)
    spoil(folder)
    with pytest.raises(RunError, match=sentence):
        strategies.predict(folder, photos / "china" / "00.png")
    code, out, err = advisor("predict", folder, photos / "china" / "00.png")
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def test_a_run_that_was_read_loads_its_model_once(small_run, photos):
    """`read_run` keeps the model, and `predict` takes what it returned."""
    run = strategies.read_run(small_run[0])
    assert "model" not in vars(run)
    frame = strategies.predict(run, photos / "china" / "00.png")
    model = run.model
    assert strategies.predict(run, photos / "china" / "00.png").equals(frame)
    assert run.model is model
