"""Fits the floor and scale of the similarity ruler: python -m advisor.evidence.ruler DATASETS [--image-size N]

The ruler is the network that measures similarity. The floor is the distance of ImageNet's own photos with this network
at this image size. The scale is chosen so that `exp(-(distance - floor) / scale)` is one half in the middle between two
named datasets.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from datetime import date
from pathlib import Path

from advisor.measure.similarity import Similarity, measure_similarity
from strategies.networks.network import PretrainedNetwork


def fit_ruler(ruler: PretrainedNetwork, imagenet: Path, near: Path, far: Path) -> dict[str, object]:
    """Returns one row of `rulers` in `calibration.json`.

    Args:
        ruler: The network that measures similarity, with its weights and image size.
        imagenet: Folder of ImageNet photos, of as many classes as possible.
        near: Class folder of the most distant dataset that counts as similar.
        far: Class folder of the nearest dataset that counts as different.
    """

    def measure(folder: Path) -> Similarity:
        return measure_similarity(
            folder, ruler=ruler.backbone, image_size=ruler.image_size, weights=ruler.weights, max_images=1000
        )

    floor = measure(imagenet)
    middle = (measure(near).distance + measure(far).distance) / 2
    return {
        "ruler": {"backbone": ruler.backbone, "weights": ruler.weights, "image_size": ruler.image_size},
        "floor": round(floor.distance, 5),
        "floor_by_depth": {depth: round(float(row["distance"] or 0), 5) for depth, row in floor.by_depth.items()},
        "scale": round((middle - floor.distance) / math.log(2), 5),
        "fitted_on": f"{floor.num_images} photos of {imagenet.name}; one half between {near.name} and {far.name}",
        "date": date.today().isoformat(),
    }


def main() -> None:
    """Prints one row as JSON."""
    parser = argparse.ArgumentParser(prog="python -m advisor.evidence.ruler", description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds the three folders named below")
    parser.add_argument("--imagenet", default="imagenet_samples")
    parser.add_argument("--near", default="rsscn7")
    parser.add_argument("--far", default="gtsrb43")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    ruler = PretrainedNetwork(backbone=given.backbone, weights=given.weights, image_size=given.image_size)
    folders = [given.datasets / name for name in (given.imagenet, given.near, given.far)]
    json.dump(fit_ruler(ruler, *folders), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
