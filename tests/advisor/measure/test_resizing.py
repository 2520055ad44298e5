"""Whether images that are not square are squeezed or cropped."""

import numpy as np
import pytest

from advisor.measure.resizing import Resizing, are_nearly_square, compare_squares


@pytest.mark.parametrize(("gain", "best"), [(0.03, "crop"), (0.02, "squeeze"), (0.0, "squeeze"), (-0.1, "squeeze")])
def test_cropping_must_be_better_by_more_than_a_standard_error(gain, best):
    """What was measured is kept as it is."""
    found = Resizing(squeezed=0.6, cropped=0.6 + gain, standard_error=0.021, num_images=300)
    assert found.best == best
    assert Resizing.from_dict(found.to_dict()) == found


def test_the_way_is_taken_in_which_classes_differ():
    """Features that tell the classes are better than noise; where no image can be held out, nothing is measured."""
    generator, labels = np.random.default_rng(0), np.repeat([0, 1], 20)
    noise = generator.normal(size=(40, 8))
    told = noise + 3 * labels[:, np.newaxis]
    found = compare_squares(noise, told, labels, seed=0)
    assert (found.best, found.num_images) == ("crop", 40)
    assert compare_squares(noise, noise, labels, seed=0).gain == 0
    assert compare_squares(noise[:2], noise[:2], np.array([0, 1]), seed=0) is None


@pytest.mark.parametrize(("long", "nearly"), [(100, True), (120, True), (133, False)])
def test_nearly_square_images_are_not_measured(long, nearly):
    """What decides is the shape of most images."""
    assert are_nearly_square({"short_side": {"median": 100}, "long_side": {"median": long}}) is nearly
