"""Fits the floor and scale of the similarity ruler.

The ruler is the network that measures similarity. The floor is the distance of ImageNet's own photos with this network
at this image size. The scale is chosen so that `exp(-(distance - floor) / scale)` is one half in the middle between two
named datasets.
"""

from __future__ import annotations

import math
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
