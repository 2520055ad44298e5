"""Test metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, log_loss, precision_score, recall_score

from strategies.training.metrics import balanced_interval, evaluate_predictions, paired_difference, wilson_interval


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share_and_stays_within_0_and_1(counts):
    """Also for none and for all correct, where the normal interval would collapse."""
    low, high = wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1
    assert high > low


def test_metrics_agree_with_scikit_learn():
    """Accuracy, balanced accuracy, F1, precision, recall, log loss and confusion are what the field means by them."""
    generator = np.random.default_rng(0)
    labels, probabilities = generator.integers(0, 4, 200), generator.dirichlet(np.ones(4), 200)
    result = evaluate_predictions(probabilities, labels, np.array([2, 2, 1]), ["a", "b", "c", "d"])
    predicted = probabilities.argmax(axis=1)
    assert result.accuracy == pytest.approx((labels == predicted).mean())
    assert result.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert result.confusion == confusion_matrix(labels, predicted).tolist()
    assert result.majority_class == "c"
    assert result.majority_accuracy == pytest.approx((labels == 2).mean())
    assert result.low < result.accuracy < result.high
    assert result.balanced_low < result.balanced_accuracy < result.balanced_high
    assert result.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert result.log_loss == pytest.approx(log_loss(labels, probabilities))
    for name, score in (("recall", recall_score), ("precision", precision_score), ("f1", f1_score)):
        column = [row[name] for row in result.per_class.values()]
        assert column == pytest.approx(list(score(labels, predicted, average=None)))
    for row in result.per_class.values():
        assert (row["low"], row["high"]) == wilson_interval(round(row["recall"] * row["num_images"]), row["num_images"])


def test_a_class_without_test_images_has_no_recall_and_does_not_count():
    """A missing class is not called 0% right."""
    result = evaluate_predictions(np.eye(3)[[0, 1]], np.array([0, 1]), np.array([0, 1, 2]), ["a", "b", "c"])
    assert result.per_class["c"] == {"num_images": 0} | dict.fromkeys(("recall", "low", "high", "precision", "f1"))
    assert result.balanced_accuracy == 1
    assert result.macro_f1 == 1


def test_the_interval_of_the_balanced_accuracy_covers_it_and_depends_on_the_seed_alone():
    """In 400 studies with a rare class, the 95% interval holds the true mean recall in 90% or more."""
    truth, counts = np.array([0.9, 0.6]), np.array([200, 40])
    generator = np.random.default_rng(0)
    intervals = [balanced_interval(generator.binomial(counts, truth), counts) for _ in range(400)]
    assert np.mean([low <= truth.mean() <= high for low, high in intervals]) > 0.9
    hits = np.array([180, 24])
    assert balanced_interval(hits, counts, seed=1) == balanced_interval(hits, counts, seed=1)
    assert balanced_interval(hits, counts, seed=1) != balanced_interval(hits, counts, seed=2)


def test_the_most_confidently_wrong_images_are_named():
    """By the names that they were given, the surest first, and no more than twelve."""
    confidence = np.linspace(0.6, 0.9, 20)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.ones(20, dtype=int)
    labels[-1] = 0  # the most confident prediction is correct
    names = [f"cat/{index}.png" for index in range(20)]
    result = evaluate_predictions(probabilities, labels, labels, ["cat", "dog"], names=names)
    assert len(result.mistakes) == 12
    assert result.mistakes[0] == {
        "image": "cat/18.png", "true": "dog", "predicted": "cat", "probability": confidence[18],
    }  # fmt: skip
    shown = [row["probability"] for row in result.mistakes]
    assert shown == sorted(shown, reverse=True)
    assert evaluate_predictions(probabilities, labels, labels, ["cat", "dog"]).mistakes[0]["image"] == "image 18"


def test_a_paired_difference_is_surer_than_that_of_two_test_sets():
    """Images on which both models agree do not count; the error is that of the mean of the differences."""
    baseline, model = np.ones(100, dtype=bool), np.ones(100, dtype=bool)
    baseline[:10], model[:4] = False, False
    difference, error = paired_difference(model, baseline)
    assert difference == pytest.approx(0.06)
    assert error == pytest.approx(np.std(model.astype(int) - baseline) / 10)
    assert error < np.sqrt((0.9 * 0.1 + 0.96 * 0.04) / 100)
    assert paired_difference(model, model) == (0, 0)
