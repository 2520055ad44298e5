"""All four recipes on real images: what the comparison says, what it appends, and what it refuses."""

import csv
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

import advisor
from advisor.comparison import Comparison, compare_recipes
from advisor.evidence.study import measure_images
from advisor.evidence.tables import methods_table
from advisor.plans import plan_for
from advisor.results import COLUMNS, read_results
from advisor.time_limit import LEAST_SHARE, TimeLimit
from strategies.errors import OutputError, UnknownNameError, UserError
from strategies.networks.network import PretrainedNetwork
from strategies.plans.planning import with_budget
from strategies.recipes import RECIPES
from strategies.training.timing import PlanCost
from strategies.training.trainer import train

OPTIONS = {"backbone": "MobileNet-0.25", "weights": "random", "image_size": 32}


@pytest.fixture(scope="module")
def short_plans():
    """Plans of a few steps, from the start: what is compared is each recipe's own plan all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strategies.plans.planning.FEWEST_SEEN", 320)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A results file that is not there yet."""
    return tmp_path_factory.mktemp("comparison") / "results.csv"


@pytest.fixture(scope="module")
def trained():
    """Recipe -> what training it gave, filled by `comparison`."""
    return {}


@pytest.fixture(scope="module")
def comparison(photos, pretrained_weights, short_plans, out, trained):
    """The four recipes on scikit-learn's two photos, with all of their steps."""

    def keep(plan, *arguments, **options):
        trained[plan.recipe] = train(plan, *arguments, **options)
        return trained[plan.recipe]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strategies.training.trainer.train", keep)
        return compare_recipes(photos, out=out, **OPTIONS)


def _as_if(comparison, accuracy, seconds, val_accuracy):
    """The same comparison with other results on 100 test images: of these, the first ones are right."""
    outcomes = []
    for name, right, took, judged in zip(RECIPES, accuracy, seconds, val_accuracy, strict=True):
        metrics = {"accuracy": right / 100, "val_accuracy": judged, "val_loss": 1.0, "seconds": took}
        test = replace(comparison[name].test, accuracy=right / 100, num_images=100)
        correct = np.arange(100) < right
        outcomes.append(replace(comparison[name], metrics=metrics, test=test, correct=correct))
    return Comparison(advice=comparison.advice, outcomes=tuple(outcomes))


def test_all_four_recipes_are_carried_out_on_one_split(comparison):
    """The advised one by the very plan of the advice, the others by the plan that they would have been advised with."""
    advice = comparison.advice
    assert [outcome.recipe for outcome in comparison.outcomes] == list(RECIPES)
    for outcome in comparison.outcomes:
        expected = plan_for(
            outcome.recipe,
            advice.plan.network,
            advice.dataset,
            None,
            similarity=advice.similarity.score,
            seed=outcome.plan.seed,
        )
        if outcome.recipe == advice.plan.recipe:
            assert outcome.plan == advice.plan
        else:
            assert (
                replace(outcome.plan, cut_stage=expected.cut_stage) == expected or outcome.recipe == "keep_early_layers"
            )
        assert outcome.share == 1
        assert outcome.correct.shape == (advice.profile.images_per_split["test"],)
        assert outcome.correct.mean() == outcome.test.accuracy
        assert outcome.seconds > 0
        assert 0 <= outcome.val_accuracy <= 1
    assert comparison.best == comparison.ranking[0].recipe
    assert comparison.regret >= 0
    with pytest.raises(UnknownNameError, match="Did you mean 'head_only'"):
        comparison["head"]


