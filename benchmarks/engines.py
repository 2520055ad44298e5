"""Compares OpenVINO with Keras, for each backbone: python benchmarks/engines.py [--backbone NAME]

Random weights, the backbone's default image size, 64 images of noise. Prints the largest difference at any stage, as a
share of the largest value of that stage, and images per second of both. Needs OpenVINO.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from strategies.features.cache import FeatureCache
from strategies.features.extraction import stage_extractor
from strategies.networks.backbones import BACKBONES, get_backbone
from strategies.networks.network import PretrainedNetwork


def compare(name: str, folder: Path) -> tuple[float, float, float]:
    """Returns the largest difference, and images per second of OpenVINO and of Keras."""
    row = get_backbone(name)
    weights = folder / f"{name}.weights.h5"
    shape = (row.image_size, row.image_size, 3)
    if not row.package:
        plain = getattr(keras.applications, row.constructor)
        plain(include_top=False, weights=None, input_shape=shape, **row.arguments).save_weights(weights)
    source = "imagenet" if row.package else str(weights)
    network = PretrainedNetwork(backbone=name, weights=source, image_size=row.image_size)
    converted = stage_extractor(network, cache=FeatureCache(folder / "cache", 2**30))
    if converted.conversion is None:
        sys.exit("Expected OpenVINO as the engine. Received: Keras. Install OpenVINO and unset ADVISOR_ENGINE.")
    images = np.random.default_rng(0).integers(0, 256, (64, *shape), dtype="uint8")
    rates, outputs = [], []
    for extractor in (converted, stage_extractor(network, cache=None)):  # without a cache, Keras computes
        extractor.run(images, description="Warming up")
        started = time.perf_counter()
        outputs.append(extractor.run(images, description="Measuring"))
        rates.append(len(images) / (time.perf_counter() - started))
    pairs = zip(*outputs, strict=True)
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs), *rates


def main() -> None:
    """Prints a row for each backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", choices=BACKBONES, action="append", help="a single backbone; may be repeated")
    given = parser.parse_args()
    print("| backbone | largest difference | OpenVINO, images/s | Keras, images/s |\n| --- | --- | --- | --- |")
    for name in given.backbone or BACKBONES:
        with tempfile.TemporaryDirectory(prefix="advisor-engines-") as folder:
            difference, openvino, with_keras = compare(name, Path(folder))
        print(f"| {name} | {difference:.1e} | {openvino:.0f} | {with_keras:.0f} |", flush=True)


if __name__ == "__main__":
    main()
