"""Compares images squeezed, cropped and padded: python benchmarks/resizing.py DATASETS [--only NAMES]

Prints a row for each class folder below a folder whose images are not nearly square: their median long side as a
multiple of the short one, the test accuracy of a new head on 300 images in each of the three ways, in percent, which of
them the advice takes, and what that gains over squeezed images, in points; then the mean gain over all draws, the
worst, and that of the way that is best on average for each dataset.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from advisor.evidence.study import choose_datasets, draw
from advisor.measure.resizing import NEARLY_SQUARE, compare_squares
from strategies.data.decoding import peek_size
from strategies.data.resizing import SQUARES
from strategies.features.extraction import extract_features
from strategies.networks.weights import choose_network
from strategies.training.head import fit_head

NUM_IMAGES = 300


def shape(dataset):
    """Returns the median long side of up to 200 images as a multiple of their median short side."""
    chosen = np.random.default_rng(0).permutation(len(dataset))[:200]
    sides = np.sort([size for index in chosen if (size := peek_size(dataset.items[index]))], axis=1)
    return np.median(sides[:, 1]) / np.median(sides[:, 0])


def measure(dataset, network, draws):
    """Yields for each draw the test accuracy of each way, and the way that the advice takes."""
    whole = draw(dataset, None, 0)
    features = {
        resize: next(
            iter(extract_features(whole, network.backbone, image_size=network.image_size, resize=resize).values())
        )
        for resize in SQUARES
    }
    place = {name: index for index, name in enumerate(whole.names)}
    for seed in range(draws):
        drawn = draw(dataset, min(NUM_IMAGES, sum(part != "test" for part in whole.split)), seed)
        rows = np.array([place[name] for name in drawn.names])
        is_test = np.array(drawn.split) == "test"
        rows, tested, labels = rows[~is_test], rows[is_test], drawn.labels
        squeezed, cropped = (features[name][rows] for name in ("squeeze", "crop"))
        found = compare_squares(squeezed, cropped, labels[~is_test], seed=seed)
        reached = {}
        for name, values in features.items():
            kernel, bias = fit_head(values[rows], labels[~is_test], len(drawn.class_names), seed=seed)
            predicted = (values[tested] @ kernel + bias).argmax(axis=1)
            reached[name] = 100 * (predicted == labels[is_test]).mean()
        yield reached, found.best


def main():
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", default="", help="names of datasets, separated by commas")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--draws", type=int, default=5, help="number of random draws of the 300 images")
    parser.add_argument("--from", type=float, default=NEARLY_SQUARE, dest="least", help="least shape of a dataset")
    given = parser.parse_args()
    network = choose_network(given.backbone).network.at(given.image_size)
    print(f"| dataset | long side / short side | {' | '.join(SQUARES)} | taken | gain |")
    print("| --- " * (4 + len(SQUARES)) + "|")
    gains, possible = [], []
    for name, dataset in choose_datasets(given.datasets, [name for name in given.only.split(",") if name]).items():
        if (sides := shape(dataset)) <= given.least:
            continue
        found = list(measure(dataset, network, given.draws))
        means = {resize: np.mean([reached[resize] for reached, _ in found]) for resize in SQUARES}
        gained = [reached[best] - reached["squeeze"] for reached, best in found]
        gains += gained
        possible.append(max(means.values()) - means["squeeze"])
        taken = ", ".join(f"{resize} {count}x" for resize, count in Counter(best for _, best in found).items())
        cells = " | ".join(f"{value:.1f}" for value in means.values())
        print(f"| {name} | {sides:.2f} | {cells} | {taken} | {np.mean(gained):+.1f} |", flush=True)
    print(
        f"\nmean gain {np.mean(gains):+.2f}, worst draw {min(gains):+.1f}, the best way each: {np.mean(possible):+.2f}"
    )


if __name__ == "__main__":
    main()
