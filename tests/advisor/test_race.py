"""The race: which images are held out, who is dropped, who wins, how long it takes, and which input is refused."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from advisor.race import Race, Round, run_race, share_of_steps
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import DatasetError, PlanError, UserError
from strategies.plans.planning import make_plan, with_budget
from strategies.recipes import RECIPES

ALL = ("fine_tune_all", "head_only", "keep_early_layers", "retrain_all")


@pytest.fixture(scope="module")
def dataset(photos):
    """Scikit-learn's two photos, split."""
    return split_dataset(load_dataset(photos), seed=0)


def _plans(dataset, recipes=ALL):
    options = {"class_names": dataset.class_names, "num_train": 28, "image_size": 32, "weights": "random"}
    return [make_plan(recipe, "MobileNet-0.25", **options) for recipe in recipes]


@pytest.fixture
def wrong():
    """Places among the images, by recipe, that the stand-in of `seen` gets wrong."""
    return {}


@pytest.fixture
def seen(monkeypatch, wrong):
    """What a race trains: (plan, data) of each training, where known answers stand in for the network."""
    trained = []

    def predict(fold, backbone, cache, plan):
        trained.append((plan, fold))
        held = np.flatnonzero(np.array(fold.split) == "test")
        return fold.labels[held] ^ np.isin(held, list(wrong.get(plan.recipe, ())))

    monkeypatch.setattr("advisor.race._predict", predict)
    return trained


def _work(plans):
    return sum(phase.steps * plan.batch_size for plan in plans for phase in plan.phases)


def test_a_race_of_all_recipes_on_real_images(dataset, small_network, capsys):
    """Two photos differ even for a small random network; the numbers agree; frozen features are computed once."""
    options = {"class_names": dataset.class_names, "num_train": 28, **small_network}
    race = run_race(dataset, [make_plan(recipe, **options) for recipe in RECIPES])
    assert race.candidates == tuple(RECIPES)
    assert race.num_images == sum(part != "test" for part in dataset.split)
    assert [len(each.accuracy) for each in race.rounds] == [4, 3, 2]
    assert [each.dropped is None for each in race.rounds] == [False, False, True]
    assert race.accuracy[race.winner] > 0.5
    assert race.difference == pytest.approx(race.accuracy[race.winner] - race.accuracy[race.runner_up])
    assert race.seconds > 0
    values = json.loads(json.dumps(race.to_dict(), allow_nan=False))
    assert values["decided"] == race.decided
    assert Race.from_dict(values) == race
    notes = capsys.readouterr().err
    assert notes.count("Kept features") <= 3 * 3  # training, validation and held-out images of each round
    assert notes.count("Read features") >= 2 * (4 + 3 + 2) - 3 * 3


def test_every_image_is_held_out_once_and_the_test_split_is_not_looked_at(dataset, seen):
    """Each candidate is trained on the same parts, with validation images of its own."""
    race = run_race(dataset, _plans(dataset))
    learning = {name for name, part in zip(dataset.names, dataset.split, strict=True) if part != "test"}
    assert [plan.recipe for plan, _ in seen] == [*ALL, *ALL[:3], *ALL[:2]]  # of equal ones, the last is dropped
    held, sizes = [], []
    for first, others in ((0, range(1, 4)), (4, (5, 6)), (7, (8,))):
        fold = seen[first][1]
        assert all(seen[other][1] is fold for other in others)
        assert set(fold.names) == learning
        assert {"train", "val", "test"} == set(fold.split)
        assert set(fold.labels[np.array(fold.split) == "train"]) == {0, 1}
        held += [name for name, part in zip(fold.names, fold.split, strict=True) if part == "test"]
        sizes.append(fold.split.count("test"))
    assert sorted(held) == sorted(learning)
    assert [each.num_images for each in race.rounds] == sizes
    assert (race.difference, race.decided, race.winner, race.runner_up) == (0, False, "fine_tune_all", "head_only")


