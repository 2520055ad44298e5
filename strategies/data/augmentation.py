"""Augmentation: random changes of training images that do not change what they show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

OPERATIONS_PER_IMAGE = 2  # of `OPERATIONS`, drawn for each image, as in the paper
GRAY = (128, 128, 128)  # of pixels from beyond the border, as in the paper
LARGEST_CHANGE = 0.9  # of brightness, contrast, saturation and sharpness


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    """Maps the pixels of an image, around its center; shifts are shares of the side."""
    a, b, c, d, e, f = matrix
    x, y = image.width / 2, image.height / 2
    shifted = (a, b, x - a * x - b * y + c * image.width, d, e, y - d * x - e * y + f * image.height)
    return image.transform(image.size, Image.Transform.AFFINE, shifted, Image.Resampling.BILINEAR, fillcolor=GRAY)


# The operations of RandAugment. Each takes an image and its strength in [-1, 1]. The largest changes are those of the
# paper's magnitude 10 in the authors' code.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "shear_x": lambda image, strength: _affine(image, 1, 0.3 * strength, 0, 0, 1, 0),
    "shear_y": lambda image, strength: _affine(image, 1, 0, 0, 0.3 * strength, 1, 0),
    "shift_x": lambda image, strength: _affine(image, 1, 0, 0.3 * strength, 0, 1, 0),
    "shift_y": lambda image, strength: _affine(image, 1, 0, 0, 0, 1, 0.3 * strength),
    "rotate": lambda image, strength: image.rotate(30 * strength, Image.Resampling.BILINEAR, fillcolor=GRAY),
    "brightness": lambda image, strength: ImageEnhance.Brightness(image).enhance(1 + LARGEST_CHANGE * strength),
    "contrast": lambda image, strength: ImageEnhance.Contrast(image).enhance(1 + LARGEST_CHANGE * strength),
    "saturation": lambda image, strength: ImageEnhance.Color(image).enhance(1 + LARGEST_CHANGE * strength),
    "sharpness": lambda image, strength: ImageEnhance.Sharpness(image).enhance(1 + LARGEST_CHANGE * strength),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    "solarize": lambda image, strength: ImageOps.solarize(image, round(256 * (1 - abs(strength)))),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "identity": lambda image, _: image,
}


def augment(
    images: np.ndarray,
    generator: np.random.Generator,
    *,
    horizontal_flip: bool = False,
    shift: float = 0.0,
    color: float = 0.0,
    rand_augment: float = 0.0,
    of: tuple[int, int] | None = None,
) -> np.ndarray:
    """Changes each image at random. By default nothing changes.

    Args:
        images: Array of shape `(n, height, width, channels)`; uint8 RGB if colors change.
        generator: Source of the random numbers.
        horizontal_flip: Whether each image is mirrored left to right with probability 1/2.
        shift: Largest shift in each direction, as a share of the side. A mirror image of the border fills the gap.
        color: Largest change of brightness, contrast and saturation, as a share of each.
        rand_augment: Strength of RandAugment, from 0 (none) to 1: each image is changed by two of `OPERATIONS`.
        of: `(first, size)` if the images are those from number `first` on of a batch of this size. They are then
            changed as they are with the whole batch.

    Returns:
        New images of the same shape and type.

    Reference:
        Cubuk et al. 2020, RandAugment: Practical automated data augmentation with a reduced search space. Keras' layer
        of that name draws the operations once for a whole batch, and computes all of them each time.

    Example:
        >>> import numpy as np
        >>> from strategies.data.augmentation import augment
        >>> photos = np.full((4, 32, 32, 3), 100, dtype="uint8")
        >>> brighter = augment(photos, np.random.default_rng(0), color=0.2)
        >>> brighter.shape, bool((brighter != photos).any())
        ((4, 32, 32, 3), True)
    """
    images = images.copy()
    first, size = of or (0, len(images))
    rows = slice(first, first + len(images))
    if horizontal_flip:
        flipped = (generator.random(size) < 0.5)[rows]
        images[flipped] = images[flipped, :, ::-1]
    margin = round(shift * images.shape[1])
    if margin:
        height, width = images.shape[1:3]
        padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
        corners = generator.integers(0, 2 * margin + 1, size=(size, 2))[rows]
        for image, source, (top, left) in zip(images, padded, corners, strict=True):
            image[:] = source[top : top + height, left : left + width]
    if color:
        names = ["brightness", "contrast", "saturation"]
        changes = generator.uniform(-color, color, size=(size, len(names)))[rows]
        _apply(images, [names] * len(images), changes / LARGEST_CHANGE)
    if rand_augment:
        shape = (size, OPERATIONS_PER_IMAGE)
        drawn = generator.integers(0, len(OPERATIONS), size=shape)[rows]
        signs = generator.choice([-1.0, 1.0], size=shape)[rows]
        _apply(images, np.array(list(OPERATIONS))[drawn].tolist(), rand_augment * signs)
    return images


def _apply(images: np.ndarray, names: list[list[str]], strengths: np.ndarray) -> None:
    """Changes each image, in place, by its operations."""
    for image, chosen, each in zip(images, names, strengths.tolist(), strict=True):
        changed = Image.fromarray(image)
        for name, strength in zip(chosen, each, strict=True):
            changed = OPERATIONS[name](changed, strength)
        image[:] = np.asarray(changed)
