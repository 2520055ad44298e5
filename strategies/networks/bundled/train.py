"""Trains the bundled backbone from random initialization: reads photos and writes a file of float16 weights.

The network learns to reproduce the features that a network with ImageNet weights has for the same photo, at every
depth. The photos have only 64 px. Random crops of them, enlarged, keep the network from memorizing the photos.

    python -P -m strategies.networks.bundled.train PHOTOS weights.h5

Reference:
    Features as targets: Romero et al. 2015, FitNets: Hints for Thin Deep Nets, equation 3. Random crops: Beyer et al.
    2022, Knowledge distillation: A good teacher is patient and consistent. BatchNorm statistics at the end: Wu &
    Johnson 2021, Rethinking "Batch" in BatchNorm.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from strategies.data.decoding import decode_images
from strategies.data.loading import load_images
from strategies.networks.backbones import get_backbone
from strategies.networks.backend import keras, use_xla
from strategies.networks.normalization import batch_norms
from strategies.networks.pretrained import build_backbone

BACKBONE = "MobileNetV2-0.35"
IMAGE_SIZE = 64
EPOCHS = 40
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
SMALLEST_CROP = 0.3  # share of the photo's area


class Crops(keras.utils.PyDataset):
    """Shuffled batches of random crops, enlarged to the input size. Half of them are mirrored."""

    def __init__(self, photos: np.ndarray, seed: int) -> None:
        super().__init__()
        self._photos, self._seed, self._epoch = photos, seed, 0

    def __len__(self) -> int:
        return len(self._photos) // BATCH_SIZE

    def on_epoch_end(self) -> None:
        """Moves to the crops of the next epoch. Keras calls it."""
        self._epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._photos))
        generator = np.random.default_rng([self._seed, self._epoch, index])
        chosen = self._photos[order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]]
        return (np.stack([_crop(photo, generator) for photo in chosen]).astype("float32"),)


def _crop(photo: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    height, width = photo.shape[:2]
    area, aspect = generator.uniform(SMALLEST_CROP, 1), np.exp(generator.uniform(-0.2, 0.2))
    tall, wide = min(height, height * (area * aspect) ** 0.5), min(width, width * (area / aspect) ** 0.5)
    top, left = generator.uniform(0, height - tall), generator.uniform(0, width - wide)
    image = Image.fromarray(photo).resize(
        (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, (left, top, left + wide, top + tall)
    )
    return np.asarray(image)[:, :: -1 if generator.random() < 0.5 else 1]


class Imitation(keras.layers.Layer):
    """Adds the mean squared difference of two feature maps to the loss, in units of the teacher's variance.

    Args:
        maps: Feature maps of the teacher for some photos.
        linear: Whether the student learns the teacher's features scaled to mean 0 and variance 1.
        name: Name of the layer.
    """

    def __init__(self, maps: np.ndarray, *, linear: bool, name: str) -> None:
        super().__init__(name=name)
        planes = tuple(range(maps.ndim - 1))
        variance = maps.var(axis=planes)
        variance = np.maximum(variance, 0.1 * variance.mean())
        self._mean = maps.mean(axis=planes) if linear else np.float32(0)
        self._units = np.sqrt(variance) if linear else np.float32(1)
        self._weights = np.float32(1) if linear else 1 / variance

    def call(self, student: Any, teacher: Any) -> Any:
        """Returns the loss, a single number."""
        difference = student - (teacher - self._mean) / self._units
        loss = keras.ops.mean(keras.ops.square(difference) * self._weights)
        self.add_loss(loss)
        return loss


def with_stages(network: keras.Model, name: str) -> keras.Model:
    """Returns a model from images to the feature maps of all stages except the stem, and the pooled last map."""
    maps = [network.get_layer(stage.last_layer).output for stage in get_backbone(BACKBONE).stages[1:]]
    return keras.Model(network.input, [*maps, keras.layers.GlobalAveragePooling2D()(maps[-1])], name=name)


def distill(photos: np.ndarray, *, epochs: int, seed: int) -> tuple[keras.Model, keras.Model]:
    """Trains a student network from random initialization to reproduce the features of a pretrained teacher.

    Args:
        photos: uint8 RGB of shape `(num_images, 64, 64, 3)`.
        epochs: Passes over the photos.
        seed: Seed of the initial weights, the order and the crops.

    Returns:
        `(student, teacher)`: two models with the outputs of `with_stages`.
    """
    keras.utils.set_random_seed(seed)
    row = get_backbone(BACKBONE)
    teacher = with_stages(build_backbone(row, image_size=IMAGE_SIZE), "teacher")
    student = with_stages(build_backbone(row, image_size=IMAGE_SIZE, weights="random"), "student")
    for layer in teacher.layers:  # for BatchNormalization, only this keeps the statistics
        layer.trainable = False
    for layer in batch_norms(student):
        layer.momentum = 0.99
    sample = teacher.predict(photos[:: max(1, len(photos) // 2_000)], batch_size=BATCH_SIZE, verbose=0)
    crops = Crops(photos, seed)
    image = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    names = [*(stage.name for stage in row.stages[1:]), "pooled"]
    losses = [  # the last stage ends in an activation, so its scale matters
        Imitation(maps, linear=name not in names[-2:], name=name)(ours, theirs)
        for maps, name, ours, theirs in zip(sample, names, student(image), teacher(image), strict=True)
    ]
    model = keras.Model(image, losses)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, (epochs - 1) * len(crops)), warmup_target=LEARNING_RATE, warmup_steps=len(crops)
    )
    model.compile(keras.optimizers.Adam(rate), jit_compile=use_xla())
    model.fit(crops, epochs=epochs, verbose=2)
    settle_statistics(student, photos)
    return student, teacher


def settle_statistics(network: keras.Model, photos: np.ndarray) -> None:
    """Replaces the moving statistics of BatchNormalization with their mean over all photos, without crops."""
    for step, start in enumerate(range(0, len(photos) - BATCH_SIZE + 1, BATCH_SIZE)):
        for layer in batch_norms(network):
            layer.momentum = step / (step + 1)
        network(photos[start : start + BATCH_SIZE].astype("float32"), training=True)


def explained_variance(student: keras.Model, teacher: keras.Model, photos: np.ndarray) -> float:
    """Returns the share of the variance of the teacher's pooled features that the student explains."""
    ours, theirs = (network.predict(photos, batch_size=BATCH_SIZE, verbose=0)[-1] for network in (student, teacher))
    return float(1 - np.mean((ours - theirs) ** 2) / theirs.var(axis=0).mean())


