"""The exact head on frozen features."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from strategies.data.loading import load_dataset
from strategies.features.extraction import extract_features
from strategies.training.head import cross_validate, fit_head, make_folds


def _few(labels, per_class, seed):
    """Indices of the given number of images of each class, and of up to a thousand others."""
    order = np.random.default_rng(seed).permutation(len(labels))
    train = np.concatenate([order[labels[order] == label][:per_class] for label in np.unique(labels)])
    return train, np.setdiff1d(order, train)[:1000]


def _compare(features, labels, per_class, seed):
    """Accuracy of the exact head, and of the heads that it must not be worse than."""
    train, test = _few(labels, per_class, seed)
    kernel, bias = fit_head(features[train], labels[train], labels.max() + 1, seed=0)
    others = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        NearestCentroid(),
        RidgeClassifierCV(alphas=np.logspace(-3, 5, 17)),
    )
    scores = [((features[test] @ kernel + bias).argmax(axis=1) == labels[test]).mean()]
    return scores + [head.fit(features[train], labels[train]).score(features[test], labels[test]) for head in others]


@pytest.mark.parametrize("per_class", [1, 2, 5, 20])
def test_the_head_is_as_good_as_other_linear_heads_with_few_images_per_class(per_class, test_data, imagenet_weights):
    """On real features of real images: logistic regression, nearest class mean, cross-validated ridge regression."""
    scores = []
    for name in ("flowers5", "skin7"):
        dataset = load_dataset(test_data / name)
        (features,) = extract_features(dataset, "MobileNetV2-0.35", image_size=96).values()
        scores += [_compare(features, dataset.labels, per_class, seed) for seed in range(10)]
    ours, *others = np.mean(scores, axis=0)
    assert ours >= max(others) - 0.005, (ours, others)


@pytest.mark.parametrize("per_class", [2, 5, 20])
def test_the_head_is_as_good_on_plain_pixels(per_class):
    """Handwritten digits need no network at all."""
    digits = load_digits()
    scores = [_compare(digits.data.astype("float32"), digits.target, per_class, seed) for seed in range(5)]
    ours, *others = np.mean(scores, axis=0)
    assert ours >= max(others) - 0.005, (ours, others)


def test_the_answer_does_not_change_where_images_are_fewer_than_features():
    """The solution in the span of the images is that in all features."""
    generator = np.random.default_rng(0)
    features, labels = generator.random((30, 20)), np.arange(30) % 3
    wide = np.concatenate([features, np.zeros((30, 80))], axis=1)
    narrow, _ = fit_head(features, labels, 3, seed=0)
    same, _ = fit_head(wide, labels, 3, seed=0)
    np.testing.assert_allclose(same[:20], narrow, atol=1e-3 * np.abs(narrow).max())
    assert np.abs(same[20:]).max() < 1e-6


def test_held_out_images_are_not_fitted_on():
    """Labels that mean nothing are answered no better than by chance, however many features there are."""
    generator = np.random.default_rng(0)
    features, labels = generator.random((200, 300)), generator.permutation(np.arange(200) % 2)
    assert 0.35 < cross_validate(features, labels, make_folds(labels, seed=0)).correct.mean() < 0.65


@pytest.mark.parametrize(("count", "most"), [(400, 2**26), (40, 2**26), (40, 1)], ids=["many", "few", "one by one"])
def test_other_views_are_predicted_by_the_classifier_that_has_not_seen_their_image(count, most, monkeypatch):
    """With the features of the images themselves, the held-out probabilities come out, in whatever order."""
    monkeypatch.setattr("strategies.training.head.MOST_NUMBERS", most)
    digits = load_digits()
    features, labels = digits.data[:count].astype("float32"), digits.target[:count]
    folds = make_folds(labels, seed=0)
    held_out = cross_validate(features, labels, folds)
    chosen = np.random.default_rng(0).permutation(count)[: count // 2]
    fold_of = np.array([next(fold for fold, (_, held) in enumerate(folds) if index in held) for index in chosen])
    found = held_out.predict(features[chosen], fold_of)
    np.testing.assert_allclose(found, held_out.probabilities[chosen], atol=1e-4)
    assert np.abs(held_out.predict(features[chosen], np.zeros_like(fold_of)) - found).max() > 0.01


def test_folds_are_as_many_as_the_smallest_class_allows():
    """Two images make two folds; unless two classes have two images, there is none."""
    assert len(make_folds(np.array([0, 0, 1, 1, 1, 1]), seed=0)) == 2
    assert make_folds(np.array([0, 1, 1]), seed=0) == []
    assert make_folds(np.array([0, 1, 2]), seed=0) == []


def test_the_only_image_of_a_class_is_in_every_fold_to_train_on():
    """The folds of the other images are as without it; held out, it could only be wrong."""
    labels = np.array([3, 0, 1, 0, 1, 2, 1, 0, 1])
    folds = make_folds(labels, seed=0)
    others = np.array([1, 2, 3, 4, 6, 7, 8])
    assert len(folds) == 3
    for (train, held), (_, expected) in zip(folds, make_folds(labels[others], seed=0), strict=True):
        assert {0, 5} <= set(train)
        assert held.tolist() == others[expected].tolist()
        assert sorted([*train, *held]) == list(range(9))


@given(arrays("int64", st.integers(4, 60), elements=st.integers(0, 5)), st.integers(0, 9))
def test_folds_are_those_of_scikit_learn(labels, seed):
    """Class by class, whatever the order, and where classes have gaps in their numbers."""
    counts = np.bincount(labels)
    labels = labels[counts[labels] > 1]
    if len(set(labels)) < 2:
        assert make_folds(labels, seed) == []
        return
    counts = np.bincount(labels)
    expected = StratifiedKFold(min(5, counts[counts > 0].min()), shuffle=True, random_state=seed)
    folds = make_folds(labels, seed)
    for ours, theirs in zip(folds, expected.split(np.zeros(len(labels)), labels), strict=True):
        for found, wanted in zip(ours, theirs, strict=True):
            assert found.tolist() == wanted.tolist()


@given(arrays("int64", (60, 2), elements=st.integers(0, 7)), st.integers(0, 9))
def test_no_fold_divides_a_group(values, seed):
    """Every image is held out at most once, and every class is learned from, whatever the groups are."""
    labels, groups = values[:, 0] % 3, values[:, 1]
    folds = make_folds(labels, seed, groups)
    for train, held in folds:
        assert not set(groups[train]) & set(groups[held])
        assert set(labels[train]) == set(labels)
        assert sorted([*train, *held]) == list(range(60))
    everyone = np.concatenate([held for _, held in folds]) if folds else np.array([])
    assert len(set(everyone)) == len(everyone)


def test_folds_of_groups_are_those_of_scikit_learn():
    """Where every class has enough groups; groups of one image each change nothing."""
    labels, groups = np.arange(120) % 3, np.arange(120) // 4
    expected = StratifiedGroupKFold(5, shuffle=True, random_state=1).split(labels, labels, groups)
    for (_, held), (_, wanted) in zip(make_folds(labels, 1, groups), expected, strict=True):
        assert held.tolist() == wanted.tolist()
    alone = [held.tolist() for _, held in make_folds(labels, 1, range(120))]
    assert alone == [held.tolist() for _, held in make_folds(labels, 1)]


def test_the_only_group_of_a_class_is_never_held_out():
    """Nor are images of other classes in it; where that leaves one class to hold out, there are no folds."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 0])
    groups = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e", "e"]
    folds = make_folds(labels, 0, groups)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(8))
    assert make_folds(labels, 0, ["a", "a", "b", "b", *["c"] * 4, *["e"] * 3]) == []


