"""The exact head: logistic regression on frozen features, its regularisation chosen by cross-validation."""

from __future__ import annotations

import warnings

import numpy as np

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
MAX_FOLDS = 5


def fit_classifier(
    features: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int, class_weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the weights of a softmax layer on features.

    Args:
        features: Array of shape `(num_images, num_features)`.
        labels: Class indices, shape `(num_images,)`; every class has at least one image.
        num_classes: Width of the layer.
        seed: Seed of the folds.
        class_weights: Weight of each class in the loss; default: equal.

    Returns:
        `(kernel, bias)` of shapes `(num_features, num_classes)` and `(num_classes,)`, for features as they were given.

    Reference:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features (L2-regularised linear probe).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    center, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-6 * max(scale.max(), 1e-12), scale, 1.0)
    standard = ((features - center) / scale).astype("float64")
    sample_weight = None if class_weights is None else class_weights[labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the path needs no full convergence
        strength = _choose_strength(standard, labels, sample_weight, seed)
        model = LogisticRegression(C=strength, max_iter=1000).fit(standard, labels, sample_weight)
    coefficients, intercept = model.coef_, model.intercept_
    if num_classes == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel = coefficients.T / scale[:, None]
    return kernel.astype("float32"), (intercept - center @ kernel).astype("float32")


def _choose_strength(features: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None, seed: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    folds = min(MAX_FOLDS, int(np.bincount(labels).min()))
    if folds < 2:
        return 1e-2
    losses = np.zeros(len(STRENGTHS))
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
        model = LogisticRegression(max_iter=200, warm_start=True)
        for index, strength in enumerate(STRENGTHS):
            model.set_params(C=strength)
            model.fit(features[train], labels[train], None if sample_weight is None else sample_weight[train])
            probability = model.predict_proba(features[test])[np.arange(len(test)), labels[test]]
            losses[index] -= np.log(np.maximum(probability, 1e-12)).sum()
    return STRENGTHS[int(losses.argmin())]
