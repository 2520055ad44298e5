"""Data-parallel training: on two devices of one process, and in two processes."""

import os
import re
import shlex
import socket
import subprocess
import sys

import numpy as np
import pytest
from support import ROOT

from strategies.errors import UserError
from strategies.training import distribution
from strategies.training.distribution import Devices, find_devices

SCRIPT = '''
from dataclasses import replace
from pathlib import Path
from strategies.training.distribution import find_devices

devices = find_devices()
import keras
import networks
import numpy as np
import strategies


class Interrupt(keras.callbacks.Callback):
    """Interrupts as Ctrl-C does, in every process at the same step."""

    left = 5

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


generator = np.random.default_rng(0)
labels = np.array(["cat", "dog"] * 20)
images = generator.normal(110 + 40 * (labels == "dog")[:, None, None, None], 60, (40, 32, 32, 3))
data = images.clip(0, 255).astype("uint8"), labels
strategies.add_backbone("small", networks.small(), stages=networks.STAGES)
plan = strategies.make_plan("retrain_all", "small", class_names=["cat", "dog"], num_train=28)
plan = replace(plan, phases=tuple(replace(phase, steps=6) for phase in plan.phases), batch_size=8, refit=False)
run, options = Path("run"), {"data_parallel": True, "cache": False, "baseline": False}
results = {"whole": strategies.train(plan, data, **options)}
if devices.num_processes > 1:
    try:
        strategies.train(plan, data, run, callbacks=[Interrupt()], **options)
    except KeyboardInterrupt:
        assert (run / "checkpoint.npz").is_file() or not devices.is_first
    results["resumed"] = strategies.train(plan, data, run, resume=True, **options)
    for wrong in ({"batch_size": 9}, {}, {"seed": devices.process}):
        try:
            strategies.train(replace(plan, **wrong), data, run if not wrong else None, **options)
        except strategies.errors.UserError as error:
            print(type(error).__name__, error)
if devices.is_first:
    results["alone"] = strategies.train(plan, data, **options | {"data_parallel": False})
for name, result in results.items():
    measures = result.history.drop(columns=["phase", "seconds"]).to_numpy(dtype=float)
    np.savez(f"{name}{devices.process}.npz", measures, result.test.confusion, *result.model.get_weights())
'''


def _start(folder, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=os.environ
        | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
        | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # steps are few, and compiling them takes longer
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def _free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _arrays(folder, name):
    with np.load(folder / f"{name}.npz") as file:
        return list(file.values())


def _check_equal(folder, first, *others):
    for other in others:
        pairs = zip(_arrays(folder, first), _arrays(folder, other), strict=True)
        assert all(np.array_equal(left, right) for left, right in pairs), other


def _check_close(folder, first, other):
    pairs = zip(_arrays(folder, first), _arrays(folder, other), strict=True)
    assert all(np.allclose(left, right, atol=1e-4) for left, right in pairs)


def test_two_processes_train_what_one_trains(tmp_path):
    """Equal weights in both, those of one process except for rounding, after an interruption too; errors in both."""
    pytest.importorskip("jax")
    address = _free_address()
    processes = [
        _start(
            tmp_path,
            KERAS_DISTRIBUTION_JOB_ADDRESSES=address,
            KERAS_DISTRIBUTION_NUM_PROCESSES="2",
            KERAS_DISTRIBUTION_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]
    ended = [process.communicate() for process in processes]
    for process, (printed, progress) in zip(processes, ended, strict=True):
        assert process.returncode == 0, progress
        size, folder, seed = printed.splitlines()
        assert size.startswith("UserError Expected a batch size that is a multiple")
        assert folder.startswith("OutputError Expected a new or empty output folder")
        assert "others in process 1 than in process 0" in seed
    assert "Training on 2 devices in 2 processes" in ended[0][1]
    assert "Phase" not in ended[1][1]
    _check_equal(tmp_path, "whole0", "whole1", "resumed0", "resumed1")
    _check_close(tmp_path, "whole0", "alone0")
    assert (tmp_path / "run" / "metrics.json").is_file()
    assert not (tmp_path / "run" / "checkpoint.npz").exists()


def test_two_devices_of_one_process_train_what_one_trains(tmp_path):
    """As two processes do."""
    pytest.importorskip("jax")
    flags = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=2"
    process = _start(tmp_path, XLA_FLAGS=flags)
    _, progress = process.communicate()
    assert process.returncode == 0, progress
    assert "Training on 2 devices in 1 process\n" in progress
    _check_close(tmp_path, "whole0", "alone0")


def test_other_backends_are_refused(advisor, photos, tmp_path):
    """In one sentence, before anything is read or written."""
    code, _, shown = advisor("train", photos, "--out", tmp_path / "run", "--data-parallel")
    assert code == 2
    assert shown.startswith("advisor: Expected the JAX backend")
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("addresses", "num_processes", "process_id", "received"),
    [
        ("10.0.0.1:1234", "2", "", "none in KERAS_DISTRIBUTION_PROCESS_ID"),
        ("", "2", "0", "none in KERAS_DISTRIBUTION_JOB_ADDRESSES"),
        ("10.0.0.1:1234", "two", "0", "NUM_PROCESSES=two"),
        ("10.0.0.1:1234", "2", "2", "PROCESS_ID=2"),
    ],
)
def test_processes_that_are_named_incompletely_are_refused(addresses, num_processes, process_id, received, monkeypatch):
    """Instead of waiting for processes that never come."""
    monkeypatch.setattr(distribution, "keras_backend", lambda: "jax")
    for name, value in {
        "JOB_ADDRESSES": addresses,
        "NUM_PROCESSES": num_processes,
        "PROCESS_ID": process_id,
    }.items():
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(UserError, match=received):
        find_devices()


def test_the_commands_of_the_guide_are_understood(advisor, photos, tmp_path, monkeypatch):
    """Those of the shell, of Slurm and of Kubernetes; what follows is stopped before it begins."""

    def stop():
        raise UserError("understood")

    monkeypatch.setattr(distribution, "find_devices", stop)
    guide = (ROOT / "docs" / "guides" / "data-parallel.md").read_text(encoding="utf-8")
    commands = {
        found.strip() for found in re.findall(r"^.*advisor (train .*--data-parallel(?: --resume)?)", guide, re.M)
    }
    assert len(commands) == 3
    for command in commands:
        assert advisor(*shlex.split(command)) == (2, "", "advisor: understood\n")


def test_one_device_is_the_usual_training():
    """Nothing is copied, divided or sent."""
    devices, array = Devices(), np.ones(3)
    assert devices.is_first
    assert devices.of_first(array) is array
    assert devices.replica(array) is array
    devices.check_batches(7)
