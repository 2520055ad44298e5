"""Measures what `--unsure` finds: python benchmarks/unsure.py DATASETS

DATASETS is a folder of class folders. Of each dataset with five classes or more, two classes are held out. The recipe
is trained on images of the other classes. The columns say, in percent: which share of the test images of these classes
is kept, and which share is rejected of the images of the other datasets and of the classes held out. Next to these, the
maximum probability alone, with a limit that keeps as many of the test images. The last row has the means.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from advisor.evidence.study import choose_datasets, draw
from strategies.data.dataset import ImageDataset
from strategies.data.pixels import Pixels
from strategies.features.forward import forward
from strategies.plans.planning import make_plan
from strategies.training.model import with_features
from strategies.training.trainer import train

HELD_OUT, MOST_IMAGES, FROM_OTHERS = 2, 500, 60  # classes; images of each kind; images of each of the other datasets


def some(dataset: ImageDataset, indices: np.ndarray, most: int) -> ImageDataset:
    """Returns at most so many of the images, drawn at random."""
    return dataset.subset(np.sort(np.random.default_rng(0).permutation(indices)[:most]))


def known(dataset: ImageDataset, held: np.ndarray) -> ImageDataset:
    """Returns the dataset without the classes that are held out."""
    kept = dataset.subset(np.flatnonzero(~np.isin(dataset.labels, held)))
    names, labels = np.unique(kept.labels, return_inverse=True)
    return replace(kept, class_names=tuple(dataset.class_names[name] for name in names), labels=labels)


def measure(name: str, datasets: Mapping[str, ImageDataset], seed: int, given: argparse.Namespace) -> list[float]:
    """Returns the five shares of one dataset: kept, and rejected by novelty and by the maximum probability."""
    dataset = datasets[name]
    held = np.random.default_rng(seed).permutation(len(dataset.class_names))[:HELD_OUT]
    data = draw(known(dataset, held), None if given.size == "full" else int(given.size), seed)
    if data is None:
        raise SystemExit(f"Expected at least {given.size} training images. Received: fewer, in {name}. Give --size.")
    split = np.array(data.split)
    labels = data.labels[split == "train"]
    plan = make_plan(
        given.recipe,
        given.backbone,
        class_names=data.class_names,
        num_train=len(labels),
        images_per_class=np.bincount(labels, minlength=len(data.class_names)).tolist(),
        image_size=given.image_size,
        seed=seed,
    )
    result = train(plan, data, baseline=False)
    others = [some(other, np.arange(len(other)), FROM_OTHERS) for key, other in datasets.items() if key != name]
    kinds = [
        some(data, np.flatnonzero(split == "test"), MOST_IMAGES).items,
        [item for other in others for item in other.items],
        some(dataset, np.flatnonzero(np.isin(dataset.labels, held)), MOST_IMAGES).items,
    ]
    if result.novelty is None:
        raise SystemExit(f"Expected a run with a threshold. Received: none, from {name}. Give more images with --size.")
    model, shares = with_features(result.model, result.novelty.layers), []
    outputs = [forward(model, Pixels(items, given.image_size)) for items in kinds]
    novelty = [result.novelty.measure(features) for _, *features in outputs]
    doubt = [1 - probabilities.max(axis=1) for probabilities, *_ in outputs]
    kept = float((novelty[0] <= 1).mean())
    for values, limit in ((novelty, 1.0), (doubt, float(np.quantile(doubt[0], kept)))):
        shares += [float((found > limit).mean()) for found in values[1:]]
    return [kept, *shares]


def main() -> None:
    """Prints a Markdown table with a row for each dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--recipe", default="head_only")
    parser.add_argument("--size", default="100", help="images for training and validation, or 'full'")
    parser.add_argument("--only", default="", help="names of datasets, separated by commas; default: all")
    parser.add_argument("--measure", default="", help="names of those of them that are measured; default: all")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    found = choose_datasets(given.datasets, [name for name in given.only.split(",") if name])
    datasets = {name: dataset for name, dataset in found.items() if len(dataset.class_names) >= HELD_OUT + 3}
    print(f"{given.backbone}, {given.image_size} px, {given.recipe}, {given.size} images, {given.seeds} seeds\n")
    print("| dataset | kept | other datasets | held-out classes | by probability: other datasets | held-out classes |")
    print("| --- " * 6 + "|")
    rows = []
    for name in [name for name in given.measure.split(",") if name] or datasets:
        rows.append(np.mean([measure(name, datasets, seed, given) for seed in range(given.seeds)], axis=0))
        print(f"| {name} | {' | '.join(f'{100 * share:.0f}' for share in rows[-1])} |", flush=True)
        keras.utils.clear_session()
    print(f"| mean | {' | '.join(f'{100 * share:.1f}' for share in np.mean(rows, axis=0))} |")


if __name__ == "__main__":
    main()
