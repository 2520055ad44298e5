"""Whether images that are not square are squeezed, cropped or padded."""

import numpy as np
import pytest

from advisor.measure.resizing import Resizing, are_nearly_square, compare_ways


@pytest.mark.parametrize(
    ("crop", "pad", "best"), [(0.03, 0.01, "crop"), (0.03, 0.05, "pad"), (0.02, -0.1, "squeeze"), (0.0, 0.0, "squeeze")]
)
def test_another_way_must_be_better_by_more_than_a_standard_error(crop, pad, best):
    """The best of those that are."""
    found = Resizing(
        probability={"squeeze": 0.6, "crop": 0.6 + crop, "pad": 0.6 + pad},
        standard_error={"squeeze": 0.0, "crop": 0.021, "pad": 0.021},
        num_images=300,
    )
    assert found.best == best
    assert Resizing.from_dict(found.to_dict()) == found


def test_the_way_is_taken_in_which_classes_differ():
    """Features that tell the classes are better than noise; where no image can be held out, nothing is measured."""
    generator, labels = np.random.default_rng(0), np.repeat([0, 1], 20)
    noise = generator.normal(size=(40, 8))
    told = noise + 3 * labels[:, np.newaxis]
    found = compare_ways({"squeeze": noise, "crop": noise, "pad": told}, labels, seed=0)
    assert (found.best, found.num_images, found.gain("crop")) == ("pad", 40, 0)
    assert compare_ways({"squeeze": noise[:2]}, np.array([0, 1]), seed=0) is None


@pytest.mark.parametrize(("long", "nearly"), [(100, True), (108, True), (133, False)])
def test_nearly_square_images_are_not_measured(long, nearly):
    """What decides is the shape of most images."""
    assert are_nearly_square({"short_side": {"median": 100}, "long_side": {"median": long}}) is nearly
