"""Calibration: the expected calibration error, and what the temperature fixes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.training.calibration import NUM_BINS, apply_temperature, fit_temperature, log_loss, measure_calibration


def _softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _honest(size, seed=0):
    """Predictions whose labels are drawn from them, so that they are calibrated by construction."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (size, 5))
    draws = generator.random((size, 1))
    return logits, (draws > _softmax(logits).cumsum(axis=1)).sum(axis=1)


def test_honest_probabilities_have_next_to_no_error_and_inflated_ones_do():
    """Logits that are three times too large are overconfident, and the temperature that fixes them is three."""
    logits, labels = _honest(20_000)
    honest = measure_calibration(_softmax(logits), labels)
    assert honest.error < 0.015
    inflated = _softmax(3 * logits)
    temperature = fit_temperature(*_fit_images(3))
    assert temperature == pytest.approx(3, rel=0.05)
    found = measure_calibration(inflated, labels, temperature=temperature)
    assert found.error > 0.1
    assert found.error_after < 0.02
    assert honest.temperature is None
    assert honest.error_after is None


def _fit_images(factor):
    logits, labels = _honest(20_000, seed=1)
    return _softmax(factor * logits), labels


def test_the_error_is_the_mean_gap_of_the_bins():
    """Computed by hand: two bins, of two images and of one."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    found = measure_calibration(probabilities, np.array([0, 1, 1]))
    assert found.error == pytest.approx(2 / 3 * abs(0.5 - 0.9) + 1 / 3 * abs(1 - 0.6))
    assert [row["num_images"] for row in found.bins] == [1, 2]
    for row in found.bins:
        assert row["low"] < row["confidence"] <= row["high"]
        assert row["high"] - row["low"] == pytest.approx(1 / NUM_BINS)


@given(st.floats(0.06, 15), st.integers(0, 1000))
def test_a_temperature_changes_no_answer_and_never_adds_loss_where_it_was_fitted(factor, seed):
    """It is a single number for all classes, and may be 1."""
    generator = np.random.default_rng(seed)
    probabilities = _softmax(factor * generator.normal(size=(40, 3)))
    labels = generator.integers(0, 3, 40)
    temperature = fit_temperature(probabilities, labels)
    tempered = apply_temperature(probabilities, temperature)
    best = tempered[np.arange(40), probabilities.argmax(axis=1)]
    assert np.allclose(best, tempered.max(axis=1))
    assert log_loss(tempered, labels) <= log_loss(apply_temperature(probabilities, 1), labels) + 1e-4


def test_probabilities_of_zero_and_images_that_are_all_right_stay_finite():
    """Single precision rounds a softmax to 0 and 1; without images there is no temperature."""
    probabilities, labels = np.eye(2, dtype="float32")[[0, 1, 0]], np.array([0, 1, 1])
    assert np.isfinite(log_loss(probabilities, labels))
    assert 0.05 <= fit_temperature(probabilities, labels) <= 20
    assert 0.05 <= fit_temperature(probabilities[:2], labels[:2]) <= 20
    assert fit_temperature(probabilities[:0], labels[:0]) is None
    assert measure_calibration(probabilities[:2], labels[:2]).error == 0
