"""The score of the advice: regret against a cross-fitted best, beside simpler policies."""

import json
import sys

import pytest
from support import ROOT
from synthetic_study import FAR, rows, study

from advisor.evidence.cells import read_cells
from advisor.evidence.commands import main
from advisor.evidence.page import study_score
from advisor.evidence.scoring import ADVICE, RANDOM, judge, score, studied
from advisor.evidence.tables import POOLED, score_tables
from advisor.expectation import refit_gain
from advisor.preferences import PREFERENCES
from strategies.recipes import RECIPES


def _always(cell, method):
    return dict.fromkeys(cell.seeds, method)


def test_the_best_is_chosen_on_the_other_seeds():
    """Four equal recipes with noise have no regret: the best of the very seed would always look better than any."""
    lucky = [{"head_only": 60}, {"fine_tune_all": 60}]
    (cell,) = read_cells([row for seed in (0, 1) for row in rows("noise", lucky[seed], seed=seed)])
    found = judge(cell, _always(cell, "retrain_all"))
    assert found.regret == pytest.approx(0)
    assert found.right
    (alone,) = read_cells(rows("noise", lucky[0]))
    assert judge(alone, _always(alone, "retrain_all")).regret == pytest.approx(0.1)


def test_a_regret_within_a_point_or_a_standard_error_is_right():
    """And above both it is not."""
    for worse, right in ((0.9, True), (1.1, False)):
        cell_rows = [
            row for seed in (0, 1) for row in rows("signs", {"head_only": 60, "retrain_all": 60 - worse}, seed=seed)
        ]
        (cell,) = read_cells(cell_rows)
        assert judge(cell, _always(cell, "retrain_all")).right == right
    noisy = [
        row for seed in (0, 1) for row in rows("signs", {"head_only": 60, "retrain_all": 52 + 8 * seed}, seed=seed)
    ]
    (cell,) = read_cells(noisy)
    found = judge(cell, _always(cell, "retrain_all"))
    assert found.regret == pytest.approx(0.04)
    assert found.tolerance == pytest.approx(0.04)


def test_random_is_the_mean_of_the_four_and_a_baseline_that_was_not_run_is_not_judged():
    """Its cells are counted, so that a missing one cannot flatter it."""
    (cell,) = read_cells(rows("signs", {"head_only": 90}))
    assert judge(cell, _always(cell, RANDOM)).regret == pytest.approx(0.3)
    assert judge(cell, _always(cell, "keras_guide")) is None


@pytest.fixture(scope="module")
def cells():
    """Two networks on eight datasets; near ones want `fine_tune_all`, far ones `retrain_all`, by ten points."""
    other = [{**row, "backbone": "MobileNetV2-0.35"} for row in study()]
    return read_cells([*study(), *other])


@pytest.fixture(scope="module")
def scored(cells):
    """The score of the advice on that study, which it rests on."""
    return score(cells, study=[studied(cell) for cell in cells])


def test_a_score_holds_the_advice_beside_every_simpler_policy(scored):
    """On each network and on all, with intervals around the means."""
    assert set(scored["policies"]) == {"MobileNet-0.25", "MobileNetV2-0.35", POOLED}
    names = {"textbook", "always_random", "always_keras_guide", *(f"always_{name}" for name in RECIPES)}
    names |= {f"advice_{name}" for name in PREFERENCES}
    for network, entries in scored["policies"].items():
        assert set(entries) == names
        for entry in entries.values():
            assert entry["interval"][0] <= entry["mean_regret"] <= entry["interval"][1]
            assert 0 <= entry["within"] <= 1
            assert entry["num_cells"] == (32 if network == POOLED else 16)
    pooled = scored["policies"][POOLED]
    assert pooled[ADVICE]["mean_regret"] == pytest.approx(0)
    assert pooled[ADVICE]["within"] == 1
    assert pooled["always_head_only"]["mean_regret"] == pytest.approx(10.5)
    assert pooled["always_keras_guide"]["worst_regret"] == pytest.approx(30.5)
    assert pooled["always_random"]["difference"]["interval"][0] > 0
    assert json.loads(json.dumps(scored, allow_nan=False)) == scored


