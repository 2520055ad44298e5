"""Compares estimated with measured costs: python benchmarks/cost.py DATASET

Prints the estimated time, time per epoch and memory as ratios to the measured ones, for each recipe, network and number
of images. Each is measured in a process of its own. Set OMP_NUM_THREADS, TF_NUM_INTRAOP_THREADS and
TF_NUM_INTEROP_THREADS to 1 to measure with one thread. Other processes must leave the processor alone: what they take
is measured, but not estimated.

The constants in strategies/plans/cost.py are fitted to these cases, on flowers of 128 x 128 pixels and an AMD EPYC with
two cores. With one and with two threads, estimated / measured was 0.73 to 1.27 for the time, 0.73 to 1.36 for the time
per epoch, and 0.89 to 1.02 for the memory, in all 64 cases. Of networks that were not used for the fit, with one thread
and 300 images: MobileNet-0.25 at 224 px 0.91, MobileNetV2 at 128 px 0.95, ResNet50 at 96 px 1.09; networks whose
activations take longer: EfficientNetB0 at 128 px 0.65, MobileNetV3Small at 160 px 0.69 (in processor time).
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import strategies
from strategies.plans.cost import estimate_cost
from strategies.training.timing import measure_cost

NETWORKS = (("MobileNet-0.25", 96), ("MobileNetV2-0.35", 96), ("MobileNetV2-0.35", 128), ("EfficientNetLite0", 128))
COSTS = ("seconds", "seconds_per_epoch", "memory")


def ratios(dataset: Path, backbone: str, image_size: int, num_images: int, recipe: str) -> list[float]:
    """Returns estimated / measured for each of `COSTS`; NaN where there is none."""
    whole = strategies.load_dataset(dataset)
    chosen = np.sort(np.random.default_rng(0).permutation(len(whole))[:num_images])
    data = strategies.split_dataset(whole.subset(chosen), seed=0)
    images = {name: data.split.count(name) for name in ("train", "val", "test")}
    plan = strategies.make_plan(
        recipe, backbone, class_names=data.class_names, num_train=images["train"], image_size=image_size
    )
    estimated = estimate_cost(plan, images)
    measured = measure_cost(plan, data).whole
    pairs = [(getattr(estimated, name), getattr(measured, name)) for name in COSTS]
    return [one / other if one and other else float("nan") for one, other in pairs]


def main() -> None:
    """Prints a row for each case, then how far the ratios are from 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 300])
    given = parser.parse_args()
    found = []
    print(f"| network | images | recipe | {' | '.join(COSTS)} |")
    print("| --- " * 6 + "|")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        for (backbone, size), count, recipe in product(NETWORKS, given.images, strategies.RECIPES):
            found.append(processes.submit(ratios, given.dataset, backbone, size, count, recipe).result())
            cells = [f"{backbone} at {size} px", str(count), recipe, *(f"{value:.2f}" for value in found[-1])]
            print(f"| {' | '.join(cells)} |", flush=True)
    factors = np.exp(np.abs(np.log(np.array(found))))
    for name, column in zip(COSTS, factors.T, strict=True):
        known = column[~np.isnan(column)]
        print(f"{name}: within a factor of 1.5 in {(known <= 1.5).mean():.0%} of cases, of {known.max():.2f} in all")


if __name__ == "__main__":
    main()
