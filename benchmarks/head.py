"""Compares the exact head with other linear heads, with few images per class: python benchmarks/head.py DATASETS

Prints the table of docs/explanations/evidence.md: the mean test accuracy over datasets and seeds, in percent, on frozen
features. Datasets are class folders below one folder; groups that its `datasets.csv` names stay in one split.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from advisor.evidence.study import draw, read_datasets
from strategies.features.extraction import extract_features
from strategies.training.head import fit_head

HEADS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "nearest class mean": NearestCentroid,
    "ridge regression": lambda: RidgeClassifierCV(alphas=np.logspace(-3, 5, 17)),
}


def main():
    """Prints a row for each number of images per class."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--backbone", default="MobileNet-0.25")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    scores = {}
    for name, dataset in read_datasets(given.datasets).items():
        whole = draw(dataset, None, 0)
        (features,) = extract_features(whole, given.backbone, image_size=given.image_size).values()
        is_test = np.array(whole.split) == "test"
        pool, labels = np.flatnonzero(~is_test), whole.labels
        for per_class in (1, 2, 5, 10, 50):
            if per_class > np.bincount(labels[pool]).min() or per_class * len(whole.class_names) > 1000:
                continue
            for seed in range(given.seeds):
                order = np.random.default_rng(seed).permutation(pool)
                train = np.concatenate([order[labels[order] == label][:per_class] for label in np.unique(labels)])
                kernel, bias = fit_head(features[train], labels[train], len(whole.class_names), seed=seed)
                row = scores.setdefault(per_class, {})
                predictions = (features[is_test] @ kernel + bias).argmax(axis=1)
                row.setdefault("exact head", []).append((predictions == labels[is_test]).mean())
                for head, make in HEADS.items():
                    model = make().fit(features[train], labels[train])
                    row.setdefault(head, []).append(model.score(features[is_test], labels[is_test]))
        print(f"measured {name}", flush=True)
    print(f"| images per class | datasets | {' | '.join(next(iter(scores.values())))} |")
    print("| --- " * (2 + len(HEADS) + 1) + "|")
    for per_class, row in sorted(scores.items()):
        count = len(row["exact head"]) // given.seeds
        print(f"| {per_class} | {count} | {' | '.join(f'{100 * np.mean(values):.1f}' for values in row.values())} |")


if __name__ == "__main__":
    main()
