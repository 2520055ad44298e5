"""Softmax regression beside scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from strategies.training.softmax import SoftmaxRegression


def _objective(features, labels, kernel, strength, weights):
    """What both minimize, times the sum of weights. With two classes, the penalty counts twice."""
    logits = features @ kernel
    logits -= logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return (weights * loss).sum() + (2 if kernel.shape[1] == 2 else 1) * (kernel**2).sum() / (2 * strength)


@pytest.mark.parametrize("strength", [0.1, 10.0, 1000.0])
@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("num_images", [40, 700])
def test_the_minimum_is_scikit_learns(strength, num_classes, num_images):
    """On handwritten digits, with more and with fewer images than features, and with weights."""
    digits = load_digits(n_class=num_classes)
    features = digits.data[:num_images] / np.linalg.norm(digits.data[:num_images], axis=1, keepdims=True)
    labels, weights = digits.target[:num_images], 1.0 + digits.target[:num_images] % 3
    reference = LogisticRegression(C=strength, fit_intercept=False, tol=1e-8, max_iter=10_000)
    reference.fit(features, labels, weights)
    theirs = reference.coef_.T if num_classes > 2 else np.stack([-reference.coef_[0], reference.coef_[0]], axis=1) / 2
    regression = SoftmaxRegression(features, labels, num_classes)
    found = regression.fit(weights[:, None], strength, max_steps=1000)
    ours = regression.kernel(found)
    lowest = _objective(features, labels, theirs, strength, weights)
    assert _objective(features, labels, ours, strength, weights) <= lowest + 1e-5 * weights.sum()
    agreement = (features @ ours).argmax(axis=1) == reference.predict(features)
    assert agreement.mean() > 0.99
    np.testing.assert_allclose(regression.probabilities(found)[:, 0].sum(axis=1), 1, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 40), st.integers(1, 60), st.integers(2, 4), st.integers(0, 99))
def test_fits_made_together_are_those_made_alone(num_images, num_features, num_classes, seed):
    """Images that a fit leaves out do not count in it, and the other fits do not either."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(num_images, num_features)).astype("float32")
    labels = generator.integers(0, num_classes, num_images)
    weights = generator.integers(0, 2, (num_images, 3)).astype("float64")
    weights[0] = 1.0
    together = SoftmaxRegression(features, labels, num_classes)
    found = together.probabilities(together.fit(weights, 1.0, max_steps=500))
    for fit in range(3):
        kept = np.flatnonzero(weights[:, fit])
        alone = SoftmaxRegression(features[kept], labels[kept], num_classes)
        expected = alone.probabilities(alone.fit(np.ones((len(kept), 1)), 1.0, max_steps=500))
        np.testing.assert_allclose(found[kept, fit], expected[:, 0], atol=0.02)


@pytest.mark.parametrize("num_images", [40, 700])
def test_leading_axes_are_those_of_a_principal_component_analysis(num_images):
    """The fit is that of the features projected on them; as many axes as there are change nothing."""
    digits = load_digits()
    features, labels = digits.data[:num_images] / 16, digits.target[:num_images]
    weights = np.ones((num_images, 1))
    regression = SoftmaxRegression(features, labels, 10)
    whole = regression.fit(weights, 1.0)
    assert np.array_equal(regression.leading(1000).fit(weights, 1.0), whole)
    fewer = regression.leading(12)
    kernel = fewer.kernel(fewer.fit(weights, 1.0, max_steps=1000))
    axes = np.linalg.svd(features, full_matrices=False)[2][:12]
    projected = SoftmaxRegression(features @ axes.T, labels, 10)
    expected = axes.T @ projected.kernel(projected.fit(weights, 1.0, max_steps=1000))
    np.testing.assert_allclose(kernel, expected, atol=2e-3)
    assert not np.allclose(kernel, regression.kernel(whole), atol=2e-3)


def test_nothing_to_see_is_no_error():
    """Features that are all zero leave every class as probable as the others."""
    regression = SoftmaxRegression(np.zeros((6, 4)), np.arange(6) % 3, 3)
    found = regression.fit(np.ones((6, 1)), 1.0)
    np.testing.assert_allclose(regression.probabilities(found), 1 / 3)
    assert (regression.kernel(found) == 0).all()
