"""Does a phase begin with a collapse? python benchmarks/phase_starts.py DATASETS [--only NAME ...] [--backbone NAME]

For each class folder below DATASETS and each recipe that trains the network, on the images of the study's cell: how
many points the first evaluation of each phase lies below the last evaluation of the phase before, on validation images.
Prints the largest such fall of each training with what is left of it at the end of that phase, and the median over the
trainings. Where BatchNorm is trained, its moving statistics lag behind the weights. So the fall is also measured with
statistics that are recomputed from the current weights.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from statistics import median

import keras
import numpy as np

from advisor.evidence.study import choose_datasets, draw
from advisor.measure.probes import measure_depth_curve
from advisor.measure.similarity import measure_similarity
from advisor.plans import plan_for
from strategies.data.pixels import Pixels
from strategies.networks.network import PretrainedNetwork
from strategies.recipes import HEAD_ONLY, RECIPES
from strategies.training.trainer import train

PARTS = ("train", "val")
NORMALIZATION = keras.layers.BatchNormalization
# After so many batches with a momentum of 0.9, the moving statistics are those of the current weights.
NUM_BATCHES, BATCH = 30, 16


def main() -> None:
    """Prints a line for each training, as soon as it is known, and the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", nargs="+", default=())
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--images", type=int, default=100)
    given = parser.parse_args()
    network = PretrainedNetwork(backbone=given.backbone, weights="imagenet", image_size=given.image_size)
    falls = []
    for name, dataset in choose_datasets(given.datasets, given.only).items():
        data = draw(dataset, given.images, seed=0)
        if data is None:
            continue
        similarity = measure_similarity(data).score
        curve = measure_depth_curve(data, backbone=given.backbone, image_size=given.image_size)
        split = np.array(data.split)
        images = {part: Pixels(data.subset(np.flatnonzero(split == part)).items, given.image_size)[:] for part in PARTS}
        for recipe in RECIPES:
            if recipe != HEAD_ONLY:
                plan = plan_for(recipe, network, data, curve, similarity=similarity, seed=0)
                starts = _Starts(images, data.labels[split == "val"])
                result = train(plan, data, baseline=False, callbacks=[starts])
                fall, left, recomputed = largest_fall(result.history, starts.accuracy)
                falls.append(fall)
                end = f"{left:5.1f} at its end, {recomputed:5.1f} with recomputed statistics"
                print(f"{name:<14} {recipe:<18} {fall:5.1f} points, {end}", flush=True)
    print(f"median of {len(falls)} trainings: {median(falls):.1f} points; largest: {max(falls):.1f}")


class _Starts(keras.callbacks.Callback):
    """Validation accuracy at the first evaluation of each phase, with recomputed BatchNorm statistics."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels
        self.accuracy, self.first = [], True

    def on_train_begin(self, logs=None):
        self.first = True

    def on_epoch_end(self, epoch, logs=None):
        if self.first and logs and "val_accuracy" in logs:
            layers = [layer for layer in self.model._flatten_layers() if isinstance(layer, NORMALIZATION)]
            trained = any(layer.trainable for layer in layers)
            self.accuracy.append(self._recomputed(layers) if trained else logs["val_accuracy"])
        self.first = False

    def _recomputed(self, layers):
        before = [layer.get_weights() for layer in layers]
        generator = np.random.default_rng(0)
        for _ in range(NUM_BATCHES):
            chosen = generator.choice(len(self.images["train"]), BATCH, replace=False)
            self.model(self.images["train"][chosen], training=True)
        found = keras.ops.convert_to_numpy(self.model(self.images["val"], training=False)).argmax(axis=1)
        for layer, weights in zip(layers, before, strict=True):
            layer.set_weights(weights)
        return float((found == self.labels).mean())


def largest_fall(history, starts):
    """Returns by how many points validation falls at most from the end of a phase to the start of the next.

    Also how much of it is left at the end of that phase, and how large it is with recomputed statistics, at which the
    starts of the phases have the given accuracy.
    """
    phases = list(filter(len, [rows["val_accuracy"].dropna() for _, rows in history.groupby("phase", sort=False)]))
    return max(
        (
            100 * (before.iloc[-1] - after.iloc[0]),
            100 * (before.iloc[-1] - after.iloc[-1]),
            100 * (before.iloc[-1] - start),
        )
        for (before, after), start in zip(pairwise(phases), starts, strict=True)
    )


if __name__ == "__main__":
    main()
