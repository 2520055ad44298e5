"""What int8 costs in accuracy: python benchmarks/int8.py [--backbone NAME] [--image-size PIXELS] DATASET ...

For each class folder, `head_only` is trained on 300 of its images, and all others are test images, at most 1,000. The
model is exported to LiteRT twice: with float32 and with int8, which is calibrated on 200 of the training images. The
figures are those of `strategies.export`. docs/guides/exporting.md quotes them.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import strategies
from strategies.runs.exporting import Export

NUM_LEARN = 300  # images for training and validation


def main() -> None:
    """Prints a row for each dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="class folder")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    given = parser.parse_args()
    print("| network | dataset | test images | accuracy: float | int8 | same class | size: float | int8 |")
    print("|---|---|---|---|---|---|---|---|")
    for folder in given.datasets:
        kinds = exports_of(folder, given.backbone, given.image_size)
        plain, int8 = kinds["litert"], kinds["litert-int8"]
        cells = [f"{given.backbone}, {given.image_size} px", folder.name, f"{plain.num_images:,}"]
        cells += [f"{kind.accuracy:.1%}" for kind in (plain, int8)] + [f"{int8.top1_agreement:.1%}"]
        cells += [f"{kind.num_bytes / 1e6:.1f} MB" for kind in (plain, int8)]
        print(f"| {' | '.join(cells)} |", flush=True)


def exports_of(folder: Path, backbone: str, image_size: int) -> dict[str, Export]:
    """Trains on 300 images of a class folder, and returns both exports by the names of their formats."""
    dataset = strategies.load_dataset(folder)
    split = np.full(len(dataset), "test", dtype=object)
    split[np.random.default_rng(0).permutation(len(dataset))[:NUM_LEARN]] = "train"
    dataset = strategies.split_dataset(replace(dataset, split=tuple(split)), seed=0)
    plan = strategies.make_plan(
        "head_only",
        backbone,
        class_names=dataset.class_names,
        num_train=dataset.split.count("train"),
        image_size=image_size,
    )
    with tempfile.TemporaryDirectory() as place:
        strategies.train(plan, dataset, Path(place, "run"))
        run = strategies.read_run(Path(place, "run"))
        return {kind: strategies.export(run, kind, data=dataset) for kind in ("litert", "litert-int8")}


if __name__ == "__main__":
    main()
