"""Measures the similarity to ImageNet of class folders: python benchmarks/similarity.py DATASETS [--stability]

Prints the table of docs/explanations/how-it-decides.md. With `--stability`, prints that of
docs/explanations/evidence.md: the score on few images, on many, and at other image sizes of the ruler, the network that
measures similarity.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import advisor
from advisor.measure.similarity import MAX_IMAGES, Moments, compare, default_ruler, measure_moments
from strategies.data.decoding import decode_images
from strategies.data.loading import load_images
from strategies.networks.network import PretrainedNetwork

FEW, MANY, NUM_DRAWS = 200, 2000, 10
MIDDLE = 0.5  # of the scale; the ruler was fitted to it
SIZES = (96, 128, 160, 224)


def main() -> None:
    """Prints a row for each dataset, the most similar first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds one folder per dataset")
    parser.add_argument("--stability", action="store_true", help="also measure other images and other image sizes")
    given = parser.parse_args()
    folders = sorted(path for path in given.datasets.iterdir() if path.is_dir())
    (print_stability if given.stability else print_scores)(folders)


def print_scores(folders: list[Path]) -> None:
    """Prints the score of each dataset with its interval."""
    found = {folder.name: advisor.measure_similarity(folder) for folder in folders}
    print("| dataset | score | 90% interval |\n|---|---|---|")
    for name, similarity in sorted(found.items(), key=lambda pair: -(pair[1].score or 0)):
        print(f"| {name} | {similarity.score:.2f} | {similarity.low:.2f} to {similarity.high:.2f} |")


def print_stability(folders: list[Path]) -> None:
    """Prints how much the score of each dataset depends on the images and on the image size, and the worst case."""
    table = pd.DataFrame([measure_stability(folder) for folder in folders], index=[folder.name for folder in folders])
    table = table.sort_values("many", ascending=False)
    sizes, draws = table[list(SIZES)], pd.DataFrame(table["draws"].to_list(), index=table.index)
    few, deviation = draws.mean(axis=1), draws.std(axis=1)
    drift = table["many"] - few
    print(
        f"| dataset | images | {FEW} images | {MANY:,} or all | drift | {' | '.join(f'{size} px' for size in SIZES)} |"
    )
    print("| --- " * (5 + len(SIZES)) + "|")
    for name, row in table.iterrows():
        images = f"{MANY:,} of {row['images']:,}" if row["images"] > MANY else f"all {row['images']:,}"
        cells = ["–", "–", "–"]
        if row["images"] >= 2 * FEW:
            cells = [f"{few[name]:.3f} ± {deviation[name]:.3f}", f"{row['many']:.3f}", f"{drift[name]:+.3f}"]
        print(f"| {' | '.join([name, images, *cells, *(f'{row[size]:.3f}' for size in SIZES)])} |")
    standard, order = default_ruler().image_size, sizes.corr("spearman")
    crossed = (sizes >= MIDDLE).ne(sizes[standard] >= MIDDLE, axis=0).stack()
    print(
        f"\n{len(table)} datasets, {draws[0].count()} of them with {2 * FEW} images or more. "
        f"Largest standard deviation: {deviation.max():.3f} ({deviation.idxmax()}). "
        f"Largest drift: {drift.abs().max():.3f} ({drift.abs().idxmax()}). "
        f"Spearman correlation with the order at {standard} px: "
        f"{', '.join(f'{order.loc[standard, size]:.3f} at {size} px' for size in SIZES if size != standard)}; "
        f"lowest of all pairs of sizes: {order.min(axis=None):.3f}; "
        f"of all pairs of draws of {FEW} images at {standard} px: {draws.corr('spearman').min(axis=None):.3f}. "
        f"On the other side of {MIDDLE} than at {standard} px: "
        f"{', '.join(f'{name} at {size} px' for name, size in crossed[crossed].index) or 'none'}."
    )


def measure_stability(folder: Path) -> dict[object, object]:
    """Returns a row: the scores of samples of few images, of many images, and at each image size.

    Each image passes through the ruler once at each size; samples are rows of the result.
    """
    standard, found = default_ruler(), load_images(folder).items
    # The first 512 are the images that `advisor.measure_similarity` takes.
    items = [found[index] for index in np.random.default_rng(0).permutation(len(found))[:MANY]]
    rulers = [standard.at(size) for size in SIZES]
    moments = {ruler: run_ruler(items if ruler == standard else items[:MAX_IMAGES], ruler) for ruler in rulers}
    draws = [np.random.default_rng(seed).permutation(len(items))[:FEW] for seed in range(NUM_DRAWS)]
    return {
        "images": len(found),
        "draws": [score(moments[standard], standard, draw) if len(found) >= 2 * FEW else np.nan for draw in draws],
        "many": score(moments[standard], standard, slice(MANY)),
        **{ruler.image_size: score(moments[ruler], ruler, slice(MAX_IMAGES)) for ruler in rulers},
    }


def run_ruler(items: list[Path], ruler: PretrainedNetwork) -> Moments:
    """Passes images through the ruler."""
    return measure_moments(decode_images(items, ruler.image_size), ruler)


def score(moments: Moments, ruler: PretrainedNetwork, rows: np.ndarray | slice) -> float | None:
    """Returns the score of some of the images that passed through the ruler."""
    return compare(replace(moments, mean=moments.mean[rows], square=moments.square[rows]), ruler).score


if __name__ == "__main__":
    main()
