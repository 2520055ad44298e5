"""Is the recommended network the best one? python benchmarks/backbones.py DATASETS [--image-size 128] [--max-ms 5]

DATASETS is a folder of class folders. Of up to 2,000 images of each dataset, one half is asked and the other half
judges, then the other way around: `compare_backbones` measures the networks on each half. Prints what each network
reaches, then how many points are lost on average against the best network of the judging half by each way to choose:
what was measured on the other half, the largest network, the highest published accuracy on ImageNet, and one at random;
of all networks, and of those within the time per image. The best network on both halves together loses something too:
that much is chance.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from advisor.evidence.study import choose_datasets
from advisor.measure.backbones import BackboneComparison, compare_backbones
from advisor.measure.sampling import sample
from strategies.data.dataset import ImageDataset
from strategies.errors import DatasetError
from strategies.networks.backbones import get_backbone

NETWORKS = "MobileNet-0.25,MobileNetV2-0.35,EfficientNetLite0,EfficientNetLite1,EfficientNetLite2"
NUM_IMAGES = 2_000


def main() -> None:
    """Prints a line for each dataset, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", default="", help="names of datasets; default: all")
    parser.add_argument("--try", dest="names", default=NETWORKS, help="names of networks")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--max-ms", type=float, default=5.0, help="time per image of the second table")
    given = parser.parse_args()
    names = given.names.split(",")
    print("dataset".ljust(14), *(name.rjust(18) for name in names))
    asked, judged, speed = [], [], []
    for dataset_name, dataset in choose_datasets(
        given.datasets, [name for name in given.only.split(",") if name]
    ).items():
        try:
            found = [compare_backbones(half, names, image_sizes=[given.image_size]) for half in halves(dataset)]
        except DatasetError as error:
            print(f"left out: {dataset_name}: {error}", file=sys.stderr)
            continue
        one, other = (accuracies(each, names) for each in found)
        asked += [one, other]
        judged += [other, one]
        speed.append([milliseconds(each, names) for each in found])
        print(dataset_name.ljust(14), *(f"{100 * value:17.1f}%" for value in (one + other) / 2), flush=True)
    took = np.median(np.concatenate(speed), axis=0)
    print("ms per image".ljust(14), *(f"{value:18.1f}" for value in took))
    for title, allowed in (("all networks", took > 0), (f"at most {given.max_ms:g} ms", took <= given.max_ms)):
        print(f"\npoints lost, {title}: {', '.join(np.array(names)[allowed])}")
        lost = 100 * (np.array(judged)[:, allowed].max(axis=1, keepdims=True) - np.array(judged))[:, allowed]
        kept = [get_backbone(name) for name, fits in zip(names, allowed, strict=True) if fits]
        ways = {
            "measured": np.array(asked)[:, allowed].argmax(axis=1),
            "largest": np.full(len(lost), np.argmax([row.parameters for row in kept])),
            "ImageNet": np.full(len(lost), np.argmax([row.top1 or 0 for row in kept])),
            "best on both": (np.array(asked) + np.array(judged))[:, allowed].argmax(axis=1),
        }
        for way, choice in ways.items():
            print(f"{way:<12} {lost[np.arange(len(lost)), choice].mean():.2f}")
        print(f"{'random':<12} {lost.mean():.2f}")


def halves(dataset: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
    """Returns two halves of a sample, each with half of every class."""
    dataset = dataset.subset(sample(dataset.labels, NUM_IMAGES, 0))
    order = np.random.default_rng(0).permutation(len(dataset))
    rank = np.empty(len(dataset), dtype=int)
    for label in np.unique(dataset.labels):
        members = order[dataset.labels[order] == label]
        rank[members] = np.arange(len(members))
    return dataset.subset(np.flatnonzero(rank % 2 == 0)), dataset.subset(np.flatnonzero(rank % 2 == 1))


def accuracies(found: BackboneComparison, names: list[str]) -> np.ndarray:
    """Returns the accuracy of each network, in the order of the names."""
    by_name = {row.network.backbone: row.accuracy for row in found.rows}
    return np.array([by_name[name] for name in names])


def milliseconds(found: BackboneComparison, names: list[str]) -> list[float]:
    """Returns the time per image of each network, in the order of the names."""
    by_name = {row.network.backbone: row.milliseconds for row in found.rows}
    return [by_name[name] for name in names]


if __name__ == "__main__":
    main()
