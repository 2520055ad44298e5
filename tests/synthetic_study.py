"""Rows of a synthetic study, for tests of the fit, the score and the advice."""

import json

from strategies.recipes import RECIPES

NEAR, FAR = {"similarity": 0.9, "late_gain": 0.2}, {"similarity": 0.2, "late_gain": -0.1}


def fingerprint(*, similarity, late_gain, num_images=100, num_classes=5):
    """Returns the fingerprint that the study writes into a row, with these measures."""
    from advisor.measure.similarity import default_ruler

    ruler = default_ruler()
    return {
        "profile": {
            "effective_num_images": num_images,
            "num_classes": num_classes,
            "images_per_split": {"train": num_images * 4 // 5, "val": num_images // 5, "test": 300},
        },
        "similarity": {
            "score": similarity,
            "low": max(0.0, similarity - 0.02),
            "high": min(1.0, similarity + 0.02),
            "distance": 0.01,
            "floor": 0.005,
            "by_depth": {},
            "ruler": {"backbone": ruler.backbone, "weights": ruler.weights, "image_size": ruler.image_size},
            "calibrated": True,
            "num_images": num_images,
        },
        "depth_curve": {
            "stages": ["stage1", "stage2", "stage5"],
            "accuracy": [0.4, 0.5, 0.5 + late_gain],
            "standard_error": [0.01, 0.0, 0.01],
            "chance": 0.2,
            "best_stage": "stage2",
            "chosen_stage": "stage1",
            "num_images": num_images,
        },
    }


def facts(*, similarity=0.9, late_gain=0.2, num_images=100, num_classes=5):
    """Returns the facts of a dataset with these measures."""
    from advisor.rules import Facts

    return Facts.from_fingerprint(
        fingerprint(similarity=similarity, late_gain=late_gain, num_images=num_images, num_classes=num_classes)
    )


def studied(dataset, accuracy, *, backbone="MobileNet-0.25", **measures):
    """Returns a cell of the study: `accuracy` maps recipes to percent; other recipes reach 50."""
    from advisor.calibration import StudiedCell

    reached = {name: accuracy.get(name, 50.0) / 100 for name in RECIPES}
    best = max(reached.values())
    return StudiedCell(
        dataset=dataset,
        backbone=backbone,
        size=str(measures.get("num_images", 100)),
        num_seeds=2,
        measures=facts(**measures).measures(),
        accuracy=reached,
        regret={name: best - value for name, value in reached.items()},
    )


def rows(dataset, accuracies, *, seed=0, size="100", backbone="MobileNet-0.25", **measures):
    """Returns the rows of one cell and seed: `accuracies` maps methods to percent; other recipes reach 50."""
    named = {**dict.fromkeys(RECIPES, 50.0), **accuracies}
    found = fingerprint(**{**NEAR, **measures})
    return [
        {
            "dataset": dataset,
            "size": size,
            "seed": str(seed),
            "backbone": backbone,
            "image_size": "96",
            "recipe": method,
            "accuracy": str(value / 100),
            "balanced_accuracy": str(value / 200),
            "seconds": "1" if method == "head_only" else "10",
            "trainer_version": "0.2.0",
            "fingerprint": json.dumps(found),
        }
        for method, value in named.items()
        if value is not None
    ]


def study(*, seeds=2, sizes=("100", "300")):
    """Returns a study in which near datasets want `fine_tune_all` and far ones `retrain_all`, by ten points.

    Without the refit, it is a point less.
    """
    found = []
    for index in range(8):
        near = index % 2 == 0
        measures = NEAR if near else FAR
        best = "fine_tune_all" if near else "retrain_all"
        for size in sizes:
            for seed in range(seeds):
                found += rows(
                    f"{'near' if near else 'far'}{index}",
                    {best: 60.0 + seed, f"{best}:no_refit": 59.0 + seed, "keras_guide": 30.0},
                    seed=seed,
                    size=size,
                    num_images=int(size),
                    **measures,
                )
    return found