def test_speed_is_judged_by_trainings_without_a_refit(few_images):
    """They take less time, and a cell without such a training says nothing about it."""
    cells = read_cells([*study(), *rows("alone", {"fine_tune_all": 60.0})])
    found = score(cells, study=[studied(cell) for cell in cells])
    balanced, speed = (found["policies"][POOLED][f"advice_{name}"] for name in ("balanced", "speed"))
    assert speed["mean_regret"] == pytest.approx(1)
    assert speed["difference"]["mean"] == pytest.approx(1)
    assert speed["mean_seconds"] < 0.7 * balanced["mean_seconds"]
    assert (balanced["num_cells"], speed["num_cells"]) == (17, 16)
    assert found["places"]["MobileNet-0.25"]["fine_tune_all"]["speed"] == 0.5
    assert [(row["size"], row["pairs"]) for row in found["refit"]] == [("100", 16), ("300", 16), ("", 32)]
    assert all((row["gain"], row["error"]) == pytest.approx((1, 0), abs=1e-9) for row in found["refit"])


def test_each_cell_is_judged_without_its_dataset_its_network_or_both(scored, cells):
    """A dataset whose like was never studied is judged by the others, and the advice is wrong there."""
    for rows_of in scored["left_out"].values():
        assert rows_of["balanced"] == pytest.approx({"MobileNet-0.25": 0, "MobileNetV2-0.35": 0})
    near = [cell for cell in cells if cell.dataset.startswith("near")]
    far = next(cell for cell in cells if cell.dataset.startswith("far"))
    found = score([far], study=[studied(cell) for cell in near])
    assert found["policies"][POOLED][ADVICE]["mean_regret"] == pytest.approx(10.5)
    assert found["unseen"] == [far.dataset]


def test_with_one_network_nothing_is_left_to_judge_it_by():
    """Then there is no confidence to compare, and no figure is made up."""
    alone = read_cells(study())
    found = score(alone, study=[studied(cell) for cell in alone])
    assert found["left_out"]["network"]["balanced"] == {}
    assert found["confidence"] == {"thirds": [], "networks": []}
    assert "–" in score_tables(found)


def test_intervals_and_confidence_are_compared_with_what_happened(scored):
    """Here, what is expected of cells that are alike comes closer to the truth than the mean of all cells."""
    for name in ("fine_tune_all", "retrain_all"):
        row = scored["expected"][name]
        assert row["count"] == 64
        assert row["gain_error"] < row["gain_error_of_mean"]
    for group, size in (("thirds", 3), ("networks", 2)):
        assert len(scored["confidence"][group]) == size
        assert sum(row["count"] for row in scored["confidence"][group]) == 64
        assert all(row["right"] == 1 for row in scored["confidence"][group])
    assert scored["likeness"]["all"]["gain_error"] < scored["likeness"]["none"]["gain_error"]
    places = scored["places"]["MobileNet-0.25"]
    assert places["fine_tune_all"]["best"] == places["retrain_all"]["best"] == 0.5
    assert places["fine_tune_all"]["balanced"] == 0.5


def test_the_same_rows_give_the_same_score(cells, scored):
    """The bootstrap has a seed."""
    assert score(cells, study=[studied(cell) for cell in cells]) == scored


def test_the_advice_keeps_what_it_promises_on_the_study(few_images):
    """Each dataset is judged without its own cells: better than the textbook, and near the best fixed recipe."""
    shipped = study_score(ROOT)
    assert shipped["num_datasets"] >= 30
    assert shipped["unseen"] == []
    pooled = shipped["policies"][POOLED]
    assert pooled["textbook"]["difference"]["interval"][0] > 0
    best = min(pooled[f"always_{name}"]["mean_regret"] for name in RECIPES)
    assert pooled[ADVICE]["mean_regret"] <= best + 0.3
    assert 0.7 <= shipped["expected"]["fine_tune_all"]["held"] <= 0.95
    for row in shipped["refit"][:-1]:
        assert abs(row["gain"] - 100 * refit_gain(float(row["size"]))) <= 2 * row["error"]


def test_the_commands_fit_and_score_a_file(tmp_path, monkeypatch, capsys):
    """As a user types them, on datasets never seen before."""
    import csv

    table = tmp_path / "results.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(study()[0]))
        writer.writeheader()
        writer.writerows([*study(), *rows("new", {"retrain_all": 70}, **FAR)])

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["advisor-evidence", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    found = json.loads(run("score", table, "--json"))
    assert {"mean_regret", "within", "worst_regret"} <= set(found["policies"][POOLED][ADVICE])
    assert len(found["unseen"]) == 9
    run("fit", table, "--out", tmp_path / "calibration.json")
    assert "the advice, `balanced`" in run("score", table, "--calibration", tmp_path / "calibration.json")
    with pytest.raises(SystemExit) as stop:
        run("score", tmp_path / "nothing.csv")
    assert stop.value.code == 2
    assert "Correct the path" in capsys.readouterr().err
