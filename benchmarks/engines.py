"""What OpenVINO says beside what Keras says, for every backbone: python benchmarks/engines.py [--backbone NAME]

Random weights, the backbone's own input size, 64 images of noise. Prints the largest difference at any stage, as a
share of that stage's largest value, and images per second of both.
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from strategies.features.background import BackgroundJob
from strategies.features.cache import FeatureCache
from strategies.features.engines import OpenVino
from strategies.features.extraction import stage_network
from strategies.features.forward import forward
from strategies.networks.backbones import BACKBONES, get_backbone, stages_at


def compare(name: str, folder: Path) -> tuple[float, float, float]:
    """Returns the largest difference, and images per second of OpenVINO and of Keras."""
    row = get_backbone(name)
    weights = folder / f"{name}.weights.h5"
    shape = (row.image_size, row.image_size, 3)
    plain = getattr(keras.applications, row.constructor)
    plain(include_top=False, weights=None, input_shape=shape, **row.arguments).save_weights(weights)
    stages = [stage.name for stage in stages_at(row, row.image_size, dense=False)]
    network = stage_network(name, stages, image_size=row.image_size, weights=str(weights), cache=False)
    made = BackgroundJob(key=name, cache=FeatureCache(folder / "cache", 2**30), make=network._tapped.convert).arrays()[
        0
    ]
    model, _ = network._built
    images = np.random.default_rng(0).integers(0, 256, (64, *shape), dtype="uint8")
    runner, rates, said = OpenVino(*made[:3]), [], []
    for run in (lambda: runner(images, "OpenVINO"), lambda: forward(model, images, description="Keras")):
        run()
        started = time.perf_counter()
        said.append(run())
        rates.append(len(images) / (time.perf_counter() - started))
    pairs = zip(*said, strict=True)
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs), *rates


def main() -> None:
    """Prints a row per backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", choices=BACKBONES, action="append", help="this one alone; may be repeated")
    given = parser.parse_args()
    print("| backbone | largest difference | OpenVINO, images/s | Keras, images/s |\n| --- | --- | --- | --- |")
    for name in given.backbone or BACKBONES:
        with tempfile.TemporaryDirectory(prefix="advisor-engines-") as folder:
            difference, ours, theirs = compare(name, Path(folder))
        print(f"| {name} | {difference:.1e} | {ours:.0f} | {theirs:.0f} |", flush=True)


if __name__ == "__main__":
    main()
