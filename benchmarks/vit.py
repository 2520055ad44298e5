"""A vision transformer, trained here and transferred: python benchmarks/vit.py TINY_IMAGENET FLOWERS SKIN

Trains a small ViT of KerasHub from random weights on a class folder of many classes for at most --minutes, and saves it
as a preset in --preset (kept: a second call does not train again, so the training can run on another machine). Then
carries out the four recipes with it on each of the other class folders, and prints their test accuracy, that of the
most frequent class, and that of a new head on the same network with random weights. Needs KerasHub.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

import advisor
from strategies.data.decoding import decode_images
from strategies.data.loading import load_dataset
from strategies.recipes import HEAD_ONLY, RECIPES

SIZE, BATCH = 64, 128
NETWORK = {
    "image_shape": (SIZE, SIZE, 3),
    "patch_size": 8,
    "num_layers": 6,
    "num_heads": 3,
    "hidden_dim": 192,
    "mlp_dim": 768,
}


def _batches(pixels: np.ndarray, labels: np.ndarray, num_classes: int):
    """Yields shuffled batches without end: half mirrored, all shifted, each image mixed with another (mixup)."""
    generator = np.random.default_rng(0)
    shares = np.eye(num_classes, dtype="float32")[labels]
    while True:
        order = generator.permutation(len(pixels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            images = pixels[chosen]
            images[::2] = images[::2, :, ::-1]
            images = np.roll(images, tuple(generator.integers(-8, 9, 2)), (1, 2)).astype("float32")
            share, other = np.float32(generator.beta(0.8, 0.8)), generator.permutation(BATCH)
            mixed = [share * whole + (1 - share) * whole[other] for whole in (images, shares[chosen])]
            yield tuple(mixed)


class _Deadline(keras.callbacks.Callback):
    """Lowers the learning rate to zero along a cosine of the time, and stops when it is over."""

    def __init__(self, minutes: float, rate: float) -> None:
        super().__init__()
        self._seconds, self._rate, self._begin = 60 * minutes, rate, time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        share = min(1.0, (time.monotonic() - self._begin) / self._seconds)
        warm_up = min(1.0, share / 0.03)
        self.model.optimizer.learning_rate.assign(self._rate * warm_up * 0.5 * (1 + np.cos(np.pi * share)))
        self.model.stop_training = share >= 1.0


def train(folder: str, preset: Path, minutes: float) -> None:
    """Trains the network and saves it as a preset, with the scaling of its pixels."""
    import keras_hub

    dataset = load_dataset(folder)
    pixels, labels = decode_images(dataset.items, SIZE), dataset.labels
    held = np.random.default_rng(0).permutation(len(labels)) < len(labels) // 20
    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.ViTBackbone(**NETWORK)
    inputs = keras.Input(NETWORK["image_shape"])
    tokens = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    outputs = keras.layers.Dense(len(dataset.class_names))(keras.layers.GlobalAveragePooling1D()(tokens))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.05, global_clipnorm=1.0), loss=loss, metrics=["accuracy"])
    steps = int((~held).sum()) // BATCH
    batches = _batches(pixels[~held], labels[~held], len(dataset.class_names))
    model.fit(batches, steps_per_epoch=steps, epochs=10_000, callbacks=[_Deadline(minutes, 1e-3)], verbose=2)
    accuracy = float((model.predict(pixels[held].astype("float32"), verbose=0).argmax(axis=1) == labels[held]).mean())
    print(f"{int((~held).sum()):,} images of {len(dataset.class_names)} classes, {minutes:g} min: {accuracy:.1%}")
    preset.mkdir(parents=True)
    backbone.save_to_preset(preset)
    converter = keras_hub.layers.ImageConverter(image_size=(SIZE, SIZE), scale=1 / 127.5, offset=-1)
    converter.save_to_preset(preset)


def transfer(folder: str, network: str, images: int, budget: float) -> None:
    """Prints what the four recipes reach on images of a class folder, and what a head reaches on random weights."""
    dataset, rows = load_dataset(folder), []
    dataset = dataset.subset(np.random.default_rng(0).permutation(len(dataset))[:images])
    for recipe, weights in [*((recipe, "auto") for recipe in RECIPES), (HEAD_ONLY, "random")]:
        advice = advisor.recommend(dataset, backbone=network, weights=weights, recipe=recipe, every_image=True)
        test = advice.train(budget=budget, baseline=False).test
        rows.append((f"{recipe}, random weights" if weights == "random" else recipe, test.accuracy))
    print(f"{folder}: {test.num_images} test images")
    for name, accuracy in [*rows, ("the most frequent class", test.majority_accuracy)]:
        print(f"  {name:26} {accuracy:6.1%}")


def main() -> None:
    """Trains the network if there is no preset, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="class folder to train on")
    parser.add_argument("others", nargs="*", help="class folders to transfer to")
    parser.add_argument("--preset", type=Path, default=Path("vit_preset"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--images", type=int, default=1_000, help="of each folder to transfer to")
    parser.add_argument("--budget", type=float, default=1.0, help="share of the default steps")
    arguments = parser.parse_args()
    if not arguments.preset.exists():
        train(arguments.photos, arguments.preset, arguments.minutes)
    for folder in arguments.others:
        transfer(folder, f"hub:{arguments.preset}", arguments.images, arguments.budget)


if __name__ == "__main__":
    main()
