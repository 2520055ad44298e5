"""Compares bundled with random and ImageNet weights: python benchmarks/bundled.py DATASETS [--image-size 96]

For each class folder below DATASETS: the cross-validated accuracy of a linear classifier on the pooled features of the
last stage of MobileNetV2-0.35, with random, bundled and ImageNet weights (at most 1,000 images), and the similarity to
ImageNet measured with the bundled network and with the default one. Prints the table of
strategies/networks/bundled/README.md. Needs the ImageNet weights.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import advisor
from advisor.calibration import calibration
from strategies.data.loading import load_dataset
from strategies.features.extraction import extract_stages, stage_extractor
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import BUNDLED_BACKBONE
from strategies.training.head import cross_validate, make_folds

MOST_IMAGES = 1_000
WEIGHTS = ("random", "bundled", "imagenet")


def main() -> None:
    """Prints a row for each dataset, then a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds one folder per dataset")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--weights", help="a weights file instead of the bundled one")
    given = parser.parse_args()
    names = [given.weights if given.weights and name == "bundled" else name for name in WEIGHTS]
    rows = {}
    for folder in sorted(path for path in given.datasets.iterdir() if path.is_dir()):
        rows[folder.name] = {
            **dict(zip(WEIGHTS, (probe(folder, name, given.image_size) for name in names), strict=True)),
            **{f"similarity, {name}": score(folder, name, names[1]) for name in ("bundled", "imagenet")},
        }
    table = pd.DataFrame(rows).T
    print("| dataset |", " | ".join(table.columns), "|")
    print("|---|" + "---|" * len(table.columns))
    for name, row in table.iterrows():
        values = [f"{100 * row[column]:.1f}" for column in WEIGHTS]
        values += [f"{row[column]:.2f}" for column in table.columns[len(WEIGHTS) :]]
        print(f"| {name} |", " | ".join(values), "|")
    random, bundled, imagenet = (100 * table[name].mean() for name in WEIGHTS)
    order = table["similarity, bundled"].corr(table["similarity, imagenet"], "spearman")
    print(
        f"\nMean of {len(table)} datasets at {given.image_size} px: {random:.1f} with random weights, "
        f"{bundled:.1f} bundled, {imagenet:.1f} with ImageNet's: {(bundled - random) / (imagenet - random):.2f} of the "
        f"way. Spearman correlation of the similarities of both networks: {order:.3f}."
    )


def probe(folder: Path, weights: str, image_size: int) -> float:
    """Returns the share of held-out images that a linear classifier on frozen features classifies correctly."""
    dataset = load_dataset(folder)
    dataset = dataset.subset(np.sort(np.random.default_rng(0).permutation(len(dataset))[:MOST_IMAGES]))
    counts = np.bincount(dataset.labels)
    dataset = dataset.subset(np.flatnonzero(counts[dataset.labels] > 1))
    labels = np.unique(dataset.labels, return_inverse=True)[1]
    network = PretrainedNetwork(backbone=BUNDLED_BACKBONE, weights=weights, image_size=image_size)
    features = extract_stages(stage_extractor(network, ["stage6"], cache=None), dataset.items)
    return float(cross_validate(features["stage6"], labels, make_folds(labels, 0)).correct.mean())


def score(folder: Path, name: str, weights: str) -> float:
    """Returns the similarity by one of the two calibrated networks; minus the distance with other weights."""
    ruler = calibration()["bundled_ruler" if name == "bundled" else "ruler"]
    chosen = weights if name == "bundled" else ruler["weights"]
    found = advisor.measure_similarity(folder, ruler=ruler["backbone"], weights=chosen, image_size=ruler["image_size"])
    return -found.distance if found.score is None else found.score


if __name__ == "__main__":
    main()
