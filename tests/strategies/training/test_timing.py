"""How long a plan will take: what is timed."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import fill

import strategies.training.timing
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import DatasetError
from strategies.plans.planning import make_plan
from strategies.training.timing import TIMED_IMAGES, TIMED_STEPS, _peak, measure_cost


def test_memory_counts_the_images_that_are_kept_decoded(monkeypatch):
    """A larger network takes more, and so do more images; where the system tells nothing there is no number."""
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype="uint8")
    data = split_dataset(load_dataset((images, [0, 1] * 30)), seed=0)
    plan = make_plan(
        "head_only", "MobileNet-0.25", class_names=data.class_names, num_train=42, image_size=32, weights="random"
    )
    small = measure_cost(plan, data).memory
    peak = _peak()  # one for both: what earlier tests left behind may be freed between two of them
    monkeypatch.setattr("strategies.training.timing._peak", lambda: peak)
    small = small and measure_cost(plan, data).memory
    twice = data.subset([*range(60)] * 500)
    large = measure_cost(plan, twice).memory
    if not Path("/proc/self/status").exists():
        assert small is None
        assert large is None
        return
    assert small > 2**27  # TensorFlow alone takes more
    assert large - small > 0.8 * 60 * 499 * 32 * 32 * 3
    monkeypatch.setattr("strategies.training.timing._peak", lambda: None)
    assert measure_cost(plan, data).memory is None


def test_a_few_steps_on_a_few_images_of_every_class_are_timed(monkeypatch):
    """Whatever the length of the plan: each phase has laps of its own, and none of the real ones is trained."""
    seen = {}

    def train(plan, data, *, callbacks, cache, baseline):
        seen.update(plan=plan, data=data, cache=cache)
        for phase in plan.phases * (1 + plan.refit):
            if not phase.has_steps:
                continue
            callbacks[0].on_train_begin()
            for epoch in range(2):
                callbacks[0].on_epoch_begin(epoch)
                for step in range(phase.steps // 2):
                    callbacks[0].on_train_batch_end(step, {"loss": 1.0})
        return type("Result", (), {"seconds": 9.0, "model": None})

    monkeypatch.setattr(strategies.training.timing, "train", train)
    monkeypatch.setattr(strategies.training.timing, "forward", lambda model, inputs: None)
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype="uint8")
    data = split_dataset(load_dataset((images, [0] * 50 + [1] * 8 + [2] * 2)), seed=0)
    plan = make_plan("fine_tune_all", "MobileNet-0.25", class_names=data.class_names, num_train=42, image_size=32)
    cost = measure_cost(replace(plan, refit=True), data)
    assert [phase.steps for phase in seen["plan"].phases] == [0, TIMED_STEPS]
    assert seen["plan"].refit
    assert not seen["cache"]
    assert set(seen["data"].labels) == {0, 1, 2}
    assert len(seen["data"]) == 3 * (TIMED_IMAGES + 3)
    train_names = {name for name, part in zip(data.names, data.split, strict=True) if part == "train"}
    assert set(seen["data"].names) <= train_names
    assert cost.images == {part: data.split.count(part) for part in ("train", "val", "test")}
    assert len(cost.per_step) == 1
    assert cost.seconds(0.5) < cost.seconds() + 1e-6
    assert 8 < cost.start <= 9
    assert cost.whole.measured


def test_unreadable_files_are_not_timed(tmp_path, monkeypatch):
    """Others take their place; where all training images are unreadable, one sentence names some."""
    seen = {}

    class SeenError(Exception):
        pass

    def train(plan, data, **_):
        seen["items"] = set(data.items)
        raise SeenError

    monkeypatch.setattr(strategies.training.timing, "train", train)
    for number, name in enumerate(("cat", "dog")):
        fill(tmp_path / name, 4, number)
    damaged = sorted((tmp_path / "cat").iterdir())[:2]
    for path in damaged:
        path.write_bytes(b"damaged")
    data = load_dataset(tmp_path)
    data = replace(data, split=("train",) * len(data))
    plan = make_plan("head_only", "MobileNet-0.25", class_names=data.class_names, num_train=8, image_size=32)
    with pytest.raises(SeenError):
        measure_cost(plan, data)
    assert seen["items"] == set(data.items) - set(damaged)
    for path in data.items:
        path.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match="where none can: 'cat/"):
        measure_cost(plan, data)


def test_timing_prints_nothing_and_leaves_stderr_as_it_is(capfd, monkeypatch):
    """Also where stderr is a terminal, on which progress is drawn."""
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype="uint8")
    data = split_dataset(load_dataset((images, [0, 1] * 12)), seed=0)
    plan = make_plan(
        "fine_tune_all", "MobileNet-0.25", class_names=data.class_names, num_train=16, image_size=32, weights="random"
    )
    stream, seen = sys.stderr, []
    monkeypatch.setattr(stream, "isatty", lambda: True)
    run = strategies.training.timing.train

    def train(*arguments, **options):
        seen.append(sys.stderr)
        return run(*arguments, **options)

    monkeypatch.setattr(strategies.training.timing, "train", train)
    measure_cost(plan, data)
    assert seen == [stream]
    assert sys.stderr is stream
    assert capfd.readouterr() == ("", "")
