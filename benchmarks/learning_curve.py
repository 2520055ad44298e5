"""Judges what the learning curve expects of more images: python benchmarks/learning_curve.py DATASETS

For each class folder below DATASETS: a new head is cross-validated on at most 2,000 images without copies, and the
learning curve of half, a quarter and a tenth of them is continued to all of them. Two parts of each size, which have no
image in common, are asked. Parts with fewer than three images of a class are left out, and so are datasets where a
quarter has fewer.

Each dataset is judged by a law whose exponent and drift were fitted to the other datasets. Beside it: a power law
without a floor, fitted to the same measured sizes, and "no gain", the accuracy that was measured. Prints the mean
absolute errors in points, the share of 80% intervals that hold, how far apart the answers of two parts are in points,
the rank correlation of the errors of the classes with what they gained, a row for each dataset, and the law of all
datasets. `--law-of-package` judges the law of the package instead.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from advisor.measure.learning_curve import (
    LAW,
    MAX_IMAGES,
    TIMES,
    Law,
    class_errors,
    expect_accuracy,
    held_out_by_size,
    smoothed_error,
)
from advisor.measure.profile import profile_dataset
from advisor.measure.sampling import sample
from strategies.data.loading import load_dataset
from strategies.errors import DatasetError
from strategies.features.extraction import extract_features
from strategies.training.head import cross_validate, make_folds

NUM_PARTS = 2  # of a dataset that are asked; they have no image in common
FEWEST_PER_CLASS = 3
EXPONENTS = np.round(np.geomspace(0.1, 1.0, 24), 2)
DRIFTS = np.round(np.arange(0.0, 1.0, 0.01), 2)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A part of a dataset that was measured, and what the whole dataset reached."""

    dataset: str
    times: int
    sizes: tuple[int, ...]
    errors: tuple[float, ...]
    num_judged: int
    reached: float
    class_ranks: float  # rank correlation of the errors of the classes with what the classes gained

    def answer(self, law: Law) -> tuple[float, float, float]:
        """Returns the expected accuracy and its interval."""
        return expect_accuracy(self.errors[-1], self.num_judged, law.fit(self.sizes, self.errors), self.times, law)

    @property
    def power_law(self) -> float:
        """The accuracy that a line through the logarithms of sizes and errors expects."""
        slope, level = np.polyfit(np.log(self.sizes), np.log(self.errors), 1)
        return 1 - float(np.exp(level + slope * np.log(self.times * self.sizes[-1])))


def ask(name: str, features: np.ndarray, labels: np.ndarray) -> list[Question]:
    """Returns the questions about one dataset."""
    whole = cross_validate(features, labels, make_folds(labels, 0)).correct
    order = np.random.default_rng(0).permutation(len(labels))
    rank = np.empty(len(labels), dtype=int)  # of an image within its class
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    questions = []
    for times in TIMES:
        if np.bincount(labels).min() < times * FEWEST_PER_CLASS:
            continue
        parts = [np.flatnonzero(rank % times == part) for part in range(NUM_PARTS)]
        found = [held_out_by_size(features[rows], labels[rows], seed=0) for rows in parts]
        for own, other in ((0, 1), (1, 0)):
            rows, by_size = parts[own], found[own]
            errors = class_errors(labels[rows], by_size[len(rows)])
            # Judged by the other part: by chance, the accuracy of the same part is low where its errors are many.
            rest, right = labels[parts[other]], found[other][len(parts[other])]
            gained = [whole[labels == label].mean() - right[rest == label].mean() for label in errors]
            questions.append(
                Question(
                    dataset=name,
                    times=times,
                    sizes=tuple(by_size),
                    errors=tuple(smoothed_error(right) for right in by_size.values()),
                    num_judged=len(rows),
                    reached=float(whole.mean()),
                    class_ranks=float(spearmanr(list(errors.values()), gained).statistic)
                    if len(errors) > 3
                    else np.nan,
                )
            )
    return questions


def misses(questions: list[Question], law: Law) -> np.ndarray:
    """Returns expected minus measured accuracy in points."""
    return 100 * np.array([question.answer(law)[0] - question.reached for question in questions])


def by_dataset(questions: list[Question], values: np.ndarray) -> float:
    """Returns the mean over datasets of the mean of each."""
    names = np.array([question.dataset for question in questions])
    return float(np.mean([np.nanmean(values[names == name]) for name in np.unique(names)]))


