"""The pilot: which images are held out, which recipe wins, and which input is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

import advisor
from advisor.pilot import Pilot, run_pilot
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import DatasetError, PlanError, UserError
from strategies.plans.planning import make_plan

RESULT = {
    "candidates": ("retrain_all", "fine_tune_all"),
    "accuracy": (0.71, 0.683),
    "standard_error": 0.019,
    "num_images": 300,
    "num_folds": 3,
    "share": 0.2,
    "seconds": 60.0,
}


@pytest.fixture(scope="module")
def dataset(photos):
    """Scikit-learn's two photos, split."""
    return split_dataset(load_dataset(photos), seed=0)


def _plans(dataset, recipes=("head_only", "fine_tune_all")):
    options = {"class_names": dataset.class_names, "num_train": 28, "image_size": 32, "weights": "random"}
    return [make_plan(recipe, "MobileNet-0.25", **options) for recipe in recipes]


@pytest.fixture
def seen(monkeypatch):
    """What a pilot trains: (plan, data) of each training, where a constant model stands in for the network."""
    trained = []

    def predict(plan, fold, cache):
        trained.append((plan, fold))
        return np.zeros(fold.split.count("test"), dtype=int)

    monkeypatch.setattr("advisor.pilot._predict", predict)
    return trained


@pytest.fixture(scope="module")
def pilot(dataset):
    """A pilot with real networks."""
    return run_pilot(dataset, _plans(dataset), share=0.05, folds=2, cache=False)


def test_a_pilot_tells_two_recipes_apart_on_real_images(pilot, dataset):
    """China and a flower differ even for a random network; the numbers agree with each other."""
    assert pilot.candidates == ("head_only", "fine_tune_all")
    assert pilot.num_images == sum(part != "test" for part in dataset.split)
    assert pilot.num_folds == 2
    assert min(pilot.accuracy) > 0.5
    assert pilot.difference == pytest.approx(pilot.accuracy[0] - pilot.accuracy[1])
    assert 0 <= pilot.standard_error < 0.2
    assert pilot.seconds > 0
    values = json.loads(json.dumps(pilot.to_dict(), allow_nan=False))
    assert values["winner"] == pilot.winner in str(pilot)


def test_every_image_is_held_out_once_and_the_test_split_is_not_looked_at(dataset, seen):
    """Each candidate is trained on the same parts, for a share of its steps, with validation images of its own."""
    plans = _plans(dataset)
    found = run_pilot(dataset, plans, share=0.25)
    learning = {name for name, part in zip(dataset.names, dataset.split, strict=True) if part != "test"}
    assert [plan.recipe for plan, _ in seen] == ["head_only", "fine_tune_all"] * 3
    assert seen[1][0].phases[-1].steps == -(-plans[1].phases[-1].steps // 4)
    held = []
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert first[1] is second[1]
        fold = first[1]
        assert set(fold.names) == learning
        assert {"train", "val", "test"} == set(fold.split)
        assert set(fold.labels[np.array(fold.split) == "train"]) == {0, 1}
        held += [name for name, part in zip(fold.names, fold.split, strict=True) if part == "test"]
    assert sorted(held) == sorted(learning)
    assert found.accuracy[0] == found.accuracy[1] == pytest.approx(0.5, abs=0.05)
    assert (found.difference, found.decided, found.winner) == (0, False, "head_only")


def test_groups_and_copies_stay_on_one_side(seen):
    """Five images of each group, and a copy of each image in another group: none is on both sides of a fold."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 32, 32, 3), dtype="uint8")
    images[5:10] = images[:5]
    dataset = replace(
        load_dataset((images, np.repeat([0, 1], 30))),
        group=tuple(f"group {index // 5}" for index in range(60)),
        split=("train",) * 60,
    )
    assert run_pilot(dataset, _plans(dataset)).num_folds == 3
    for _, fold in seen:
        sides = {}
        for group, part in zip(fold.group, fold.split, strict=True):
            sides.setdefault(group, set()).add(part)
        assert all(len(parts) == 1 for parts in sides.values())
        assert sides["group 0"] == sides["group 1"]


def test_there_are_as_many_folds_as_the_rarest_class_allows(dataset, seen):
    """Two images of a class make two folds, one cannot be held out; nor can the only group of a class."""
    learning = np.flatnonzero(np.array(dataset.split) != "test")
    by_class = [learning[dataset.labels[learning] == label] for label in (0, 1)]
    few = dataset.subset([*by_class[0], *by_class[1][:2]])
    few = replace(few, split=("train",) * len(few))
    assert run_pilot(few, _plans(few)).num_folds == 2
    fewer = few.subset(range(len(few) - 1))
    with pytest.raises(DatasetError, match=r"one of 'flower'.*do without a pilot"):
        run_pilot(fewer, _plans(fewer))
    with pytest.raises(DatasetError, match="one of 'china'"):
        run_pilot(replace(few, group=("all",) * len(by_class[0]) + ("a", "b")), _plans(few))


@pytest.mark.parametrize(
    ("difference", "winner", "decided", "end"),
    [
        (0.027, "retrain_all", True, "difference is +2.7 ± 1.9 points, so retrain_all wins."),
        (-0.027, "fine_tune_all", True, "difference is -2.7 ± 1.9 points, so fine_tune_all wins."),
        (
            -0.019,
            "retrain_all",
            False,
            "difference is -1.9 ± 1.9 points, too close to call, so retrain_all stays the choice.",
        ),
    ],
)
def test_the_first_wins_unless_the_second_is_better_by_more_than_a_standard_error(difference, winner, decided, end):
    """And the sentence says so with the numbers."""
    pilot = Pilot(**RESULT, difference=difference)
    assert (pilot.winner, pilot.decided) == (winner, decided)
    start = "A pilot trained both candidates with 20% of their steps on 300 images, each held out once: "
    assert str(pilot) == f"{start}retrain_all 71.0%, fine_tune_all 68.3%. The {end}"


def test_what_cannot_be_compared_is_refused(dataset, seen):
    """Before anything is trained."""
    plans = _plans(dataset)
    for wrong in (plans[:1], [plans[0], plans[0]], [*plans, *_plans(dataset, ["retrain_all"])]):
        with pytest.raises(PlanError, match="two different recipes"):
            run_pilot(dataset, wrong)
    with pytest.raises(PlanError, match="other classes"):
        run_pilot(replace(dataset, class_names=("china", "tulip")), plans)
    with pytest.raises(PlanError, match="factor above 0"):
        run_pilot(dataset, plans, share=0)
    with pytest.raises(UserError, match="folds=1"):
        run_pilot(dataset, plans, folds=1)
    with pytest.raises(DatasetError, match="without"):
        run_pilot(replace(dataset, split=None), plans)
    assert seen == []


def test_the_pilot_is_a_public_name():
    """Beside the function that runs it."""
    assert (advisor.Pilot, advisor.run_pilot) == (Pilot, run_pilot)
