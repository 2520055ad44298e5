"""What the bundled backbone is worth: python benchmarks/bundled.py DATASETS [--image-size 96]

For every class folder below DATASETS, the cross-validated accuracy of a linear classifier on the pooled features of the
last stage of MobileNetV2-0.35 with random weights, those of this package and those of ImageNet (at most 1,000 images),
and the similarity to ImageNet by the bundled ruler and by the one that decides. It is the table of
strategies/bundled/README.md. Needs the ImageNet weights.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import advisor
from advisor.thresholds import calibration
from strategies.data.loading import load_dataset
from strategies.features.extraction import pooled_features
from strategies.networks.weights import BUNDLED_BACKBONE
from strategies.training.head import cross_validate, make_folds

MOST_IMAGES = 1_000
WEIGHTS = ("random", "bundled", "imagenet")


def main() -> None:
    """Prints one row per dataset, then what they say together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds one folder per dataset")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--weights", help="another file in the place of the bundled one")
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
        values = [f"{100 * row[one]:.1f}" for one in WEIGHTS] + [f"{row[one]:.2f}" for one in table.columns[3:]]
        print(f"| {name} |", " | ".join(values), "|")
    low, ours, high = (100 * table[name].mean() for name in WEIGHTS)
    order = table["similarity, bundled"].corr(table["similarity, imagenet"], "spearman")
    print(
        f"\nMean of {len(table)} datasets at {given.image_size} px: {low:.1f} with random weights, {ours:.1f} bundled, "
        f"{high:.1f} with ImageNet's: {(ours - low) / (high - low):.2f} of the way. Spearman correlation of the "
        f"similarity with that of the ruler: {order:.3f}."
    )


def probe(folder: Path, weights: str, image_size: int) -> float:
    """Returns the share of held-out images that a linear classifier on frozen features gets right."""
    dataset = load_dataset(folder)
    dataset = dataset.subset(np.sort(np.random.default_rng(0).permutation(len(dataset))[:MOST_IMAGES]))
    counts = np.bincount(dataset.labels)
    dataset = dataset.subset(np.flatnonzero(counts[dataset.labels] > 1))
    labels = np.unique(dataset.labels, return_inverse=True)[1]
    found = pooled_features(
        dataset.items, BUNDLED_BACKBONE, ["stage6"], image_size=image_size, weights=weights, cache=False
    )
    return float(cross_validate(found["stage6"], labels, make_folds(labels, 0)).correct.mean())


def score(folder: Path, name: str, weights: str) -> float:
    """Returns the similarity by one of the two calibrated rulers; minus the distance where the file is another one."""
    ruler = calibration()["bundled_ruler" if name == "bundled" else "ruler"]
    chosen = weights if name == "bundled" else ruler["weights"]
    found = advisor.measure_similarity(folder, ruler=ruler["backbone"], weights=chosen, image_size=ruler["image_size"])
    return -found.distance if found.score is None else found.score


if __name__ == "__main__":
    main()
