"""Which weights are kept, and what they are judged by."""

import keras
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from strategies.plans.phase import Phase
from strategies.training.best_weights import BalancedAccuracy, BestWeights


class _Model:
    """Stands for a model whose only weight counts the evaluations."""

    stop_training = False

    def __init__(self):
        self.count = 0

    def get_weights(self):
        return [np.array(self.count)]


def _kept(scores, *, num_val=100, optional=(), losses=None):
    """Feeds validation accuracies, phase by phase, and returns the phase and number of the kept evaluation."""
    best_weights, count = BestWeights("accuracy", num_val), 0
    for name, values in scores.items():
        model = _Model()
        best_weights.start(
            Phase(name=name, trains=("x",), learning_rate={}, steps=99, optional=name in optional), model
        )
        best_weights.set_model(model)
        for value in values:
            count += 1
            model.count = count
            logs = {"loss": 1.0, "val_loss": 1.0, "val_accuracy": value, "accuracy": 1.0}
            best_weights.on_epoch_end(count, {key: share for key, share in logs.items() if share is not None})
            if model.stop_training:
                break
    return best_weights.place[0], int(best_weights.weights[0])


def test_the_latest_of_what_validation_cannot_tell_apart_is_kept():
    """With 100 images, 80 and 76 per cent are the same."""
    assert _kept({"head": [0.70], "all": [0.80, 0.76]}) == ("all", 3)


def test_what_is_clearly_worse_is_not_kept():
    """Neither at once nor by many small steps down: the best so far is what counts."""
    assert _kept({"head": [0.80], "all": [0.50, 0.60]}) == ("head", 1)
    assert _kept({"all": [0.80, 0.76, 0.73, 0.70, 0.67]}) == ("all", 3)


def test_few_images_tell_little_and_many_tell_much():
    """The same three shares of 15 and of 10,000 images."""
    scores = {"all": [1.0, 0.95, 0.93]}
    assert _kept(scores, num_val=15) == ("all", 3)
    assert _kept(scores, num_val=10_000) == ("all", 1)


def test_an_optional_phase_must_be_better():
    """Equal weights are not kept, and of two better ones the best is kept."""
    assert _kept({"all": [0.80], "more": [0.80, 0.79]}, optional={"more"}) == ("all", 1)
    assert _kept({"all": [0.80], "more": [0.82, 0.81]}, optional={"more"}) == ("more", 2)


def test_a_phase_that_goes_wrong_ends_early():
    """After five evaluations in a row that are clearly worse."""
    best_weights = BestWeights("accuracy", 100)
    model = _Model()
    best_weights.set_model(model)
    best_weights.start(Phase(name="all", trains=("x",), learning_rate={}, steps=99), model)
    for value in (0.9, 0.1, 0.1, 0.1, 0.1, 0.1):
        assert not model.stop_training
        best_weights.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0, "val_accuracy": value, "accuracy": 1.0})
    assert model.stop_training


def test_what_is_not_a_number_ends_the_phase_and_is_not_kept():
    """A diverged loss is no result."""
    best_weights = BestWeights("accuracy", 100)
    model = _Model()
    best_weights.set_model(model)
    best_weights.start(Phase(name="all", trains=("x",), learning_rate={}, steps=99), model)
    best_weights.on_epoch_end(0, {"loss": float("nan"), "val_loss": 1.0, "val_accuracy": 0.9, "accuracy": 1.0})
    assert model.stop_training
    assert best_weights.weights == []


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
