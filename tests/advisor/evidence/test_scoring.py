"""The score of the advice: regret against a cross-fitted best, beside simpler policies."""

import json
import subprocess
import sys

import pytest
from support import ROOT
from synthetic_study import FAR, rows, study

from advisor.evidence.cells import read_cells
from advisor.evidence.fitting import fit
from advisor.evidence.page import study_score
from advisor.evidence.scoring import RANDOM, judge, score
from advisor.evidence.tables import score_tables
from strategies.recipes import RECIPES

NO_CHANGE = {"similarity": 0.0, "factor": 1.0}


def _always(method):
    return lambda outcome, seed: method


def test_the_best_is_chosen_on_the_other_seeds():
    """Four equal recipes with noise have no regret: the best of the very seed would always look better than any."""
    lucky = [{"head_only": 60}, {"fine_tune_all": 60}]
    (cell,) = read_cells([row for seed in (0, 1) for row in rows("noise", lucky[seed], seed=seed)])
    found = judge(cell, _always("retrain_all"), NO_CHANGE)
    assert found.regret == pytest.approx(0)
    assert found.right
    (alone,) = read_cells(rows("noise", lucky[0]))
    assert judge(alone, _always("retrain_all"), NO_CHANGE).regret == pytest.approx(0.1)


def test_a_regret_within_a_point_or_a_standard_error_is_right():
    """And above both it is not."""
    for worse, right in ((0.9, True), (1.1, False)):
        cell_rows = [
            row for seed in (0, 1) for row in rows("signs", {"head_only": 60, "retrain_all": 60 - worse}, seed=seed)
        ]
        (cell,) = read_cells(cell_rows)
        assert judge(cell, _always("retrain_all"), NO_CHANGE).right == right
    noisy = [
        row for seed in (0, 1) for row in rows("signs", {"head_only": 60, "retrain_all": 52 + 8 * seed}, seed=seed)
    ]
    (cell,) = read_cells(noisy)
    found = judge(cell, _always("retrain_all"), NO_CHANGE)
    assert found.regret == pytest.approx(0.04)
    assert found.tolerance == pytest.approx(0.04)


def test_random_is_the_mean_of_the_four_and_a_baseline_that_was_not_run_is_not_judged():
    """Its cells are counted, so that a missing one cannot flatter it."""
    (cell,) = read_cells(rows("signs", {"head_only": 90}))
    assert judge(cell, _always(RANDOM), NO_CHANGE).regret == pytest.approx(0.3)
    assert judge(cell, _always("keras_guide"), NO_CHANGE) is None


def test_fine_tuning_is_judged_at_the_rates_of_the_advice():
    """Where the faster rows were run, they count below the fitted similarity."""
    (cell,) = read_cells(rows("signs", {"fine_tune_all": 50, "fine_tune_all:x3": 80}, **FAR))
    faster = {"similarity": 0.5, "factor": 3.0}
    assert judge(cell, _always("fine_tune_all"), faster).regret == 0
    assert judge(cell, _always("head_only"), faster).regret == pytest.approx(0.3)
    assert judge(cell, _always("head_only"), NO_CHANGE).regret == 0


@pytest.fixture(scope="module")
def fitted():
    """The fit to a study whose answer is known."""
    return fit(read_cells(study()))


def test_a_score_holds_the_advice_beside_every_baseline(fitted):
    """Keys, held-out numbers for datasets of the fit, and the intervals around the means."""
    found = score(read_cells(study()), fit=fitted)
    assert set(found["baselines"]) == {
        "two_by_two", "textbook", "random", "keras_guide", *(f"always_{name}" for name in RECIPES),
    }  # fmt: skip
    for entry in (found["advice"], *found["baselines"].values()):
        assert entry["interval"][0] <= entry["mean_regret"] <= entry["interval"][1]
        assert 0 <= entry["share_within_1pt_strictly"] <= entry["share_within_1pt"] <= 1
        assert entry["num_cells"] == 16
    assert found["advice"]["mean_regret"] == pytest.approx(0)
    assert found["advice"]["share_within_1pt"] == 1
    assert found["baselines"]["always_head_only"]["mean_regret"] == pytest.approx(10.5)
    assert found["baselines"]["keras_guide"]["worst_regret"] == pytest.approx(30.5)
    assert found["baselines"]["random"]["difference"]["interval"][0] > 0
    assert found["by_size"]["300"]["num_cells"] == 8
    assert found["by_domain"]["far from ImageNet"]["always_fine_tune_all"] == pytest.approx(10.5)
    assert len(found["held_out"]) == 8
    assert found["unseen"] == []
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_datasets_that_the_fit_never_saw_are_judged_by_what_ships():
    """And named as such."""
    outcomes = read_cells([*rows("new", {"retrain_all": 70}, **FAR), *rows("new", {"retrain_all": 70}, seed=1, **FAR)])
    found = score(outcomes)
    assert found["unseen"] == ["new"]
    assert found["num_cells"] == 1
    assert "1 never part of the fit (new)" in score_tables(found)


def test_the_same_rows_give_the_same_score(fitted):
    """The bootstrap has a seed."""
    outcomes = read_cells(study())
    assert score(outcomes, fit=fitted) == score(outcomes, fit=fitted)


@pytest.fixture(scope="module")
def shipped():
    """The score of the results in the package."""
    return study_score(ROOT)


def test_the_advice_keeps_what_it_promises_on_the_study(shipped):
    """Each dataset is judged by numbers that were fitted without it."""
    advice, baselines = shipped["advice"], shipped["baselines"]
    assert shipped["num_datasets"] >= 14
    assert shipped["unseen"] == []
    assert advice["mean_regret"] <= 1.0
    assert advice["worst_regret"] <= 6.0
    for name in RECIPES:
        assert advice["mean_regret"] < baselines[f"always_{name}"]["mean_regret"]
    assert baselines["textbook"]["difference"]["interval"][0] > 0
    assert advice["mean_regret"] <= baselines["two_by_two"]["mean_regret"]


def test_the_commands_fit_and_score_a_file(tmp_path):
    """As a user types them, on datasets never seen before."""
    import csv

    table = tmp_path / "results.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(study()[0]))
        writer.writeheader()
        writer.writerows(study())

    def run(*arguments):
        command = [sys.executable, "-m", "advisor.evidence", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    done = run("score", table, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"mean_regret", "share_within_1pt", "worst_regret"} <= set(found["advice"])
    assert len(found["unseen"]) == 8
    done = run("fit", table, "--out", tmp_path / "calibration.json")
    assert done.returncode == 0, done.stderr
    done = run("score", table, "--calibration", tmp_path / "calibration.json")
    assert "8 judged by numbers fitted without them" in done.stdout
    done = run("score", tmp_path / "nothing.csv")
    assert done.returncode == 2
    assert "Correct the path" in done.stderr
