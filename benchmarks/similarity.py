"""Scores every class folder below a folder: python benchmarks/similarity.py DATASETS

Prints the table of similarity to ImageNet that the README quotes.
"""

import argparse
from pathlib import Path

import advisor


def main() -> None:
    """Prints one row per dataset, the nearest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds one folder per dataset")
    folders = sorted(path for path in parser.parse_args().datasets.iterdir() if path.is_dir())
    found = {folder.name: advisor.measure_similarity(folder) for folder in folders}
    print("| dataset | score | 90 % interval |\n|---|---|---|")
    for name, one in sorted(found.items(), key=lambda pair: -(pair[1].score or 0)):
        print(f"| {name} | {one.score:.2f} | {one.low:.2f} to {one.high:.2f} |")


if __name__ == "__main__":
    main()
