"""Compares the time of the advice with training all recipes: python benchmarks/recommend.py DATASET [--backbone NAME]

Measures a call of `advisor.recommend` without a cache, and the training of all four recipes on the same 1,000 images,
in one process. Prints the ratio. Keras is started before both.
"""

import argparse
import time
from pathlib import Path

import keras

import advisor
from advisor.evidence.study import draw
from advisor.plans import plan_for
from strategies.data.loading import load_dataset
from strategies.networks.network import PretrainedNetwork
from strategies.recipes import RECIPES
from strategies.training.trainer import train


def main() -> None:
    """Prints the seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="class folder with 1,000 images or more in addition to the test set")
    parser.add_argument("--backbone", default="MobileNet-0.25")
    parser.add_argument("--image-size", type=int, default=96)
    given = parser.parse_args()
    data = draw(load_dataset(given.dataset), 1000, 0)
    if data is None:
        parser.error(f"expected 1,000 images or more in addition to the test set, received fewer in {given.dataset}")
    keras.ops.zeros(1)
    network = PretrainedNetwork(backbone=given.backbone, weights="imagenet", image_size=given.image_size)
    started = time.perf_counter()
    advice = advisor.recommend(data, backbone=given.backbone, image_size=given.image_size, cache=False)
    advice_seconds = time.perf_counter() - started
    seconds = {}
    for recipe in RECIPES:
        plan = plan_for(recipe, network, data, advice.depth_curve, similarity=advice.similarity.score, seed=0)
        started = time.perf_counter()
        train(plan, data, cache=False)
        seconds[recipe] = time.perf_counter() - started
    total = sum(seconds.values())
    print(f"recommend: {advice_seconds:.1f} s, {advice.recipe}")
    for recipe, value in seconds.items():
        print(f"{recipe}: {value:.1f} s")
    print(f"the advice takes {advice_seconds / total:.1%} of the time of training all four recipes")


if __name__ == "__main__":
    main()
