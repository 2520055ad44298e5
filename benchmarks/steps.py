"""Measures what a share of the training steps is worth: python benchmarks/steps.py DATASETS [--only NAME ...]

Prints the test accuracy in percent of the recipes that train the whole network, with shares of their steps, and of a
head alone, on 100 images of each dataset. Datasets are class folders below one folder.
"""

import argparse
from pathlib import Path

from advisor.evidence.study import choose_datasets, draw
from advisor.measure.similarity import measure_similarity
from advisor.plans import plan_for
from strategies.networks.network import PretrainedNetwork
from strategies.plans.planning import with_budget
from strategies.training.trainer import train

SHARES = (0.05, 0.1, 0.25, 0.5, 1)


def main() -> None:
    """Prints a row for each dataset and recipe, as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", nargs="+", default=())
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--images", type=int, default=100)
    given = parser.parse_args()
    network = PretrainedNetwork(backbone=given.backbone, weights="imagenet", image_size=given.image_size)
    print(f"| dataset | recipe | {' | '.join(f'{share:.0%}' for share in SHARES)} | head alone |")
    print("| --- " * (len(SHARES) + 3) + "|")
    for name, dataset in choose_datasets(given.datasets, given.only).items():
        data = draw(dataset, given.images, seed=0)
        if data is None:
            continue
        similarity = measure_similarity(data).score
        for recipe in ("retrain_all", "fine_tune_all"):
            plan = plan_for(recipe, network, data, None, similarity=similarity, seed=0)
            results = [train(with_budget(plan, share), data) for share in SHARES]
            cells = [f"{100 * result.test.accuracy:.1f}" for result in results]
            print(f"| {name} | {recipe} | {' | '.join(cells)} | {100 * results[0].head.accuracy:.1f} |", flush=True)


if __name__ == "__main__":
    main()