def test_groups_and_copies_stay_on_one_side(seen):
    """Five images of each group, and a copy of each image in the next group: none is on both sides of a fold."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 32, 32, 3), dtype="uint8")
    for start in range(0, 60, 10):
        images[start + 5 : start + 10] = images[start : start + 5]
    dataset = replace(
        load_dataset((images, np.repeat([0, 1], 30))),
        group=tuple(f"group {index // 5}" for index in range(60)),
        split=("train",) * 60,
    )
    assert len(run_race(dataset, _plans(dataset)).rounds) == 3
    for _, fold in seen:
        sides = {}
        for group, part in zip(fold.group, fold.split, strict=True):
            sides.setdefault(group, set()).add(part)
        assert all(len(parts) == 1 for parts in sides.values())
        assert all(sides[f"group {number}"] == sides[f"group {number + 1}"] for number in range(0, 12, 2))


def test_there_are_as_many_rounds_as_the_rarest_class_allows(dataset, seen):
    """Two images of a class make two rounds, one cannot be held out; nor can the only group of a class."""
    learning = np.flatnonzero(np.array(dataset.split) != "test")
    by_class = [learning[dataset.labels[learning] == label] for label in (0, 1)]
    few = dataset.subset([*by_class[0], *by_class[1][:2]])
    few = replace(few, split=("train",) * len(few))
    race = run_race(few, _plans(few))
    assert [each.dropped for each in race.rounds] == ["retrain_all", "keep_early_layers"]
    assert race.runner_up == "head_only"
    fewer = few.subset(range(len(few) - 1))
    with pytest.raises(DatasetError, match=r"one of 'flower'.*do without a race"):
        run_race(fewer, _plans(fewer))
    with pytest.raises(DatasetError, match="one of 'china'"):
        run_race(replace(few, group=("all",) * len(by_class[0]) + ("a", "b")), _plans(few))


@pytest.mark.parametrize(
    ("mistakes", "dropped", "winner", "runner_up", "decided"),
    [
        # Numbers of images that each recipe gets wrong, in the order of `ALL`, in each round.
        ((2, 8, 4, 0), ["head_only", "keep_early_layers"], "retrain_all", "fine_tune_all", True),
        ((0, 2, 8, 4), ["keep_early_layers", "retrain_all"], "fine_tune_all", "head_only", True),
        ((8, 2, 1, 0), ["fine_tune_all", "head_only"], "retrain_all", "keep_early_layers", True),
        ((0, 0, 0, 0), ["retrain_all", "keep_early_layers"], "fine_tune_all", "head_only", False),
    ],
    ids=["another wins", "the first wins", "the first is dropped", "all are equal"],
)
def test_the_worst_is_dropped_after_each_round(wrong, seen, mistakes, dropped, winner, runner_up, decided):
    """Until two are left, of which one wins."""
    dataset = _sixty()
    _learn_rounds(dataset, seen, wrong, mistakes)
    race = run_race(dataset, _plans(dataset))
    assert [each.dropped for each in race.rounds] == [*dropped, None]
    assert (race.winner, race.runner_up, race.decided) == (winner, runner_up, decided)
    assert [race.rounds[0].accuracy[name] for name in ALL] == [1 - number / 20 for number in mistakes]


def test_the_first_is_dropped_or_beaten_only_by_more_than_one_standard_error(wrong, seen):
    """Two mistakes against one, on other images, are not enough for either."""
    dataset = _sixty()
    _learn_rounds(dataset, seen, wrong, (2, 1, 1, 1), rounds=(0,))
    race = run_race(dataset, _plans(dataset))
    assert race.difference == pytest.approx(-1 / 60)
    assert (race.winner, race.runner_up, race.decided) == ("fine_tune_all", "head_only", False)
    assert [each.dropped for each in race.rounds] == ["retrain_all", "keep_early_layers", None]


def _sixty():
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype="uint8")
    return replace(load_dataset((images, np.repeat([0, 1], 30))), split=("train",) * 60)


def _learn_rounds(dataset, seen, wrong, mistakes, rounds=(0, 1, 2)):
    """Fills `wrong`: the first recipe gets the first images wrong that these rounds hold out, the others the last."""
    run_race(dataset, _plans(dataset))
    for start in [(0, 4, 7)[number] for number in rounds]:
        held = np.flatnonzero(np.array(seen[start][1].split) == "test").tolist()
        for recipe, number in zip(ALL, mistakes, strict=True):
            wrong.setdefault(recipe, set()).update((held if recipe == ALL[0] else held[::-1])[:number])
    seen.clear()


def test_a_race_takes_no_more_than_its_limit(few_images, seen):
    """Counted in images of all steps, whichever are dropped, against the first plan with its refit."""
    dataset = _sixty()
    for order in permutations(ALL):
        plans = _plans(dataset, order)
        own = _work([plans[0]]) or max(_work([plan]) for plan in plans)
        for limit in (0.3, 0.5):
            race = run_race(dataset, plans, limit=limit)
            assert not any(plan.refit for plan, _ in seen)
            assert _work([plan for plan, _ in seen]) <= limit * 2 * own
            seen.clear()
        assert race.share == share_of_steps(plans, 3, 0.5)


def test_the_share_of_the_steps_is_the_largest_that_fits(few_images):
    """Two plans in two rounds: four runs of the steps that a refit doubles; a head alone takes none."""
    plans = _plans(_sixty(), ("fine_tune_all", "retrain_all"))
    assert share_of_steps(plans, 2, 0.5) == 0.25
    assert share_of_steps([replace(plans[0], refit=False), plans[1]], 2, 0.5) == 0.12
    assert share_of_steps(plans, 2, 9) == 1
    assert share_of_steps(plans, 3, 0.5) == 0.16
    head = _plans(_sixty(), ("head_only",))
    assert share_of_steps([*head, plans[0]], 2, 0.5) == share_of_steps([plans[0], *head], 2, 0.5) == 0.5
    with pytest.raises(UserError, match=r"1% of the steps.*limit=0.01"):
        share_of_steps(plans, 3, 0.01)
    tiny = [with_budget(plan, 0.001) for plan in plans]
    with pytest.raises(UserError, match="higher one"):
        share_of_steps(tiny, 3, 0.5)


def _race(winner, difference, **changes):
    names = ("retrain_all", "fine_tune_all", "head_only")
    lasting = [0.71, 0.683]
    rounds = (
        Round(num_images=150, accuracy=dict(zip(names, [*lasting, 0.6], strict=True)), dropped="head_only"),
        Round(num_images=150, accuracy=dict(zip(names, lasting, strict=False))),
    )
    values = {"candidates": names, "rounds": rounds, "standard_error": 0.019, "num_images": 300, "share": 0.11}
    values |= {"limit": 0.5, "seconds": 60.0, **changes}
    return Race(winner=winner, difference=difference, **values)


START = "A race trained 3 recipes with 11% of their steps on 300 images, each held out once: "
FIRST, SECOND, DROPPED = "retrain_all 71.0%", "fine_tune_all 68.3%", "; dropped: head_only after round 1. "


@pytest.mark.parametrize(
    ("race", "decided", "sentence"),
    [
        (
            _race("retrain_all", 0.027),
            True,
            f"{START}{FIRST}, {SECOND}{DROPPED}The difference is +2.7 ± 1.9 points, so retrain_all wins.",
        ),
        (
            _race("retrain_all", -0.01),
            False,
            f"{START}{FIRST}, {SECOND}{DROPPED}The difference is -1.0 ± 1.9 points, too close to call, so retrain_all "
            f"stays the choice.",
        ),
        (
            _race("fine_tune_all", 0.019, candidates=("head_only", "fine_tune_all", "retrain_all")),
            False,
            f"{START}{SECOND}, {FIRST}{DROPPED}The difference is +1.9 ± 1.9 points, too close to call, so the better "
            f"of the two, fine_tune_all, wins.",
        ),
    ],
)
def test_a_race_says_what_it_found(race, decided, sentence):
    """In two sentences, with the numbers."""
    assert race.decided == decided
    assert str(race) == sentence


def test_what_cannot_be_compared_is_refused(dataset, seen):
    """Before anything is trained."""
    plans = _plans(dataset)
    for wrong in (plans[:1], [plans[0], plans[0]], [*plans, plans[0]]):
        with pytest.raises(PlanError, match="two to four different recipes"):
            run_race(dataset, wrong)
    with pytest.raises(PlanError, match="other classes"):
        run_race(replace(dataset, class_names=("china", "tulip")), plans)
    for limit in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="limit above 0"):
            run_race(dataset, plans, limit=limit)
    with pytest.raises(UserError, match="do without a race"):
        run_race(dataset, plans, limit=0.001)
    with pytest.raises(DatasetError, match="without"):
        run_race(replace(dataset, split=None), plans)
    assert seen == []
