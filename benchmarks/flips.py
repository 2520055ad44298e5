"""Measures whether images may be flipped: python benchmarks/flips.py DATASETS [--train CHANGES ...] [--only NAMES]

Prints a row for each class folder below a folder, and for scikit-learn's digits: how well held-out images are
recognized as they are and mirrored, and whether a plan flips them. With `--train`, instead the test accuracy of a
recipe on 100 training and validation images, in percent, for each seed and each way to change training images, such as
`--train flip,shift shift flip,shift,color`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import advisor
from advisor.evidence.study import choose_datasets, draw
from advisor.measure.probes import MAX_IMAGES
from advisor.plans import plan_for
from strategies.data.loading import load_dataset
from strategies.networks.weights import choose_network
from strategies.training.trainer import train

DIGITS = "digits"
NUM_TRAINED = 100  # training and validation images with --train


def load(folder, names):
    """Returns the named datasets, or all; one of them is made of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    drawn = load_dataset(((digits.images * 255 / 16).astype("uint8"), [str(digit) for digit in digits.target]))
    if names == [DIGITS]:
        return {DIGITS: drawn}
    found = choose_datasets(folder, [name for name in names if name != DIGITS])
    return found if names and DIGITS not in names else {DIGITS: drawn, **found}


def accuracies(dataset, recipe, network, seed, changes):
    """Returns the test accuracy for each way to change training images."""
    from strategies.networks.backend import keras

    data = draw(dataset, NUM_TRAINED, seed)
    learning = data.subset(np.flatnonzero(np.array(data.split) != "test"))
    similarity = advisor.measure_similarity(learning, seed=seed).score
    for augment in changes:
        plan = plan_for(recipe, network, data, None, similarity=similarity, seed=seed, augment=augment)
        yield train(plan, data, baseline=False).test.accuracy
        keras.utils.clear_session()


def main():
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", default="", help="names of datasets, separated by commas")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--images", type=int, default=MAX_IMAGES, help="most images of the measurement")
    parser.add_argument("--draws", type=int, default=1, help="number of random draws of these images")
    parser.add_argument("--train", nargs="+", default=[], metavar="CHANGES", help="as --augment of advisor train")
    parser.add_argument("--recipe", default="fine_tune_all")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    network = choose_network(given.backbone).network.at(given.image_size)
    chosen = load(given.datasets, [name for name in given.only.split(",") if name])
    if given.train:
        print(f"| dataset | seed | {' | '.join(given.train)} |\n|---|{'---|' * (1 + len(given.train))}")
    else:
        print("| dataset | as they are | mirrored | fall | standard errors | not flipped |\n|---|---|---|---|---|---|")
    for name, dataset in chosen.items():
        for seed in range(given.seeds if given.train else 0):
            cells = " | ".join(
                f"{100 * value:.1f}" for value in accuracies(dataset, given.recipe, network, seed, given.train)
            )
            print(f"| {name} | {seed} | {cells} |", flush=True)
        if given.train:
            continue
        rows = [
            advisor.measure_mirroring(
                replace(dataset, split=None),
                backbone=given.backbone,
                image_size=given.image_size,
                max_images=given.images,
                seed=seed,
            )
            for seed in range(given.draws)
        ]
        falls = [100 * row.fall for row in rows]
        errors = [row.fall / max(row.standard_error, 1e-9) for row in rows]
        cells = f"{np.mean([row.plain for row in rows]):.3f} | {np.mean([row.mirrored for row in rows]):.3f}"
        off = f"{sum(row.matters for row in rows)} of {len(rows)}"
        print(f"| {name} | {cells} | {np.mean(falls):.1f} | {np.mean(errors):.1f} | {off} |", flush=True)


if __name__ == "__main__":
    main()
