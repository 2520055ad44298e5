"""The exact head on frozen features."""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from strategies.classifier import fit_classifier


def _accuracy(data, **options):
    train, test, train_labels, test_labels = train_test_split(
        data.data.astype("float32"), data.target, random_state=0, stratify=data.target, test_size=0.5
    )
    kernel, bias = fit_classifier(train, train_labels, len(set(data.target)), seed=0, **options)
    plain = LogisticRegression(max_iter=5000).fit(train, train_labels)
    return ((test @ kernel + bias).argmax(axis=1) == test_labels).mean(), plain.score(test, test_labels)


def test_the_head_is_as_good_as_logistic_regression():
    """On real features it is on average no more than half a point below scikit-learn's own classifier."""
    scores = np.array([_accuracy(load()) for load in (load_iris, load_digits, load_wine, load_breast_cancer)])
    ours, plain = scores.mean(axis=0)
    assert ours >= plain - 0.005, scores


def test_two_classes_get_two_outputs():
    """A softmax of width two gives the same answers as the one logistic output."""
    iris = load_iris()
    features, labels = iris.data[:100].astype("float32"), iris.target[:100]
    kernel, bias = fit_classifier(features, labels, 2, seed=0)
    assert kernel.shape == (4, 2)
    assert ((features @ kernel + bias).argmax(axis=1) == labels).all()


def test_one_image_per_class_is_enough_to_fit():
    """Without images to cross-validate on, a fixed regularisation serves."""
    kernel, bias = fit_classifier(np.eye(3, dtype="float32"), np.arange(3), 3, seed=0)
    assert (np.eye(3) @ kernel + bias).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_dead_feature_does_no_harm():
    """A feature that never varies gets no weight worth speaking of, and nothing becomes infinite."""
    iris = load_iris()
    features = np.concatenate([iris.data, np.full((150, 1), 7.0)], axis=1).astype("float32")
    kernel, bias = fit_classifier(features, iris.target, 3, seed=0)
    assert np.isfinite(kernel).all()
    assert np.isfinite(bias).all()
    assert np.abs(kernel[4]).max() < 1e-3


def test_class_weights_move_the_boundary():
    """A class that counts more is answered more often."""
    data = load_iris()
    counts = []
    for weight in (0.1, 10.0):
        kernel, bias = fit_classifier(
            data.data.astype("float32"), data.target, 3, seed=0, class_weights=np.array([1, 1, weight])
        )
        counts.append(((data.data @ kernel + bias).argmax(axis=1) == 2).sum())
    assert counts[0] < counts[1]
