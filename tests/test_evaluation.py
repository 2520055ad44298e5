"""Test metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from strategies.evaluation import evaluate_predictions, paired_difference, wilson_interval


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share_and_stays_within_0_and_1(counts):
    """Also for none and for all correct, where the normal interval would collapse."""
    low, high = wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1
    assert high > low


def test_metrics_agree_with_scikit_learn():
    """Accuracy, balanced accuracy and confusion are what the field means by them."""
    generator = np.random.default_rng(0)
    labels, probabilities = generator.integers(0, 4, 200), generator.random((200, 4))
    result = evaluate_predictions(probabilities, labels, np.array([2, 2, 1]), ["a", "b", "c", "d"])
    predicted = probabilities.argmax(axis=1)
    assert result.accuracy == pytest.approx((labels == predicted).mean())
    assert result.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert result.confusion == confusion_matrix(labels, predicted).tolist()
    assert result.majority_class == "c"
    assert result.majority_accuracy == pytest.approx((labels == 2).mean())
    assert result.low < result.accuracy < result.high


def test_a_class_without_test_images_has_no_recall_and_does_not_count():
    """A missing class is not called 0 % right."""
    result = evaluate_predictions(np.eye(3)[[0, 1]], np.array([0, 1]), np.array([0, 1, 2]), ["a", "b", "c"])
    assert result.per_class["c"] == {"num_images": 0, "recall": None}
    assert result.balanced_accuracy == 1


def test_a_paired_difference_is_surer_than_that_of_two_test_sets():
    """Images on which both models agree say nothing; the error is that of the mean of the differences."""
    one, other = np.ones(100, dtype=bool), np.ones(100, dtype=bool)
    one[:10], other[:4] = False, False
    difference, error = paired_difference(other, one)
    assert difference == pytest.approx(0.06)
    assert error == pytest.approx(np.std(other.astype(int) - one) / 10)
    assert error < np.sqrt((0.9 * 0.1 + 0.96 * 0.04) / 100)
    assert paired_difference(one, one) == (0, 0)
