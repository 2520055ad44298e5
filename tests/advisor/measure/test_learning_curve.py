"""The accuracy of a head with fewer images, and what to expect of more."""

import numpy as np
import pytest

from advisor.measure.learning_curve import (
    LAW,
    TIMES,
    LearningCurve,
    class_errors,
    expect_accuracy,
    fit_learning_curve,
    held_out_by_size,
    measure_learning_curve,
)
from advisor.measure.probes import Probe
from strategies.data.dataset import ImageDataset
from strategies.errors import DatasetError
from strategies.networks.network import PretrainedNetwork

NETWORK = PretrainedNetwork(backbone="MobileNetV2-0.35", weights="random", image_size=96)


def _features(num_images=240, num_classes=4, *, noise=1.0):
    """Classes around centers; every second one is twice as noisy."""
    generator = np.random.default_rng(0)
    labels = np.arange(num_images) % num_classes
    spread = noise * (1 + labels % 2)[:, None]
    return np.eye(16)[labels] + spread * generator.normal(size=(num_images, 16)) / 2, labels


def _probed(features, labels):
    names = tuple(f"c{label}" for label in range(labels.max() + 1))
    images = ImageDataset(
        class_names=names, labels=labels, items=[None] * len(labels), names=("",) * len(labels), source="test"
    )
    right = held_out_by_size(features, labels, seed=0)[len(labels)]
    guessed = np.where(right, labels, (labels + 1) % len(names))
    probabilities = np.eye(len(names))[guessed]
    return Probe(
        images=images,
        features={"last": features},
        curve=None,
        mirroring=None,
        probabilities=probabilities,
        tested=images.subset([]),
        tested_features={},
    )


def test_the_exponent_is_that_of_the_law_or_near_the_usual_one():
    """Errors that follow the law give it back; one size tells nothing, so the usual one counts; noise is pulled."""
    sizes = np.array([50, 100, 200])
    for exponent in (0.1, 1.0):
        errors = 0.2 * LAW.share(sizes / 200, exponent)
        found = LAW.fit(sizes, errors)
        assert min(exponent, LAW.exponent) <= found * 1.03
        assert found <= max(exponent, LAW.exponent) * 1.03
    assert LAW.fit([200], [0.3]) == pytest.approx(LAW.exponent, rel=0.03)
    assert LAW.fit([50, 100, 200], [0.2, 0.21, 0.2]) > 0


def test_the_interval_widens_with_the_number_of_images_and_never_leaves_zero_to_one():
    """The same images with the same errors: the further, the less certain."""
    rows = [expect_accuracy(0.2, 500, 0.4, times) for times in (1, *TIMES)]
    relative = [(high - low) / (1 - accuracy) for accuracy, low, high in rows]
    assert relative == sorted(relative)
    assert [accuracy for accuracy, _, _ in rows] == sorted(accuracy for accuracy, _, _ in rows)
    assert rows[0][0] == 0.8
    for error in (0.001, 0.999):
        accuracy, low, high = expect_accuracy(error, 4, 0.4, 1000)
        assert 0 <= low <= accuracy <= high <= 1


def test_every_size_is_judged_on_the_same_images():
    """A quarter and half of the images besides all; smaller sets keep every class."""
    features, labels = _features()
    found = held_out_by_size(features, labels, seed=0)
    assert list(found) == [60, 120, 240]
    assert {len(right) for right in found.values()} == {240}
    assert found[60].mean() < found[240].mean()
    again = held_out_by_size(features, labels, seed=0, whole=found[240])
    assert all((again[size] == right).all() for size, right in found.items())
    assert list(held_out_by_size(features[:8], labels[:8], seed=0)) == [8]  # two images of a class, one to learn from


def test_the_curve_continues_what_was_measured():
    """More images are expected to reach more; a class with many errors gains most; plain values bring it back."""
    features, labels = _features()
    curve = fit_learning_curve(_probed(features, labels), NETWORK, seed=0, num_images=240)
    assert curve.sizes == (60, 120, 240)
    assert [row.times for row in curve.expected] == [2, 4, 10]
    assert [row.num_images for row in curve.expected] == [480, 960, 2400]
    assert [row.checked for row in curve.expected] == [True, True, False]
    assert curve.accuracy[-1] < curve.expected[0].accuracy < curve.expected[2].accuracy < 1
    assert {row.name for row in curve.classes[:2]} == {"c1", "c3"}
    assert [row.gain for row in curve.classes] == sorted((row.gain for row in curve.classes), reverse=True)
    assert LearningCurve.from_dict(curve.to_dict()) == curve


def test_a_sample_is_continued_to_all_images():
    """Where 240 of 2,400 images were measured, twice as many are twenty times the sample."""
    features, labels = _features()
    probed = _probed(features, labels)
    sampled = fit_learning_curve(probed, NETWORK, seed=0, num_images=2400)
    whole = fit_learning_curve(probed, NETWORK, seed=0, num_images=240)
    assert [row.times for row in sampled.expected] == [1, 2, 4, 10]
    assert sampled.expected[0].accuracy == pytest.approx(whole.expected[2].accuracy)
    assert not sampled.expected[0].checked


def test_a_class_with_few_images_is_pulled_toward_the_mean():
    """One error of one image is not a class that is always wrong."""
    labels = np.array([0] * 99 + [1])
    errors = class_errors(labels, np.arange(100) < 99)
    assert 0 < errors[0] < errors[1] < 0.2


def test_images_of_which_none_can_be_held_out_are_refused():
    """The sentence says what is missing."""
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
    with pytest.raises(DatasetError, match="Add images"):
        measure_learning_curve(
            (images, ["a", "a", "b", "b"]), backbone="MobileNet-0.25", image_size=32, weights="random", cache=False
        )
