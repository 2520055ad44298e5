"""Optimizers of a phase: warm-up and cosine, and a rate of its own for each stage."""

import keras
import numpy as np
import pytest

from strategies.training.optimizers import OPTIMIZERS, Schedule, StageRates, make_optimizer

ROWS = {"weight_decay": 0.0}


def _model():
    layers = [keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2, activation="softmax")]
    return keras.Sequential(layers)


def _data():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return x, (x[:, 0] > 0).astype("int64")


def _fit(model, optimizer, epochs=5):
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    before = [np.array(weight) for weight in model.get_weights()]
    model.fit(*_data(), epochs=epochs, verbose=0, shuffle=False)
    return [np.abs(new - old).max() for new, old in zip(model.get_weights(), before, strict=True)]


def _rates(model, low, high):
    return {weight.path: low if index < 2 else high for index, weight in enumerate(model.trainable_weights)}


@pytest.mark.parametrize("solver", OPTIMIZERS)
def test_each_weight_moves_at_its_own_rate(solver):
    """A rate ten thousand times lower moves a layer's kernel a thousand times less at least, whatever the optimizer."""
    model = _model()
    moved = _fit(model, make_optimizer(solver, _rates(model, 1e-6, 1e-2), model.trainable_weights, **ROWS))
    assert 0 < moved[0] < moved[2] / 1e3


def test_one_rate_needs_no_group():
    """The plain Keras optimizer is used where all rates are the same."""
    model = _model()
    optimizer = make_optimizer("adamw", _rates(model, 1e-3, 1e-3), model.trainable_weights, **ROWS)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert not isinstance(optimizer, StageRates)


def test_groups_of_one_rate_do_what_one_optimizer_does():
    """Two optimizers of the same rate give the weights that a single one gives, to the last bit."""
    results = []
    for grouped in (False, True):
        keras.utils.set_random_seed(0)
        model = _model()
        optimizer = keras.optimizers.AdamW(1e-2)
        if grouped:
            optimizer = StageRates([keras.optimizers.AdamW(1e-2), keras.optimizers.AdamW(1e-2)], groups=[1, 1, 0, 0])
        _fit(model, optimizer)
        results.append(model.get_weights())
    for single, combined in zip(*results, strict=True):
        np.testing.assert_array_equal(single, combined)


@pytest.mark.parametrize("rate", [1e-2, keras.optimizers.schedules.CosineDecay(1e-2, 100)], ids=["number", "schedule"])
def test_a_compiled_model_saves_and_reloads_with_the_state_of_every_optimizer(rate, tmp_path):
    """And trains on to the same weights."""
    model = _model()
    own = keras.optimizers.SGD(rate, momentum=0.9)
    optimizer = make_optimizer("adamw", _rates(model, 1e-4, 1e-2), model.trainable_weights, own=own, **ROWS)
    _fit(model, optimizer)
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(reloaded.optimizer, StageRates)
    assert int(reloaded.optimizer.iterations) == 10
    for trained in (model, reloaded):
        trained.fit(*_data(), epochs=2, verbose=0, shuffle=False)
    for kept, loaded in zip(model.get_weights(), reloaded.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, loaded)


def test_an_own_optimizer_is_copied_never_used():
    """The same instance serves every phase; its rate holds for the stages that learn fastest."""
    own = keras.optimizers.SGD(0.5, momentum=0.8)
    for _ in range(2):
        model = _model()
        optimizer = make_optimizer("adamw", _rates(model, 1e-5, 1e-3), model.trainable_weights, own=own, **ROWS)
        rates = [float(part.learning_rate) for part in optimizer.optimizers]
        assert rates == pytest.approx([0.5, 0.005])
        assert [part.momentum for part in optimizer.optimizers] == [0.8, 0.8]
        _fit(model, optimizer)
    assert not own.built


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_rate_rises_to_its_peak_and_falls_to_zero(warmup):
    """By a line, then by a cosine; the rate of each stage stays in proportion."""
    model = _model()
    optimizer = make_optimizer("adamw", _rates(model, 1e-4, 1e-2), model.trainable_weights, **ROWS)
    schedule, rates = Schedule(optimizer, steps=100, warmup=warmup), []
    for step in range(101):
        schedule.set(step)
        rates.append(float(optimizer.learning_rate))
        assert float(optimizer.optimizers[1].learning_rate) == pytest.approx(rates[-1] / 100)
    assert max(rates) == pytest.approx(1e-2)
    assert np.argmax(rates) == round(100 * warmup)
    assert rates[-1] == pytest.approx(0, abs=1e-8)
    assert (np.diff(rates[round(100 * warmup) :]) < 0).all()


def test_a_group_for_every_weight_is_needed():
    """One too few is said, not guessed."""
    with pytest.raises(ValueError, match="4 trainable weights"):
        StageRates([keras.optimizers.SGD(1e-2)], groups=[0, 0, 0]).build(_model().trainable_weights)


def test_accumulated_gradients_make_the_step_of_the_whole_batch():
    """Two halves of a batch move the weights as the whole does, each stage at its own rate."""
    inputs = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    targets = inputs @ np.ones((3, 1), dtype="float32")
    found = []
    for accumulate in (1, 2):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])
        rates = {
            weight.path: rate for weight, rate in zip(model.trainable_weights, (1e-3, 1e-3, 1e-2, 1e-2), strict=True)
        }
        optimizer = make_optimizer("adamw", rates, model.trainable_weights, weight_decay=0.01, accumulate=accumulate)
        schedule = Schedule(optimizer, steps=4, warmup=0.5)
        model.compile(optimizer, "mse")
        for step in range(3):
            schedule.set(step)
            for part in np.split(np.arange(8), accumulate):
                model.train_on_batch(inputs[part], targets[part])
        found.append(model.get_weights())
    for whole, accumulated in zip(*found, strict=True):
        assert np.allclose(whole, accumulated, atol=1e-5)
