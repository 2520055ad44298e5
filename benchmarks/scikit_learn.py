"""Uses `TransferClassifier` with scikit-learn's tools: python benchmarks/scikit_learn.py DATASET

Draws photos from a class folder. Prints the accuracy of `TransferClassifier` and of `advisor.recommend` and `train` on
the same photos and the same held-out ones; what cross-validation and a search over recipes say; and the time of each.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline

from advisor.classifier import ADVISED, TransferClassifier
from advisor.recommendation import recommend
from strategies.runs.evaluation import evaluate_run


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    """Prints each result as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--recipes", nargs="+", default=["head_only", "fine_tune_all"])
    parser.add_argument("--folds", type=int, default=3)
    given = parser.parse_args()
    paths = sorted(given.dataset.glob("*/*"))
    labels = [path.parent.name for path in paths]
    paths, _, labels, _ = train_test_split(paths, labels, train_size=given.images, stratify=labels, random_state=0)
    split = train_test_split(paths, labels, stratify=labels, random_state=0)
    network = {"backbone": given.backbone, "image_size": given.image_size}
    for recipe in given.recipes:
        _compare(recipe, network, *split)
    classify = TransferClassifier(**network, recipe=given.recipes[0])
    with _timed(f"{given.recipes[0]} in a pipeline, {given.folds} folds"):
        scores = cross_val_score(Pipeline([("classify", classify)]), paths, labels, cv=given.folds)
    print(f"{given.recipes[0]}: {scores.round(4).tolist()}")
    with _timed(f"search over {', '.join(given.recipes)}, {given.folds} folds"):
        search = GridSearchCV(classify, {"recipe": given.recipes}, cv=given.folds).fit(paths, labels)
    for parameters, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{parameters['recipe']}: {score:.4f}")
    print(f"best: {search.best_estimator_.plan_.recipe}")


def _compare(recipe, network, learn, held_out, learn_labels, held_out_labels) -> None:
    """Prints the accuracy on the held-out images with the classifier and without it."""
    with _timed(f"{recipe}, fit and score"):
        classifier = TransferClassifier(**network, recipe=recipe).fit(learn, learn_labels)
        score = classifier.score(held_out, held_out_labels)
    with tempfile.TemporaryDirectory() as folder, _timed(f"{recipe}, recommend, train and evaluate"):
        advice = recommend((learn, learn_labels), **network, recipe=None if recipe == ADVISED else recipe)
        advice.train(f"{folder}/run")
        accuracy = evaluate_run(f"{folder}/run", (held_out, held_out_labels)).evaluation.accuracy
    print(f"{recipe}: {score:.4f} with TransferClassifier, {accuracy:.4f} with train")


if __name__ == "__main__":
    main()
