"""What is recorded of a training, and which phases are kept."""

import keras
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss

from strategies.plans.phase import Phase
from strategies.training.recorder import BalancedAccuracy, Recorder, split_measures


def _phase(name, *, optional=False):
    return Phase(name=name, trains=("x",), learning_rate={}, steps=99, optional=optional)


def _predictions(labels, wrong):
    """Probabilities of two classes that are wrong for the images at these places."""
    answers = labels.copy()
    answers[list(wrong)] = 1 - answers[list(wrong)]
    return np.eye(2)[answers]


def _kept(course, *, num_val=20, metric="accuracy", labels=None):
    """Feeds one evaluation of each phase, given the wrongly predicted images, and returns which phases are kept."""
    labels = np.zeros(num_val, dtype=int) if labels is None else labels
    recorder, kept = Recorder(metric, labels), []
    for name, wrong in course.items():
        phase = _phase(name, optional=name == "optional")
        recorder.add(phase, 99, {"loss": 1.0, "accuracy": 1.0}, _predictions(labels, wrong))
        if recorder.keeps(phase):
            kept.append(name)
    return kept


def test_what_chance_explains_is_kept():
    """One image of twenty lost, or four lost and three won, is no evidence of harm."""
    assert _kept({"head": [0, 1, 2], "all": [0, 1, 2, 3]}) == ["head", "all"]
    assert _kept({"head": [0, 1, 2], "all": [3, 4, 5, 6]}) == ["head", "all"]


def test_harm_is_undone_and_the_next_phase_is_compared_with_what_was_kept():
    """Five images lost and none won is more than two standard errors."""
    assert _kept({"head": [], "all": range(5)}) == ["head"]
    assert _kept({"head": [], "all": range(5), "more": [0]}) == ["head", "more"]


def test_the_same_images_tell_more_than_two_shares():
    """Of 200 images, 8 lost and none won is clear, although 90 and 86 per cent are the same by their own errors."""
    assert _kept({"head": range(20), "all": range(28)}, num_val=200) == ["head"]


def test_an_optional_phase_must_be_better():
    """Equal accuracy is not enough."""
    assert _kept({"all": [0, 1], "optional": [2, 3]}) == ["all"]
    assert _kept({"all": [0, 1], "optional": [2]}) == ["all", "optional"]


def test_balanced_accuracy_counts_classes_equally():
    """All of a small class lost against as many won of a large one: harm by balanced accuracy alone."""
    labels = np.repeat([0, 1], [90, 10])
    course = {"head": range(10), "all": range(90, 100)}
    assert _kept(course, labels=labels) == ["head", "all"]
    assert _kept(course, labels=labels, metric="balanced_accuracy") == ["head"]


def test_without_validation_images_all_but_optional_phases_are_kept():
    """Nothing shows harm, and nothing shows a gain."""
    recorder = Recorder("accuracy", np.zeros(0, dtype=int))
    for name, kept in (("all", True), ("optional", False)):
        phase = _phase(name, optional=not kept)
        assert "val_loss" not in recorder.add(phase, 99, {"loss": 1.0}, None)
        assert recorder.keeps(phase) is kept


def test_what_is_not_a_number_is_not_kept():
    """A diverged loss is no result."""
    recorder = Recorder("accuracy", np.zeros(0, dtype=int))
    recorder.add(_phase("all"), 1, {"loss": float("nan")}, None)
    assert recorder.diverged
    assert not recorder.keeps(_phase("all"))
    assert recorder.place == ("", 0)


def test_measures_are_those_of_scikit_learn():
    """Loss and both accuracies, where a class does not occur."""
    generator = np.random.default_rng(0)
    labels, probabilities = generator.integers(0, 4, 60), generator.dirichlet(np.ones(5), 60)
    measures = split_measures(probabilities, labels)
    assert measures["loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(5)))
    assert measures["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == labels).mean())
    recall = [(probabilities[labels == label].argmax(axis=1) == label).mean() for label in range(4)]
    assert measures["balanced_accuracy"] == pytest.approx(np.mean(recall))


@pytest.mark.parametrize("batches", [1, 3])
def test_balanced_accuracy_is_that_of_scikit_learn(batches):
    """Over several batches, with a class that does not occur."""
    generator = np.random.default_rng(0)
    labels, answers = generator.integers(0, 4, 60), generator.random((60, 5))
    metric = BalancedAccuracy(5)
    for part in np.array_split(np.arange(60), batches):
        metric.update_state(np.eye(5)[labels[part]], answers[part])
    expected = balanced_accuracy_score(labels, answers[:, :].argmax(axis=1))
    recall = [(answers[labels == label].argmax(axis=1) == label).mean() for label in range(4)]
    assert float(keras.ops.convert_to_numpy(metric.result())) == pytest.approx(np.mean(recall), abs=1e-6)
    assert expected == pytest.approx(np.mean(recall))
