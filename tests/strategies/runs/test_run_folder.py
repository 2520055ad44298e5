"""Run folders, read back: what is missing or does not fit is named, and the model is loaded once."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support import needs_openvino

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


def test_a_run_that_was_read_loads_its_model_once(small_run, photos, monkeypatch):
    """`read_run` keeps what computes, with any engine, and `predict` takes what it returned."""
    frames = []
    for engine in ("auto", "keras"):
        monkeypatch.setenv("ADVISOR_ENGINE", engine)
        run = strategies.read_run(small_run[0])
        assert not {"model", "engine"} & set(vars(run))
        frames.append(strategies.predict(run, photos / "china" / "00.png"))
        first = run.engine
        assert strategies.predict(run, photos / "china" / "00.png").equals(frames[-1])
        assert run.engine is first
    model = run.model
    assert first.args == (model,)
    assert strategies.predict(run, photos / "china" / "00.png").equals(frames[-1])
    assert run.model is model
    assert frames[0]["class"].equals(frames[1]["class"])
    assert np.allclose(frames[0]["probability"], frames[1]["probability"], atol=1e-4)


def _no_novelty(folder):
    (folder / "novelty.npz").unlink()


def _broken_novelty(folder):
    (folder / "novelty.npz").write_bytes((folder / "novelty.npz").read_bytes()[:1000])


def _other_model(folder):
    with (folder / "model.keras").open("ab") as file:
        file.write(b" ")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [(_no_novelty, "Train again"), (_broken_novelty, "not a zip file"), (_other_model, "another model")],
)
def test_a_run_without_its_threshold_predicts_but_is_not_unsure(spoil, sentence, small_run, photos, tmp_path, advisor):
    """One sentence says what to do; without `--unsure`, the file is not needed."""
    folder, photo = tmp_path / "run", photos / "china" / "00.png"
    shutil.copytree(small_run[0], folder)
    spoil(folder)
    code, out, err = advisor("predict", folder, photo, "--unsure")
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    if spoil is _no_novelty:
        assert len(strategies.predict(folder, photo)) == 1


@needs_openvino
def test_the_model_is_converted_once_and_other_predictions_need_no_keras(small_run, photos):
    """Another process reads it from the cache, and does not import Keras."""
    strategies.predict(small_run[0], photos / "china" / "00.png")
    code = "import sys, strategies; print(len(strategies.predict(*sys.argv[1:])), 'keras' in sys.modules)"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-c", code, small_run[0], photos / "china"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "20 False\n"


@needs_openvino
def test_keras_computes_where_a_conversion_could_not_be_kept(small_run, photos, monkeypatch):
    """It is worth its time only if it is made once."""
    monkeypatch.setenv("ADVISOR_CACHE_BYTES", "0")
    run = strategies.read_run(small_run[0])
    assert run.convertible
    strategies.predict(run, photos / "china" / "00.png")
    assert "model" in vars(run)


def test_keras_computes_an_own_network(small_network, photos, tmp_path):
    """Nobody has compared what OpenVINO makes of its layers."""
    dataset = strategies.split_dataset(strategies.load_dataset(photos), seed=0)
    plan = strategies.make_plan("head_only", class_names=dataset.class_names, num_train=28, **small_network)
    strategies.train(plan, dataset, tmp_path / "run", cache=False, baseline=False)
    run = strategies.read_run(tmp_path / "run")
    assert not run.convertible
    assert len(strategies.predict(run, photos)) == 40
    assert "model" in vars(run)
