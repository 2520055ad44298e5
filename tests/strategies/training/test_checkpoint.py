"""Interrupted runs, and how they continue."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

import strategies
from strategies.errors import OutputError
from strategies.files import write_json
from strategies.recipes import RECIPES
from strategies.training.checkpoint import Checkpoint, State, locked
from strategies.training.run_files import CHECKPOINT


class Interrupt(keras.callbacks.Callback):
    """Interrupts as Ctrl-C does, at the given step over all phases."""

    def __init__(self, step):
        super().__init__()
        self._left = step

    def on_train_batch_end(self, batch, logs=None):
        """Counts; Keras calls it."""
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


MOBILENET = {"backbone": "MobileNet-0.25", "weights": "random", "image_size": 32}
LITE = {"network": {"backbone": "EfficientNetLite0", "weights": "random", "image_size": 32}}


def _plan(recipe, network, **changes):
    plan = strategies.make_plan(recipe, class_names=["china", "flower"], num_train=28, **network)
    phases = tuple(replace(phase, steps=min(phase.steps, 6)) for phase in plan.phases)
    return replace(plan, phases=phases, batch_size=8, **changes)


def _same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left.get_weights(), right.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("recipe", "changes", "step"),
    [
        *((recipe, {}, 5) for recipe in RECIPES),
        ("fine_tune_all", {"refit": True}, 9),
        ("keep_early_layers", {"refit": True}, 15),
        ("fine_tune_all", LITE, 5),
    ],
)
def test_an_interrupted_run_continues_to_the_same_result(recipe, changes, step, photos, tmp_path, small_network):
    """Weights, history and metrics are those of a run without interruption, to the last bit; also within a refit."""
    plan = _plan(recipe, **{"network": small_network} | changes)
    whole = strategies.train(plan, photos, cache=False)
    run = tmp_path / "run"
    if recipe != "head_only":  # which is solved in a single step
        with pytest.raises(KeyboardInterrupt):
            strategies.train(plan, photos, run, cache=False, callbacks=[Interrupt(step)])
        assert (run / CHECKPOINT).is_file()
        assert not (run / "metrics.json").exists()
    result = strategies.train(plan, photos, run, resume=True, cache=False)
    assert _same(whole.model, result.model)
    assert result.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))
    assert result.test == whole.test
    assert result.num_trainable_by_phase == whole.num_trainable_by_phase
    assert (run / "metrics.json").is_file()
    assert not (run / CHECKPOINT).exists()


def test_without_a_state_a_run_starts_from_the_beginning(photos, tmp_path, small_network):
    """The same command works the first time and every time after."""
    plan = _plan("retrain_all", small_network)
    with pytest.raises(KeyboardInterrupt):
        strategies.train(plan, photos, tmp_path / "run", cache=False, callbacks=[Interrupt(1)])
    (tmp_path / "run" / CHECKPOINT).unlink()
    strategies.train(plan, photos, tmp_path / "run", resume=True, cache=False)
    with pytest.raises(OutputError, match="which is finished"):
        strategies.train(plan, photos, tmp_path / "run", resume=True)


def test_what_belongs_to_another_run_is_refused(photos, tmp_path, small_network):
    """Another plan, and a folder that holds other things."""
    with pytest.raises(KeyboardInterrupt):
        strategies.train(
            _plan("retrain_all", small_network), photos, tmp_path / "run", cache=False, callbacks=[Interrupt(5)]
        )
    with pytest.raises(OutputError, match="Received: different ones"):
        strategies.train(
            _plan("retrain_all", small_network, seed=1), photos, tmp_path / "run", resume=True, cache=False
        )
    (tmp_path / "diaries").mkdir()
    (tmp_path / "diaries" / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files"):
        strategies.train(_plan("retrain_all", small_network), photos, tmp_path / "diaries", resume=True, cache=False)


def test_a_folder_that_another_run_writes_to_is_refused(photos, tmp_path):
    """Until the other run has ended, however it ended."""
    code = (
        "import sys, time, pathlib; from strategies.training.checkpoint import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="another run is writing to"), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        pass


def test_a_killed_run_can_be_continued(photos, tmp_path):
    """SIGKILL in another process, in the middle of a phase."""
    plan = _plan("retrain_all", MOBILENET)
    plan = replace(plan, phases=tuple(replace(phase, steps=4000) for phase in plan.phases))
    write_json(tmp_path / "plan.json", plan.to_dict())
    code = (
        "import sys, strategies; plan, photos, run = sys.argv[1:]\n"
        "strategies.train(strategies.read_plan(plan), photos, run, cache=False)"
    )
    arguments = [str(tmp_path / "plan.json"), str(photos), str(tmp_path / "run")]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)
    while not (tmp_path / "run" / CHECKPOINT).exists() and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    short = Interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        strategies.train(plan, photos, tmp_path / "run", resume=True, cache=False, callbacks=[short])
    with np.load(tmp_path / "run" / CHECKPOINT) as state:
        assert "variables/0" in state


def test_a_full_disk_leaves_the_state_before(tmp_path, monkeypatch):
    """And the error is one sentence."""
    checkpoint = Checkpoint(tmp_path, {"plan": 1})
    checkpoint.write(State(arrays={"variables": [np.arange(3)]}, values={"phase": 0}))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint.write(State(arrays={"variables": [np.zeros(3)]}, values={"phase": 1}))
    monkeypatch.undo()
    found = Checkpoint(tmp_path, {"plan": 1}).read()
    assert found.values == {"phase": 0}
    assert found.arrays["variables"][0].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
