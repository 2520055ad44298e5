"""Compares the time of the advice with that of trying: python benchmarks/recommend.py DATASET [--backbone NAME]

Measures one call of `advisor.recommend`, nothing cached, and the training of all four recipes on the same 1,000 images,
in one process, and prints the ratio. The first call of Keras is made before both.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np

import advisor
from advisor.evidence.study import draw
from advisor.recommendation import plan_for
from strategies.data.loading import load_dataset
from strategies.recipes import RECIPES
from strategies.training.trainer import train


def main() -> None:
    """Prints seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="class folder with 1,000 images or more beside the test set")
    parser.add_argument("--backbone", default="MobileNet-0.25")
    parser.add_argument("--image-size", type=int, default=96)
    given = parser.parse_args()
    data = draw(load_dataset(given.dataset), 1000, 0)
    if data is None:
        parser.error(f"expected 1,000 images or more beside the test set, received fewer in {given.dataset}")
    keras.ops.zeros(1)
    setting = {"image_size": given.image_size, "weights": "imagenet", "seed": 0}
    started = time.perf_counter()
    advice = advisor.recommend(data, backbone=given.backbone, image_size=given.image_size, cache=False)
    asking = time.perf_counter() - started
    seconds = {}
    for recipe in RECIPES:
        plan = plan_for(recipe, given.backbone, data, advice.depth_curve, **setting)
        started = time.perf_counter()
        train(plan, data, cache=False)
        seconds[recipe] = time.perf_counter() - started
    trying = float(np.sum(list(seconds.values())))
    print(f"recommend: {asking:.1f} s, {advice.recipe}")
    for recipe, value in seconds.items():
        print(f"{recipe}: {value:.1f} s")
    print(f"the advice takes {asking / trying:.1%} of the time of trying all four")


if __name__ == "__main__":
    main()
