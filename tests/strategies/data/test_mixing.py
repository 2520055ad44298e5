"""How bands are seen as red, green and blue."""

import numpy as np
import pytest

from strategies.data.channels import mean_mixing
from strategies.data.mixing import find_mixing


def _save(folder, values):
    paths = [folder / f"{index}.npy" for index in range(len(values))]
    for path, image in zip(paths, values, strict=True):
        np.save(path, image)
    return paths


@pytest.fixture
def colors():
    """Images whose colors vary as those of photos do: most in brightness, then from yellow to blue."""
    generator = np.random.default_rng(0)
    brightness, warmth, green = (generator.gamma(2, size=(8, 24, 24, 1)) for _ in range(3))
    return 40 * brightness + 15 * warmth * [1, 0, -1] + 5 * green * [1, -2, 1] + 60


def test_mixtures_of_colors_become_colors_again(colors, tmp_path):
    """Each channel of the view is nearly that of the images; the scale of the values does not matter."""
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], 7)
    bands = np.clip(colors @ shares.T, 0, 255)
    rows = np.array(find_mixing(_save(tmp_path, np.rint(bands).astype("uint8")), range(1, 8)))
    assert rows.sum(axis=1) == pytest.approx([1, 1, 1])
    seen = bands @ rows.T
    for channel in range(3):
        assert np.corrcoef(seen[..., channel].ravel(), colors[..., channel].ravel())[0, 1] > 0.9
    larger = _save(tmp_path, np.rint(16 * bands).astype("uint16"))
    assert np.allclose(find_mixing(larger, range(1, 8)), rows, atol=0.02)


def test_what_is_the_same_in_all_bands_is_gray(colors, tmp_path):
    """So are bands of images that cannot be read."""
    gray = np.repeat(np.rint(colors[..., :1]).astype("uint8"), 4, axis=3)
    assert np.allclose(find_mixing(_save(tmp_path, gray), (1, 2, 3, 4)), mean_mixing((1, 2, 3, 4)))
    assert find_mixing([tmp_path / "missing.npy"], (1, 2)) == mean_mixing((1, 2))
    assert np.allclose(find_mixing(_save(tmp_path, gray), (3,)), 1)


def test_noise_between_bands_does_not_become_color(colors, tmp_path):
    """At most four times as much as there is."""
    noise = np.random.default_rng(2).normal(0, 1, (*colors.shape[:3], 6))
    bands = np.clip(np.rint(colors[..., :1] + noise), 0, 255).astype("uint8")
    rows = np.array(find_mixing(_save(tmp_path, bands), range(1, 7)))
    assert (bands @ rows.T).std(axis=-1).mean() < 5
