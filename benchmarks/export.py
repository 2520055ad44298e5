"""Compares exported models with the model: python benchmarks/export.py [--data FOLDER] [--format NAME] [BACKBONE ...]

For a backbone of each family: a few steps of `fine_tune_all` from random weights at the smallest image size of 64 px or
more. The model is exported into each format, loaded in a separate process and compared: the size, the share of images
with the same class, and the largest difference in probability. The images are test images of a class folder, or
synthetic. Random weights need no download and use the same operations as pretrained ones.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import strategies
from strategies.data.dataset import ImageDataset
from strategies.errors import UserError
from strategies.networks.backbones import BACKBONES
from strategies.runs.exporting import FORMATS

ONE_PER_CONSTRUCTOR = list({row.constructor: row.name for row in reversed(BACKBONES.values())}.values())
NUM_IMAGES = 200
SMALLEST = 64


def main() -> None:
    """Prints a row for each backbone and format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", default=ONE_PER_CONSTRUCTOR, metavar="BACKBONE")
    parser.add_argument("--data", type=Path, help="class folder")
    parser.add_argument("--format", choices=FORMATS, action="append", help="may be repeated; default: all")
    given = parser.parse_args()
    dataset = images_of(given.data)
    print("| backbone | format | size | images | same class | largest difference |")
    print("|---|---|---|---|---|---|")
    for name in given.backbones:
        size = max(SMALLEST, strategies.get_backbone(name).min_image_size)
        plan = strategies.make_plan(
            "fine_tune_all",
            name,
            class_names=dataset.class_names,
            num_train=NUM_IMAGES,
            image_size=size,
            weights="random",
            budget=0.001,
        )
        with tempfile.TemporaryDirectory() as folder:
            strategies.train(plan, dataset, Path(folder, "run"), cache=False)
            run = strategies.read_run(Path(folder, "run"))
            for kind in given.format or FORMATS:
                try:
                    exported = strategies.export(run, kind, data=dataset)
                except UserError as error:
                    print(f"| {name} | {kind} | {error} | | | |", flush=True)
                    continue
                largest = exported.largest_difference
                cells = [name, kind, f"{exported.num_bytes / 1e6:.1f} MB", f"{exported.num_images}"]
                cells += [f"{exported.top1_agreement:.2%}", "identical" if largest == 0 else f"{largest:.1e}"]
                print(f"| {' | '.join(cells)} |", flush=True)


def images_of(folder: Path | None) -> ImageDataset:
    """Returns 200 images, half of them test images: from a class folder, or noise of two kinds."""
    if folder is None:
        print("Images: synthetic.", file=sys.stderr)
        generator = np.random.default_rng(0)
        fine = generator.integers(0, 256, (NUM_IMAGES // 2, SMALLEST, SMALLEST, 3), dtype="uint8")
        coarse = generator.integers(0, 256, (NUM_IMAGES // 2, 8, 8, 3), dtype="uint8").repeat(8, 1).repeat(8, 2)
        source = (np.concatenate([fine, coarse]), ["fine"] * len(fine) + ["coarse"] * len(coarse))
        return strategies.split_dataset(strategies.load_dataset(source), seed=0, test_fraction=0.5)
    dataset = strategies.load_dataset(folder)
    chosen = np.sort(np.random.default_rng(0).permutation(len(dataset))[:NUM_IMAGES])
    return strategies.split_dataset(dataset.subset(chosen), seed=0, test_fraction=0.5)


if __name__ == "__main__":
    main()