def coverage(questions: list[Question], laws: list[Law]) -> float:
    """Returns the share of 80% intervals that hold."""
    ends = [question.answer(law)[1:] for question, law in zip(questions, laws, strict=True)]
    held = [low <= question.reached <= high for question, (low, high) in zip(questions, ends, strict=True)]
    return by_dataset(questions, np.array(held, dtype=float))


def fit_law(questions: list[Question]) -> Law:
    """Returns the law with the smallest mean absolute error, and with the drift that 80% intervals need.

    Floor and pull are those of the package: with a fitting exponent, floors from 0 to 0.5 do equally well.
    """
    laws = [replace(LAW, exponent=float(exponent)) for exponent in EXPONENTS]
    law = min(laws, key=lambda law: by_dataset(questions, np.abs(misses(questions, law))))
    wider = (replace(law, drift=float(drift)) for drift in DRIFTS)
    return next(law for law in wider if coverage(questions, [law] * len(questions)) >= 0.8)


def measure(folder: Path, backbone: str, image_size: int) -> list[Question]:
    """Returns the questions about a class folder; none if it is too small."""
    try:
        dataset = load_dataset(folder)
        dataset = dataset.subset(sample(dataset.labels, MAX_IMAGES, 0))
        dataset = profile_dataset(dataset)[1].without_copies()
    except DatasetError as error:
        print(f"left out: {error}", flush=True)
        return []
    if np.bincount(dataset.labels).min() < 4 * FEWEST_PER_CLASS:
        print(f"left out: {folder.name}: a quarter has fewer than {FEWEST_PER_CLASS} images of a class", flush=True)
        return []
    (features,) = extract_features(dataset, backbone, image_size=image_size).values()
    print(f"measured {folder.name}", flush=True)
    return ask(folder.name, features, dataset.labels)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path, help="folder that holds one folder per dataset")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--only", nargs="+", help="names of datasets; default: all")
    parser.add_argument("--law-of-package", action="store_true", help="judge the law of the package")
    given = parser.parse_args()
    questions: list[Question] = []
    for folder in sorted(path for path in given.datasets.iterdir() if path.is_dir()):
        if not given.only or folder.name in given.only:
            questions += measure(folder, given.backbone, given.image_size)
    laws = {
        name: LAW if given.law_of_package else fit_law([asked for asked in questions if asked.dataset != name])
        for name in {question.dataset for question in questions}
    }
    print_summary(questions, laws)
    print_datasets(questions, laws)
    print(f"\nThe law of the package: {LAW}\nFitted to all of these datasets: {fit_law(questions)}")


def print_summary(questions: list[Question], laws: dict[str, Law]) -> None:
    """Prints a row for each number of times."""
    header = ["times the images", "datasets", "law", "power law", "no gain", "intervals that hold"]
    header += ["parts apart", "class ranks"]
    print(f"\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for times in TIMES:
        asked = [question for question in questions if question.times == times]
        own = [laws[question.dataset] for question in asked]
        reached = np.array([question.reached for question in asked])
        answers = {
            "law": np.array([question.answer(law)[0] for question, law in zip(asked, own, strict=True)]),
            "power law": np.array([question.power_law for question in asked]),
            "no gain": np.array([1 - question.errors[-1] for question in asked]),
        }
        cells = [f"{by_dataset(asked, 100 * np.abs(answer - reached)):.1f}" for answer in answers.values()]
        cells.append(f"{coverage(asked, own):.0%}")
        cells.append(f"{np.abs(np.diff(100 * answers['law'].reshape(-1, NUM_PARTS))).mean():.1f}")
        cells.append(f"{np.nanmean([question.class_ranks for question in asked]):.2f}")
        print(f"| {times} | {len({question.dataset for question in asked})} | {' | '.join(cells)} |")


def print_datasets(questions: list[Question], laws: dict[str, Law]) -> None:
    """Prints the accuracy of all images of each dataset, and what a quarter of them expects."""
    print("\n| dataset | a quarter | expected | measured |\n| --- | --- | --- | --- |")
    for question in questions:
        if question.times == 4:
            accuracy, low, high = (f"{100 * value:.0f}" for value in question.answer(laws[question.dataset]))
            print(
                f"| {question.dataset} | {100 * (1 - question.errors[-1]):.0f} | {accuracy} ({low} to {high}) | "
                f"{100 * question.reached:.1f} |"
            )


if __name__ == "__main__":
    main()