def test_the_rows_are_those_of_the_study(comparison, out):
    """Every column is filled, by the study's own measure of the same images."""
    rows = read_results(out)
    assert tuple(rows[0]) == COLUMNS
    assert [row["recipe"] for row in rows] == list(RECIPES)
    advice = comparison.advice
    cell = measure_images(advice.dataset, PretrainedNetwork(**OPTIONS), 0)
    for row, outcome in zip(rows, comparison.outcomes, strict=True):
        assert all(row.values())
        assert (row["dataset"], row["size"], row["num_images"]) == ("photos", "34", "34")
        assert float(row["accuracy"]) == outcome.test.accuracy
        found, expected = json.loads(row["fingerprint"]), json.loads(cell.fingerprint)
        # Random weights are others each time, and with them the curve.
        assert found.pop("depth_curve").keys() == expected.pop("depth_curve").keys()
        # With a cache the ruler may have been run by another engine, which rounds otherwise.
        scores = [measured.pop("similarity")["score"] for measured in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
        assert found == expected


def test_results_that_are_there_already_are_refused_before_anything_is_trained(
    comparison, photos, out, monkeypatch, short_plans
):
    """In a sentence that names them; the file stays as it is."""
    monkeypatch.setattr("strategies.training.trainer.train", None)
    before = out.read_bytes()
    with pytest.raises(OutputError, match=r"holds head_only, fine_tune_all, .*seed 0"):
        compare_recipes(photos, out=out, **OPTIONS)
    assert out.read_bytes() == before


def test_what_the_advice_costs_is_said_in_one_sentence(comparison):
    """In points and seconds against the best, which only hindsight knows; nothing is hidden where it is chance."""
    advised = comparison.advice.plan.recipe
    others = [name for name in RECIPES if name != advised]
    accuracy, seconds = dict.fromkeys(RECIPES, 60), dict.fromkeys(RECIPES, 20.0)
    accuracy |= {advised: 70, others[0]: 90}
    seconds |= {advised: 12.0, others[0]: 40.0}
    worse = _as_if(comparison, accuracy.values(), seconds.values(), [0.5] * 4)
    assert worse.best == others[0]
    assert worse.regret == pytest.approx(0.2)
    assert worse.extra_seconds == -28
    sentence = f"Following the advice ({advised}) would have cost 20.0 points against the best ({others[0]}) and taken"
    assert f"{sentence} 12 s instead of 40 s." in str(worse)
    assert "may be chance" not in str(worse)
    close = _as_if(comparison, (accuracy | {others[0]: 72}).values(), seconds.values(), [0.5] * 4)
    assert "On 100 test images, this may be chance: the difference lies between -4.7 and +0.7 points" in str(close)
    assert close.lead[1] == pytest.approx(np.sqrt(0.02 * 0.98 / 100))
    best = _as_if(comparison, (accuracy | {advised: 95}).values(), seconds.values(), [0.5] * 4)
    assert (best.best, best.regret, best.extra_seconds) == (advised, 0, 0)
    assert f"would have gained 5.0 points over the next best ({others[0]})" in str(best)
    equal = _as_if(comparison, [80] * 4, seconds.values(), [0.5] * 4)
    assert equal.best == advised
    assert "been as accurate as the next best" in str(equal)


def test_the_table_ranks_the_recipes_and_marks_the_advised_one(comparison):
    """Best first, with bars as long as the numbers say; what validation would have chosen is told apart."""
    found = _as_if(comparison, [50, 95, 70, 60], [1.0, 20.0, 10.0, 5.0], [0.9, 0.5, 0.5, None])
    rows = [line for line in str(found).splitlines() if any(f" {name} " in line for name in RECIPES) and "#" in line]
    assert [row[1:].split()[0] for row in rows] == ["fine_tune_all", "keep_early_layers", "retrain_all", "head_only"]
    assert [row.count("#") for row in rows] == [15 + 16, 11 + 8, 10 + 4, 8 + 1]
    assert [row.startswith(">") for row in rows].count(True) == 1
    assert next(row for row in rows if row.startswith(">")).split()[1] == found.advice.plan.recipe
    assert found.chosen_on_validation == "head_only"
    assert "by validation accuracy head_only would have been chosen, 50.0%" in str(found)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["best"] == "fine_tune_all"
    assert [outcome["recipe"] for outcome in values["recipes"]] == [outcome.recipe for outcome in found.ranking]
    assert _as_if(comparison, [50] * 4, [1.0] * 4, [None] * 4).chosen_on_validation is None


def _cost(plan, *_):
    """A second to begin, one for each step, and no time for anything else."""
    steps = [phase for phase in plan.phases if phase.has_steps]
    images = {"train": 24, "val": 5, "test": 5}
    return PlanCost(plan=plan, images=images, start=1.0, per_step=(1.0,) * len(steps), per_image=0.0)


def test_the_command_shortens_all_recipes_and_names_them_so(
    comparison, trained, photos, tmp_path, monkeypatch, advisor
):
    """JSON alone on stdout; the rows do not pass as the recipes' own, and no table counts them in."""
    plans = {}

    def again(plan, data, **options):
        plans[plan.recipe] = plan
        return trained[plan.recipe]

    out, options = tmp_path / "results.csv", ["--minutes", "5", "--json", "--out", str(tmp_path / "results.csv")]
    monkeypatch.setattr("strategies.training.timing.measure_cost", _cost)
    monkeypatch.setattr("advisor.time_limit.estimate_parts", _cost)
    monkeypatch.setattr(TimeLimit, "seconds_left", 26.0)
    monkeypatch.setattr("strategies.training.trainer.train", again)
    code, shown, said = _compare(advisor, photos, *options)
    assert code == 0, said
    values = json.loads(shown)
    assert set(values) == {"version", "fingerprint", "plan", "comparison"}
    found = {outcome["recipe"]: outcome["share"] for outcome in values["comparison"]["recipes"]}
    share = found["retrain_all"]
    assert f"With 5 minutes, each recipe gets {share:.0%} of its steps." in said
    assert LEAST_SHARE <= share < 1
    assert found == {name: 1.0 if name == "head_only" else share for name in RECIPES}
    full = comparison["retrain_all"].plan
    assert plans["retrain_all"].digest() == with_budget(full, share).digest() != full.digest()
    rows = read_results(out)
    assert [row["recipe"] for row in rows] == [
        name if name == "head_only" else f"{name}:budget{share:g}" for name in RECIPES
    ]
    with pytest.raises(UserError):
        methods_table(rows)
    before = out.read_bytes()
    code, shown, said = _compare(advisor, photos, *options)
    assert (code, shown) == (2, "")
    assert "another seed" in said
    assert out.read_bytes() == before
    monkeypatch.setattr(TimeLimit, "seconds_left", -1.0)
    code, shown, said = _compare(advisor, photos, "--minutes", "5")
    assert code == 0, said
    left_out = [name for name in RECIPES if f" {name} " not in shown.split("Following")[0]]
    assert len(left_out) == 2
    assert f"There was no time for {' and '.join(left_out)}." in shown
    assert not {"head_only", comparison.advice.plan.recipe} & {*left_out}
    assert f"no time for {LEAST_SHARE:.0%} of the steps of {' and '.join(left_out)}" in said
    report = tmp_path / "report.html"
    monkeypatch.setattr("strategies.training.trainer.train", lambda *given, **options: report.touch() or again(*given))
    code, shown, said = _compare(advisor, photos, "--json", "--report", report)
    assert (code, "exists already" in said) == (2, True)
    assert json.loads(shown)["comparison"]["recipes"]
    monkeypatch.setattr("strategies.training.trainer.train", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    code, _, said = _compare(advisor, photos, "--out", out)
    assert (code, f"have their rows in {out}" in said) == (130, True)


def _compare(advisor, photos, *options):
    arguments = ["--backbone", "MobileNet-0.25", "--weights", "random", "--image-size", "32", *options]
    return advisor("compare", photos, *arguments)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--minutes", "0"], "minutes above 0"),
        (["--out", "nowhere/results.csv"], "does not exist"),
        (["--out", "mine.csv"], "'name', 'age'"),
        (["--out", "new.csv", "--report", "./new.csv"], "two files"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(photos, options, sentence, tmp_path, monkeypatch, advisor):
    """One sentence, exit code 2, and a file of the user's stays as it is."""
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["name", "age"], ["Ada", 36]])
    before = (tmp_path / "mine.csv").read_bytes()
    code, shown, said = _compare(advisor, photos, *options)
    assert (code, shown) == (2, "")
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert (tmp_path / "mine.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_the_comparison_is_a_public_name():
    """Beside the function that makes it."""
    assert advisor.Comparison is Comparison
    assert advisor.compare_recipes is compare_recipes