def write_float16(network: keras.Model, path: Path) -> None:
    """Writes the weights of a network in half precision, as a weights file of Keras.

    Kernels are rounded to nine significant bits: the zeros behind them make the package a tenth of a megabyte smaller.
    """
    halves = keras.models.clone_model(
        network,
        clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float16"}),
    )
    halves.set_weights([_half(weight) for weight in network.get_weights()])
    halves.save_weights(path)


def _half(weight: np.ndarray) -> np.ndarray:
    half = weight.astype("float16")
    return half if half.ndim < 2 else ((half.view("uint16") + 2) & 0xFFFC).view("float16")  # 11 bits, of which 2 go


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads photos, trains the network and writes its weights."""
    parser = argparse.ArgumentParser(prog="python -P -m strategies.networks.bundled.train", description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("out", type=Path, help="the weights file to write: NAME.weights.h5")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--num-held-out", type=int, default=1_000, help="photos that are used only for the final report"
    )
    given = parser.parse_args(arguments)
    photos = decode_images(load_images(given.photos).items, IMAGE_SIZE)
    photos = photos[np.random.default_rng(given.seed).permutation(len(photos))]
    held_out, photos = photos[: given.num_held_out], photos[given.num_held_out :]
    student, teacher = distill(photos, epochs=given.epochs, seed=given.seed)
    write_float16(student, given.out)
    if len(held_out):
        share = explained_variance(student, teacher, held_out)
        print(
            f"{share:.3f} of the variance of the teacher's pooled features explained on {len(held_out)} held-out photos"
        )


if __name__ == "__main__":
    main()
