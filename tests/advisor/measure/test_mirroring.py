"""Whether images mean the same when they are mirrored."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import advisor
from advisor.measure.mirroring import Mirroring, compare_views

OPTIONS = {"backbone": "MobileNetV2-0.35", "image_size": 32}


@pytest.fixture(scope="module")
def digits():
    """200 handwritten digits."""
    found = load_digits()
    return (found.images[:200] * 255 / 16).astype("uint8"), [str(digit) for digit in found.target[:200]]


def test_digits_are_recognized_less_well_mirrored_and_photos_are_not(digits, photos, pretrained_weights, monkeypatch):
    """A mirrored 3 is no 3, and mirrored roofs are roofs. The latter is clear from fewer images."""
    monkeypatch.setattr("advisor.measure.probes.FEWER_MIRRORED", 30)
    monkeypatch.setattr("advisor.measure.probes.MAX_MIRRORED", 150)
    mirrored = advisor.measure_mirroring(digits, **OPTIONS)
    assert mirrored.matters
    assert mirrored.fall > 0.05
    assert mirrored.num_images == 150
    plain = advisor.measure_mirroring(photos, **OPTIONS)
    assert not plain.matters
    assert plain.num_images == 30


@pytest.mark.parametrize(
    ("fall", "error", "matters"), [(0.2, 0.01, True), (0.2, 0.1, False), (0.05, 0.01, False), (-0.2, 0.01, False)]
)
def test_a_fall_must_be_large_and_certain(fall, error, matters):
    """15% of the probability, and more than two and a half standard errors; a gain never counts."""
    found = Mirroring(plain=0.7, mirrored=0.7 - fall, standard_error=error, num_images=300)
    assert found.matters is matters
    assert ("less well" in str(found)) is matters
    assert Mirroring.from_dict(found.to_dict()) == found


def test_the_standard_error_is_paired_by_image():
    """Where every image loses the same, the loss is certain, however different the images are."""
    plain = np.linspace(0.3, 0.9, 20)
    assert compare_views(plain, plain - 0.1).standard_error == pytest.approx(0)
    assert compare_views(plain, plain[::-1]).standard_error > 0.05
