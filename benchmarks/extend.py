"""Compares an extended run with training on all classes at once: python benchmarks/extend.py DATASETS

For each class folder below DATASETS: of up to 300 images without copies, two classes are held back. A run is trained on
the others, and `extend` then adds the two. Beside it, all classes are trained at once, with the same split. `--recipe`
and `--budget` are those of the run, and `--head` keeps its network.

Prints a row for each dataset: accuracy on the test images of all classes, all at once and extended; accuracy on those
of the first classes, before and after; and the seconds of both, nothing being cached.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.extension import extend
from advisor.measure.profile import profile_dataset
from advisor.measure.sampling import sample
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.display.progress import silenced
from strategies.features import extractor
from strategies.plans.plan import Plan
from strategies.plans.planning import make_plan, with_budget
from strategies.recipes import HEAD_ONLY, RECIPES
from strategies.training.trainer import train

NUM_IMAGES = 300
HELD_BACK = 2  # classes


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Returns what a function returns, and how long it took with nothing in the cache or in memory."""
    extractor._REMEMBERED.clear()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ADVISOR_CACHE"] = cache
        started = time.perf_counter()
        return work(), time.perf_counter() - started


def with_classes(dataset: ImageDataset, first: int, last: int) -> ImageDataset:
    """Returns the images of some classes, which are the only ones then."""
    chosen = dataset.subset(np.flatnonzero((dataset.labels >= first) & (dataset.labels < last)))
    return replace(chosen, class_names=dataset.class_names[first:last], labels=chosen.labels - first)


def plan_for(dataset: ImageDataset, given: argparse.Namespace) -> Plan:
    """Returns the plan of the recipe for the training images of a dataset."""
    counts = np.bincount(dataset.labels[np.array(dataset.split) == "train"], minlength=len(dataset.class_names))
    plan = make_plan(
        given.recipe,
        given.backbone,
        class_names=dataset.class_names,
        num_train=int(counts.sum()),
        images_per_class=counts.tolist(),
        image_size=given.image_size,
    )
    return with_budget(plan, given.budget)


def measure(folder: Path, given: argparse.Namespace) -> list[float]:
    """Returns the numbers of a row, accuracies in percent."""
    dataset = load_dataset(folder)
    dataset = profile_dataset(dataset.subset(sample(dataset.labels, NUM_IMAGES, 0)))[1].without_copies()
    num_classes = len(dataset.class_names)
    first = with_classes(dataset, 0, num_classes - HELD_BACK)
    more = with_classes(dataset, num_classes - HELD_BACK, num_classes)
    with tempfile.TemporaryDirectory() as name, silenced():
        runs = Path(name)
        train(plan_for(first, given), first, runs / "run", baseline=False)
        extended, seconds = timed(lambda: extend(runs / "run", more, runs / "run2", head=given.head))
        whole, whole_seconds = timed(lambda: train(plan_for(dataset, given), dataset, runs / "whole", baseline=False))
    accuracies = [whole.test.accuracy, extended.result.test.accuracy, extended.accuracy_before, extended.accuracy_after]
    return [*(100 * accuracy for accuracy in accuracies), whole_seconds, seconds]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds one folder per dataset")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default=HEAD_ONLY)
    parser.add_argument("--budget", type=float, default=1.0, help="share of the training steps")
    parser.add_argument("--head", action="store_true", help="keep the network of the run")
    parser.add_argument("--only", nargs="+", help="names of datasets; default: all with four classes or more")
    given = parser.parse_args()
    header = ["dataset", "all at once", "extended", "first classes before", "after", "s all at once", "s extended"]
    print(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    rows = []
    for folder in sorted(path for path in given.datasets.iterdir() if path.is_dir()):
        if folder.name in given.only if given.only else len(load_dataset(folder).class_names) > HELD_BACK + 1:
            rows.append(measure(folder, given))
            print(f"| {folder.name} | {' | '.join(f'{value:.1f}' for value in rows[-1])} |", flush=True)
    print(f"| mean | {' | '.join(f'{value:.1f}' for value in np.mean(rows, axis=0))} |")


if __name__ == "__main__":
    main()