def test_two_classes_get_two_outputs():
    """A softmax of width two gives the same answers as the one logistic output."""
    iris = load_iris()
    features, labels = iris.data[:100].astype("float32"), iris.target[:100]
    kernel, bias = fit_head(features, labels, 2, seed=0)
    assert kernel.shape == (4, 2)
    assert ((features @ kernel + bias).argmax(axis=1) == labels).all()


def test_one_image_per_class_is_enough_to_fit():
    """Without images to cross-validate on, a fixed regularization serves."""
    kernel, bias = fit_head(np.eye(3, dtype="float32"), np.arange(3), 3, seed=0)
    assert (np.eye(3) @ kernel + bias).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_dead_feature_gets_no_weight():
    """Nor does it make anything infinite; an image without any feature is answered too."""
    iris = load_iris()
    features = np.concatenate([iris.data, np.zeros((150, 1))], axis=1).astype("float32")
    features[0] = 0
    kernel, bias = fit_head(features, iris.target, 3, seed=0)
    assert np.isfinite(kernel).all()
    assert (bias == 0).all()
    assert (kernel[4] == 0).all()


def test_class_weights_move_the_boundary():
    """A class that counts more is answered more often."""
    data = load_iris()
    counts = []
    for weight in (0.1, 10.0):
        kernel, bias = fit_head(
            data.data.astype("float32"), data.target, 3, seed=0, class_weights=np.array([1, 1, weight])
        )
        counts.append(((data.data @ kernel + bias).argmax(axis=1) == 2).sum())
    assert counts[0] < counts[1]
