"""Does a phase begin with a collapse? python benchmarks/phase_starts.py DATASETS [--only NAME ...] [--backbone NAME]

For each class folder below DATASETS and each recipe that trains the network, on the images of the study's cell: how
many points the first evaluation of each phase lies below the last evaluation of the phase before, on validation images.
Prints the largest such fall of each training with what is left of it at the end of that phase, and the median over the
trainings. Where BatchNorm is trained, its moving statistics are those of earlier steps: the fall is also measured with
statistics that are computed anew for the weights at that moment.
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
PASSES, BATCH = 30, 16  # images to compute statistics from: a momentum of 0.9 forgets earlier ones in so many passes


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
        for recipe in RECIPES:
            if recipe != HEAD_ONLY:
                plan = plan_for(recipe, network, data, curve, similarity=similarity, seed=0)
                starts = _Starts(data, given.image_size)
                fall, left, anew = largest_fall(train(plan, data, baseline=False, callbacks=[starts]).history, starts)
                falls.append(fall)
                print(
                    f"{name:<14} {recipe:<18} {fall:5.1f} points, {left:5.1f} at its end, {anew:5.1f} anew", flush=True
                )
    print(f"median of {len(falls)} trainings: {median(falls):.1f} points; largest: {max(falls):.1f}")


class _Starts(keras.callbacks.Callback):
    """Validation accuracy at the first evaluation of each phase, with BatchNorm statistics of the weights then."""

    def __init__(self, data, image_size):
        super().__init__()
        split = np.array(data.split)
        self.images = {name: Pixels(data.subset(np.flatnonzero(split == name)).items, image_size)[:] for name in PARTS}
        self.labels = data.labels[split == "val"]
        self.accuracy, self.first = [], True

    def on_train_begin(self, logs=None):
        self.first = True

    def on_epoch_end(self, epoch, logs=None):
        if self.first and logs and "val_accuracy" in logs:
            layers = [layer for layer in self.model._flatten_layers() if isinstance(layer, NORMALIZATION)]
            trained = any(layer.trainable for layer in layers)
            self.accuracy.append(self._anew(layers) if trained else logs["val_accuracy"])
        self.first = False

    def _anew(self, layers):
        before = [layer.get_weights() for layer in layers]
        generator = np.random.default_rng(0)
        for _ in range(PASSES):
            chosen = generator.choice(len(self.images["train"]), BATCH, replace=False)
            self.model(self.images["train"][chosen], training=True)
        found = keras.ops.convert_to_numpy(self.model(self.images["val"], training=False)).argmax(axis=1)
        for layer, weights in zip(layers, before, strict=True):
            layer.set_weights(weights)
        return float((found == self.labels).mean())


def largest_fall(history, starts):
    """Returns by how many points validation falls at most from the end of a phase to the start of the next.

    Also how much of it is left at the end of that phase, and how large it is with statistics that are computed anew.
    """
    phases = list(filter(len, [rows["val_accuracy"].dropna() for _, rows in history.groupby("phase", sort=False)]))
    return max(
        (
            100 * (before.iloc[-1] - after.iloc[0]),
            100 * (before.iloc[-1] - after.iloc[-1]),
            100 * (before.iloc[-1] - anew),
        )
        for (before, after), anew in zip(pairwise(phases), starts.accuracy, strict=True)
    )


if __name__ == "__main__":
    main()
