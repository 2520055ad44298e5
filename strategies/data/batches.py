"""Batches for training: an endless, seeded stream of batches, and augmented or mirrored copies of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from strategies.data.augmentation import augment
from strategies.data.pixels import Pixels


class AugmentedViews:
    """One augmented copy of every image; the same seed gives the same copies.

    Args:
        pixels: The images.
        augmentation: As in a plan: the keywords of `augment`.
        seed: Numbers that select the copies, such as the plan's seed and the number of the view.
    """

    def __init__(self, pixels: Pixels, augmentation: Mapping[str, Any], *, seed: Sequence[int]) -> None:
        self._pixels, self._augmentation, self._seed = pixels, dict(augmentation), list(seed)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, key: slice) -> np.ndarray:
        generator = np.random.default_rng([*self._seed, 2, key.start])
        return augment(self._pixels[key], generator, **self._augmentation)

    def identity(self) -> dict[str, Any]:
        """Returns what identifies these copies, for a cache key."""
        return {**self._pixels.identity(), "augmentation": self._augmentation, "seed": self._seed}


class MirroredViews:
    """Every image mirrored left to right.

    Args:
        pixels: The images.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, key: slice) -> np.ndarray:
        return self._pixels[key][:, :, ::-1]

    def identity(self) -> dict[str, Any]:
        """Returns what identifies these images, for a cache key."""
        return {**self._pixels.identity(), "mirrored": True}


Views = AugmentedViews | MirroredViews


class Batches:
    """An endless stream of shuffled batches; the same seed gives the same stream.

    Args:
        inputs: `Pixels`, or an array of features of shape `(num_images, ...)`.
        targets: Label of each input in the form that the loss takes: class indices or one-hot rows.
        batch_size: Images per batch. Every batch is full: a batch may end one pass over the data and begin the next.
        seed: Numbers that select the stream, such as the plan's seed and the number of the phase.
        augmentation: The keywords of `augment`; `None` leaves the images as they are.
        sample_weights: Weight of each input in the loss, or `None`.
        part: `(place, number)`: of this number of equal parts of each batch, `batch` returns the one in this place.
    """

    def __init__(
        self,
        inputs: Pixels | np.ndarray,
        targets: np.ndarray,
        *,
        batch_size: int,
        seed: Sequence[int],
        augmentation: Mapping[str, Any] | None = None,
        sample_weights: np.ndarray | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._inputs, self._targets = inputs, targets
        self._batch_size, self._seed = batch_size, list(seed)
        self._augmentation, self._sample_weights = augmentation, sample_weights
        place, number = part
        self._rows = slice(place * batch_size // number, (place + 1) * batch_size // number)

    def batch(self, number: int) -> tuple[np.ndarray, ...]:
        """Returns a batch, or its part: inputs, targets and, where there are any, sample weights.

        Args:
            number: Its place in the stream, from 0.
        """
        chosen = self._indices(number)[self._rows]
        images = self._inputs[chosen]
        if self._augmentation is not None:
            generator = np.random.default_rng([*self._seed, 1, number])
            images = augment(images, generator, of=(self._rows.start, self._batch_size), **self._augmentation)
        batch = (images.astype("float32"), self._targets[chosen])
        return batch if self._sample_weights is None else (*batch, self._sample_weights[chosen])

    def _indices(self, step: int) -> np.ndarray:
        positions = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        turns, places = np.divmod(positions, len(self._targets))
        orders = {
            turn: np.random.default_rng([*self._seed, 0, turn]).permutation(len(self._targets))
            for turn in np.unique(turns).tolist()
        }
        return np.array([orders[turn][place] for turn, place in zip(turns.tolist(), places.tolist(), strict=True)])
