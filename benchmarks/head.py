"""Compares the exact head with other linear heads, with few images per class: python benchmarks/head.py DATASETS

Prints the table of docs/explanations/evidence.md: the mean test accuracy over datasets and seeds, in percent, on frozen
features. Datasets are class folders below one folder; groups that its `datasets.csv` names stay in one split.

A second table compares cross-validation on the principal axes of largest variance with cross-validation on all, with up
to 1,000 images of each dataset: processor seconds, held-out accuracy, and test accuracy of the head that follows.
"""

import argparse
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from advisor.evidence.study import draw, read_datasets
from strategies.features.extraction import extract_features
from strategies.training.head import MOST_AXES, cross_validate, fit_head, make_folds

HEADS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "nearest class mean": NearestCentroid,
    "ridge regression": lambda: RidgeClassifierCV(alphas=np.logspace(-3, 5, 17)),
}
ALL_AXES = 10**6


def by_axes(features, labels, is_test):
    """Returns `(seconds, held-out accuracy, test accuracy)` in percent, for the largest axes and for all."""
    train = np.flatnonzero(~is_test)[:1000]
    train = train[np.isin(labels[train], np.flatnonzero(np.bincount(labels[train]) > 1))]
    names, own = np.unique(labels[train], return_inverse=True)
    known = is_test & np.isin(labels, names)
    found = []
    for axes in (MOST_AXES, ALL_AXES):
        with patch("strategies.training.head.MOST_AXES", axes):
            started = time.process_time()
            held = cross_validate(features[train], own, make_folds(own, 0))
            seconds = time.process_time() - started
            kernel, _ = fit_head(features[train], own, len(names), seed=0)
        right = names[(features[known] @ kernel).argmax(axis=1)] == labels[known]
        found.append((seconds, 100 * held.correct.mean(), 100 * right.mean()))
    return found


def main():
    """Prints a row for each number of images per class."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--backbone", default="MobileNet-0.25")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    scores, axes = {}, {}
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
        order = np.random.default_rng(0).permutation(len(labels))
        axes[name] = by_axes(features[order], labels[order], is_test[order])
        print(f"measured {name}", flush=True)
    print(f"| images per class | datasets | {' | '.join(next(iter(scores.values())))} |")
    print("| --- " * (2 + len(HEADS) + 1) + "|")
    for per_class, row in sorted(scores.items()):
        count = len(row["exact head"]) // given.seeds
        print(f"| {per_class} | {count} | {' | '.join(f'{100 * np.mean(values):.1f}' for values in row.values())} |")
    print(f"\n| dataset | seconds, {MOST_AXES} axes | all | held-out accuracy | all | test accuracy | all |")
    print("| --- " * 7 + "|")
    for name, (few, every) in [*axes.items(), ("mean", np.mean(list(axes.values()), axis=0))]:
        cells = [f"{value:.1f}" for pair in zip(few, every, strict=True) for value in pair]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
