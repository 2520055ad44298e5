"""Fits reference, floor and scale of the similarity ruler: python -m advisor.evidence.ruler DATASETS [--image-size N]

The reference is mean and variance of every channel over ImageNet's own photos, with this network at this input size.
The floor is the distance of such photos from it. The scale is chosen so that `exp(-(distance - floor) / scale)` is one
half in the middle of a gap between two named datasets.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np

from advisor.similarity import DEPTHS, Moments, Ruler, compare, measure_moments, reference_name
from strategies.images import load_images
from strategies.pixels import decode_images

MOST_IMAGES = 1000
REFERENCES = Path(__file__).parent.parent / "reference.npz"


def fit_ruler(ruler: Ruler, imagenet: Path, near: Path, far: Path) -> tuple[dict[str, object], np.ndarray]:
    """Returns one row of `rulers` in `calibration.json`, and the reference of the ruler in `reference.npz`.

    Args:
        ruler: Network, weights and input size.
        imagenet: Folder of ImageNet photos, as many classes as possible.
        near: Class folder of the furthest dataset that is to count as similar.
        far: Class folder of the nearest dataset that is to count as different.
    """
    photos = _see(imagenet, ruler)
    reference = photos.pooled().astype("float32")
    floor, floor_by_depth = _floor(photos, ruler)
    ends = [compare(replace(_see(folder, ruler), reference=reference), ruler).distance for folder in (near, far)]
    source = f"{len(photos.mean)} photos of {imagenet.name}"
    row = {
        "ruler": asdict(ruler),
        "reference": f"{source} at {ruler.image_size} px",
        "floor": round(floor, 5),
        "floor_by_depth": {depth: round(value, 5) for depth, value in floor_by_depth.items()},
        "scale": round((sum(ends) / 2 - floor) / math.log(2), 5),
        "fitted_on": f"{source}, half against half; one half between {near.name} and {far.name}",
        "date": date.today().isoformat(),
    }
    return row, reference


def write_reference(ruler: Ruler, reference: np.ndarray, path: Path = REFERENCES) -> None:
    """Writes the reference of a ruler beside those of the others. The same references give the same file."""
    arrays = {}
    if path.exists():
        with np.load(path) as file:
            arrays = dict(file)
    arrays[reference_name(ruler)] = reference
    np.savez_compressed(path, allow_pickle=False, **dict(sorted(arrays.items())))


def _see(folder: Path, ruler: Ruler) -> Moments:
    """Runs a random sample of the images, in random order, through the ruler."""
    items = load_images(folder).items
    chosen = np.random.default_rng(0).permutation(len(items))[:MOST_IMAGES]
    return measure_moments(decode_images([items[index] for index in chosen], ruler.image_size), ruler)


def _floor(photos: Moments, ruler: Ruler) -> tuple[float, dict[str, float]]:
    """Returns the distance of ImageNet's photos, over all layers and by depth.

    Photos lie nearer to a reference that was measured on them than other photos of ImageNet do, so the distance is that
    of each half from a reference measured on the other one.
    """
    middle = len(photos.mean) // 2
    halves = [
        replace(photos, mean=photos.mean[rows], square=photos.square[rows])
        for rows in (slice(middle), slice(middle, None))
    ]
    found = [compare(replace(one, reference=other.pooled()), ruler) for one, other in (halves, halves[::-1])]
    by_depth = {depth: float(np.mean([one.by_depth[depth]["distance"] for one in found])) for depth in DEPTHS}
    return float(np.mean([one.distance for one in found])), by_depth


def main() -> None:
    """Prints one row as JSON, and writes the reference to `reference.npz`."""
    parser = argparse.ArgumentParser(prog="python -m advisor.evidence.ruler", description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds the three folders named below")
    parser.add_argument("--imagenet", default="imagenet_samples")
    parser.add_argument("--near", default="rsscn7")
    parser.add_argument("--far", default="gtsrb43")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    ruler = Ruler(backbone=given.backbone, weights=given.weights, image_size=given.image_size)
    folders = [given.datasets / name for name in (given.imagenet, given.near, given.far)]
    row, reference = fit_ruler(ruler, *folders)
    write_reference(ruler, reference)
    json.dump(row, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
