"""Random changes of training images."""

import numpy as np
import pytest
from PIL import Image

from strategies.data.augmentation import OPERATIONS, augment


def test_augmentation_keeps_shape_type_and_content():
    """A flip is a mirror image; by default nothing changes."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (64, 16, 16, 3), dtype="uint8")
    flipped = augment(images, generator, horizontal_flip=True)
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert mirrored.any()
    assert ((flipped == images).all(axis=(1, 2, 3)) | mirrored).all()
    assert (augment(images, generator) == images).all()
    shifted = augment(images, generator, shift=0.2)
    assert shifted.shape == images.shape
    assert shifted.dtype == images.dtype
    assert (shifted != images).any()


def test_color_changes_brightness_contrast_and_saturation_alone():
    """Edges stay where they are, a gray image stays gray, and no change is larger than asked for."""
    images = np.full((64, 16, 16, 3), 100, dtype="uint8")
    images[:, :8] = 50
    changed = augment(images, np.random.default_rng(0), color=0.2)
    assert (changed == changed[:, :, :1, :1]).all()
    assert (changed[:, :8] == changed[:, :1]).all()
    assert (changed[:, 8:] == changed[:, -1:]).all()
    assert len(np.unique(changed[:, 0, 0, 0])) > 10
    assert changed[:, 8:].max() <= 1.2 * (1.2 * 100 - 0.2 * 75) + 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_of_rand_augment_grows_with_its_strength(name, photos):
    """At strength zero nearly nothing changes; at one, more does. Three operations know no strength."""
    image = Image.open(sorted((photos / "china").glob("*.png"))[0]).convert("RGB").resize((64, 64))
    before = np.asarray(image).astype(int)
    none, some = (np.abs(np.asarray(OPERATIONS[name](image, strength)) - before).mean() for strength in (0.0, 1.0))
    assert OPERATIONS[name](image, -1.0).size == image.size
    if name == "identity":
        assert some == 0
    elif name in ("autocontrast", "equalize"):
        assert some == none > 0
    else:
        assert none < 0.5 * some


def test_rand_augment_draws_for_each_image():
    """Copies of one image are changed differently, the same seed gives the same copies, and shape and type stay."""
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype="uint8")
    copies = np.repeat(image[None], 32, axis=0)
    options = {"rand_augment": 0.5}
    changed, again = (augment(copies, np.random.default_rng(1), **options) for _ in range(2))
    assert changed.shape == copies.shape
    assert changed.dtype == copies.dtype
    assert (changed == again).all()
    assert len(np.unique(changed.reshape(32, -1), axis=0)) > 20
