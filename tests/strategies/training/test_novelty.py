"""Novelty: what lies far from all classes, the threshold that most known images stay below, and its file."""

import numpy as np
import pytest

from strategies.training.novelty import FEWEST_IMAGES, find_threshold, fit_novelty, load_novelty, save_novelty


def _images(count, seed, classes=(0, 1, 2), spread=1.0):
    """Features of classes that differ along axes of their own, and that vary most along others."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(classes), count)
    scale = spread * np.where(np.arange(40) < 10, 2.0, 0.5)
    features = 10 + 6 * np.eye(40)[10 + np.array(classes)][labels] + scale * generator.normal(size=(count, 40))
    return [features], labels


def _fit(features, labels, **options):
    return fit_novelty(features, labels, layers=["pool"], seed=0, **options)


def test_the_threshold_keeps_the_images_it_promises_and_what_is_no_class_is_beyond_it():
    """The promise holds on average over trainings, also with fewer images than features."""
    kept = []
    for seed in range(20):
        novelty = _fit(*_images(60, seed))
        assert novelty.axes.shape[1] == novelty.means.shape[1] == 40
        kept.append((novelty.measure(_images(500, 100 + seed)[0]) <= 1).mean())
        assert (novelty.measure(_images(100, 7, classes=(20, 21))[0]) > 1).mean() > 0.9
    assert 0.94 < np.mean(kept) < 0.975


@pytest.mark.parametrize("count", [30, 60])
def test_each_image_is_measured_without_itself(count):
    """The threshold is that of fits that leave out one image each, with fewer images than features and with more."""
    (values,), labels = _images(count, 0)
    distances = []
    for index in range(count):
        others = np.arange(count) != index
        distances.append(find_threshold([values[others]], labels[others], [values[[index]]], seed=0))
    expected = np.sort(distances)[int(np.ceil(0.95 * (count + 1))) - 1]
    assert _fit([values], labels).threshold == pytest.approx(expected, rel=0.03)


def test_directions_in_which_the_classes_vary_anyway_count_less():
    """Two images equally far from their mean: the one that is moved along such a direction is less new."""
    novelty = _fit(*_images(200, 0))
    moved = novelty.means[0] / np.linalg.norm(novelty.means[0]) + 0.3 * np.eye(40)[[0, 30]]
    usual, unusual = novelty.measure([moved])
    assert unusual > 1.5 * usual


def test_no_threshold_can_be_promised_from_too_few_images():
    """Below 19 images, even the largest distance keeps less than 95% of others."""
    features, labels = _images(FEWEST_IMAGES, 0)
    assert _fit([features[0][:-1]], labels[:-1]) is None
    assert _fit(features, labels) is not None


def test_images_that_are_all_the_same_are_known_and_others_are_not():
    """Nothing varies, and nothing is divided by zero."""
    features = np.repeat(np.eye(4)[:2], 20, axis=0)
    novelty = _fit([features], np.repeat([0, 1], 20))
    assert novelty.measure([np.eye(4)]).round(6).tolist()[:2] == [1, 1]
    assert (novelty.measure([np.eye(4)])[2:] > 100).all()


def test_other_images_set_the_threshold_where_the_training_images_were_learned_by_heart():
    """The features of trained images vary half as much: by themselves, they would set a threshold that is too low."""
    trained, labels = _images(100, 0, spread=0.5)
    threshold = find_threshold(trained, labels, _images(100, 1)[0], seed=0)
    new = _images(500, 2)[0]
    assert (_fit(trained, labels).measure(new) <= 1).mean() < 0.5
    assert 0.9 < (_fit(trained, labels, threshold=threshold).measure(new) <= 1).mean() < 0.99


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a zip"),
        (lambda path: path.write_bytes(b"no archive"), "not a zip"),
        (lambda path: np.savez(path, version=1), "model is not"),
        (
            lambda path: np.savez(path, version=1, model="abc", layers=["x"], means=[1.0], axes=[1.0], threshold=1.0),
            "content",
        ),
    ],
    ids=["cut off", "no archive", "incomplete", "other shapes"],
)
def test_a_damaged_file_is_refused(spoil, sentence, tmp_path):
    """What was saved is read again, for its own model only."""
    novelty, path = _fit(*_images(60, 0)), tmp_path / "novelty.npz"
    save_novelty(novelty, path, model="abc")
    features = _images(10, 1)[0]
    assert load_novelty(path, model="abc").measure(features).tolist() == novelty.measure(features).tolist()
    with pytest.raises(ValueError, match="another model"):
        load_novelty(path, model="def")
    spoil(path)
    with pytest.raises(Exception, match=sentence):  # of the types that NumPy and zipfile raise
        load_novelty(path, model="abc")
