"""Test accuracy of fine-tuning at several learning rates, at points of the straight line from the head to the end.

    python benchmarks/fine_tuning.py DATASETS --backbone MobileNetV2-0.35 --image-size 96

DATASETS is a folder of class folders. Each dataset gives the same test images and draw of training images as the study.
All drawn images are trained on. The head is solved first; the columns say by how many points the accuracy changes if
half, three quarters or all of the change by the second phase is kept. One seed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from advisor.evidence.study import draw, read_datasets
from strategies.data.dataset import ImageDataset
from strategies.data.pixels import Pixels
from strategies.features.forward import forward
from strategies.plans.phase import Phase
from strategies.plans.plan import Plan
from strategies.plans.planning import make_plan, with_batch_norm
from strategies.training.trainer import train

SHARES = (0.5, 0.75, 1.0)


def measure(plan: Plan, data: ImageDataset) -> tuple[float, list[float]]:
    """Returns the test accuracy of the head alone, and at each share of the change by the second phase."""
    starts: list[list[np.ndarray]] = []

    def remember(phase: Phase, model: keras.Model, before: Any) -> None:
        starts.append(model.get_weights())

    model = train(plan, data, cache=False, baseline=False, on_phase_end=remember).model
    test = data.subset(np.flatnonzero(np.array(data.split) == "test"))
    pixels = Pixels(test.items, plan.image_size)

    def accuracy(share: float) -> float:
        model.set_weights([start + share * (end - start) for start, end in zip(*starts, strict=True)])
        return float((forward(model, pixels)[0].argmax(axis=1) == test.labels).mean())

    return accuracy(0.0), [accuracy(share) for share in SHARES]


def main() -> None:
    """Prints a Markdown table with a row for each dataset and rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--size", default="100", help="images to train on, or 'full'")
    parser.add_argument("--rates", default="1e-4,3e-4,1e-3")
    parser.add_argument("--batch-norm", default="inference", choices=("inference", "train"))
    parser.add_argument("--only", default="", help="names of datasets; default: all")
    given = parser.parse_args()
    print(f"{given.backbone}, {given.image_size} px, {given.size} images, BatchNorm: {given.batch_norm}\n")
    print("| dataset | rate | head | half | three quarters | all |\n|---|---|---|---|---|---|")
    for name, dataset in read_datasets(given.datasets).items():
        if given.only and name not in given.only.split(","):
            continue
        data = draw(dataset, None if given.size == "full" else int(given.size), 0)
        if data is None:
            continue
        data = replace(data, split=tuple("train" if part == "val" else part for part in data.split or ()))
        labels = data.labels[np.array(data.split) == "train"]
        plan = make_plan(
            "fine_tune_all",
            given.backbone,
            class_names=data.class_names,
            num_train=len(labels),
            images_per_class=np.bincount(labels, minlength=len(data.class_names)).tolist(),
            image_size=given.image_size,
        )
        plan = with_batch_norm(plan, given.batch_norm)
        for rate in map(float, given.rates.split(",")):
            tuned = replace(plan.phases[1], learning_rate=dict.fromkeys(plan.phases[1].trains, rate), blend=1.0)
            head, found = measure(replace(plan, phases=(plan.phases[0], tuned), refit=False), data)
            gains = " | ".join(f"{100 * (value - head):+.1f}" for value in found)
            print(f"| {name} | {rate:g} | {100 * head:.1f} | {gains} |", flush=True)
            keras.utils.clear_session()


if __name__ == "__main__":
    main()
