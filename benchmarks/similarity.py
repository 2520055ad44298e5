"""Scores every class folder below a folder: python benchmarks/similarity.py DATASETS [--stability]

Prints the table of similarity to ImageNet of docs/explanations/how-it-decides.md; with `--stability` the one that
docs/explanations/evidence.md quotes: the score on few images, on many, and at other input sizes of the ruler.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import advisor
from advisor.measure.similarity import MAX_IMAGES, Moments, Ruler, compare, default_ruler, measure_moments
from strategies.data.decoding import decode_images
from strategies.data.loading import load_images

FEW, MANY, NUM_DRAWS = 200, 2000, 10
MIDDLE = 0.5  # of the scale, which was fitted to it
SIZES = (96, 128, 160, 224)


def main() -> None:
    """Prints one row per dataset, the nearest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds one folder per dataset")
    parser.add_argument("--stability", action="store_true", help="score other images, and at other input sizes")
    given = parser.parse_args()
    folders = sorted(path for path in given.datasets.iterdir() if path.is_dir())
    (print_stability if given.stability else print_scores)(folders)


def print_scores(folders: list[Path]) -> None:
    """Prints the score of every dataset with its interval."""
    found = {folder.name: advisor.measure_similarity(folder) for folder in folders}
    print("| dataset | score | 90 % interval |\n|---|---|---|")
    for name, one in sorted(found.items(), key=lambda pair: -(pair[1].score or 0)):
        print(f"| {name} | {one.score:.2f} | {one.low:.2f} to {one.high:.2f} |")


def print_stability(folders: list[Path]) -> None:
    """Prints how far each dataset's score moves with the images and with the input size, and the worst of all."""
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
        f"On another side of {MIDDLE} than at {standard} px: "
        f"{', '.join(f'{name} at {size} px' for name, size in crossed[crossed].index) or 'none'}."
    )


def measure_stability(folder: Path) -> dict[object, object]:
    """Returns one row: the scores of draws of few images, of many, and at each input size.

    Every image passes the ruler once at each size; a draw takes rows of what the ruler saw.
    """
    standard, found = default_ruler(), load_images(folder).items
    # The first 512 are the images that `advisor.measure_similarity` takes.
    items = [found[index] for index in np.random.default_rng(0).permutation(len(found))[:MANY]]
    rulers = [replace(standard, image_size=size) for size in SIZES]
    seen = {ruler: see(items if ruler == standard else items[:MAX_IMAGES], ruler) for ruler in rulers}
    draws = [np.random.default_rng(seed).permutation(len(items))[:FEW] for seed in range(NUM_DRAWS)]
    return {
        "images": len(found),
        "draws": [score(seen[standard], standard, draw) if len(found) >= 2 * FEW else np.nan for draw in draws],
        "many": score(seen[standard], standard, slice(MANY)),
        **{ruler.image_size: score(seen[ruler], ruler, slice(MAX_IMAGES)) for ruler in rulers},
    }


def see(items: list[Path], ruler: Ruler) -> Moments:
    """Runs images through the ruler."""
    return measure_moments(decode_images(items, ruler.image_size), ruler)


def score(moments: Moments, ruler: Ruler, rows: np.ndarray | slice) -> float | None:
    """Returns the score of some of the images that the ruler saw."""
    return compare(replace(moments, mean=moments.mean[rows], square=moments.square[rows]), ruler).score


if __name__ == "__main__":
    main()
