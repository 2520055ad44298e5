"""What training and frozen passes read: pixels decoded when asked for, and an endless, seeded stream of batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from strategies.pixels import decode_image

CACHE_BYTES = 2 * 2**30


class Pixels:
    """Images of one size as an array that is decoded piece by piece, and kept as far as `CACHE_BYTES` reach.

    Indexing with a slice or an array of indices returns uint8 RGB of shape `(n, image_size, image_size, 3)`.
    """

    def __init__(self, items: Sequence[Any], image_size: int) -> None:
        self._items, self._size = items, image_size
        self._kept: dict[int, np.ndarray] = {}
        self._room = CACHE_BYTES // (image_size * image_size * 3)
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        indices = np.arange(len(self._items))[key].tolist()
        missing = sorted({index for index in indices if index not in self._kept})
        decoded = self._pool.map(lambda index: decode_image(self._items[index], self._size), missing)
        fresh = dict(zip(missing, decoded, strict=True))
        for index in missing[: max(0, self._room - len(self._kept))]:
            self._kept[index] = fresh[index]
        return np.stack([fresh[index] if index in fresh else self._kept[index] for index in indices])


class Batches(keras.utils.PyDataset):
    """An endless stream of shuffled batches, cut into epochs of `num_steps`; the same seed gives the same stream.

    Args:
        inputs: `Pixels`, or an array of features of shape `(num_images, ...)`.
        labels: Class index of each input.
        batch_size: Images per batch; every batch is full, passes over the data follow each other without a gap.
        num_steps: Batches per epoch.
        seed: Numbers that name the stream, such as the plan's seed and the number of the phase.
        augmentation: `{"horizontal_flip": bool, "shift": share of the side}`; `None` leaves the images as they are.
        class_weights: Weight of each class index in the loss, or `None`.
    """

    def __init__(
        self,
        inputs: Pixels | np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        num_steps: int,
        seed: Sequence[int],
        augmentation: Mapping[str, Any] | None = None,
        class_weights: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self._inputs, self._labels = inputs, labels
        self._batch_size, self._num_steps, self._seed = batch_size, num_steps, list(seed)
        self._augmentation, self._class_weights = augmentation, class_weights
        self._epoch = 0

    def __len__(self) -> int:
        return self._num_steps

    def on_epoch_end(self) -> None:
        """Goes on to the batches of the next epoch; Keras calls it."""
        self._epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        step = self._epoch * self._num_steps + index
        chosen = self._indices(step)
        images = self._inputs[chosen]
        if self._augmentation is not None:
            images = augment(images, np.random.default_rng([*self._seed, 1, step]), **self._augmentation)
        labels = self._labels[chosen]
        batch = (images.astype("float32"), labels)
        return batch if self._class_weights is None else (*batch, self._class_weights[labels])

    def _indices(self, step: int) -> np.ndarray:
        positions = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        turns, places = np.divmod(positions, len(self._labels))
        orders = {
            turn: np.random.default_rng([*self._seed, 0, turn]).permutation(len(self._labels))
            for turn in np.unique(turns).tolist()
        }
        return np.array([orders[turn][place] for turn, place in zip(turns.tolist(), places.tolist(), strict=True)])


def augment(
    images: np.ndarray, generator: np.random.Generator, *, horizontal_flip: bool = True, shift: float = 0.1
) -> np.ndarray:
    """Flips and shifts each image at random; what a shift uncovers mirrors the border.

    Args:
        images: Array of shape `(n, height, width, channels)`.
        generator: Where the random numbers come from.
        horizontal_flip: Whether every second image, at random, is mirrored left to right.
        shift: Largest shift in each direction, as a share of the side.
    """
    images = images.copy()
    if horizontal_flip:
        flipped = generator.random(len(images)) < 0.5
        images[flipped] = images[flipped, :, ::-1]
    margin = round(shift * images.shape[1])
    if margin:
        height, width = images.shape[1:3]
        padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
        corners = generator.integers(0, 2 * margin + 1, size=(len(images), 2))
        for image, source, (top, left) in zip(images, padded, corners, strict=True):
            image[:] = source[top : top + height, left : left + width]
    return images
