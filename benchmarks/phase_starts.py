"""Does a phase begin with a collapse? python benchmarks/phase_starts.py DATASETS [--only NAME ...] [--backbone NAME]

For each class folder below DATASETS and each recipe that trains the network, on the images of the study's cell: how
many points the first evaluation of each phase lies below the last evaluation of the phase before, on validation images.
Prints the largest such fall of each training with what is left of it at the end of that phase, and the median over the
trainings.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from statistics import median

from advisor.evidence.study import choose_datasets, draw
from advisor.measure.probes import measure_depth_curve
from advisor.measure.similarity import measure_similarity
from advisor.plans import plan_for
from strategies.networks.network import PretrainedNetwork
from strategies.recipes import HEAD_ONLY, RECIPES
from strategies.training.trainer import train


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
                fall, left = largest_fall(train(plan, data, baseline=False).history)
                falls.append(fall)
                print(f"{name:<14} {recipe:<18} {fall:5.1f} points, {left:5.1f} at its end", flush=True)
    print(f"median of {len(falls)} trainings: {median(falls):.1f} points; largest: {max(falls):.1f}")


def largest_fall(history):
    """Returns by how many points validation falls at most from the end of a phase to the start and end of the next."""
    phases = [rows["val_accuracy"].dropna() for _, rows in history.groupby("phase", sort=False)]
    return max(
        (100 * (before.iloc[-1] - after.iloc[0]), 100 * (before.iloc[-1] - after.iloc[-1]))
        for before, after in pairwise(filter(len, phases))
    )


if __name__ == "__main__":
    main()
