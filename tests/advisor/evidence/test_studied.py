"""What the advice keeps of the study."""

import json
from datetime import date

import pytest
from support import ROOT
from synthetic_study import FAR, NEAR, rows, study

from advisor.calibration import calibration, read_studied_cells
from advisor.evidence.cells import read_cells
from advisor.evidence.page import STUDY, results
from advisor.evidence.scoring import studied
from advisor.evidence.studied import make_study
from advisor.expectation import expect
from strategies.recipes import RECIPES


@pytest.fixture(scope="module")
def made():
    """The study of eight datasets whose answer is known."""
    return make_study(read_cells(study()), on=date(2026, 1, 2))


def test_what_is_kept_is_plain_json_and_says_where_it_comes_from(made):
    """Datasets, sizes, runs, versions, range and date."""
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    provenance = made["provenance"]
    assert provenance["date"] == "2026-01-02"
    assert len(provenance["datasets"]) == 8
    assert provenance["sizes"] == ["100", "300"]
    assert provenance["num_cells"] == len(made["cells"]) == 16
    assert provenance["num_runs"] == 16 * 2 * 6
    assert provenance["cells_with_one_seed"] == 0
    assert provenance["ranges"]["effective_num_images"] == [100, 300]
    assert provenance["trainer_versions"] == ["0.2.0"]
    assert len(made["landmarks"]) == 8


def test_expectations_follow_from_what_is_kept(made):
    """Near datasets want `fine_tune_all`, far ones `retrain_all`."""
    cells = read_studied_cells(made["cells"])
    for name, measures in (("fine_tune_all", NEAR), ("retrain_all", FAR)):
        (cell,) = read_cells(rows("new", {}, **measures))
        found = expect(cell.facts["0"], cells)
        assert max(RECIPES, key=lambda recipe, found=found: found[recipe].accuracy) == name


def test_the_regret_of_a_recipe_in_a_cell_is_that_of_always_taking_it():
    """Judged on the other seeds, as every policy is."""
    (cell,) = read_cells([row for seed in (0, 1) for row in rows("signs", {"retrain_all": 60}, seed=seed)])
    kept = studied(cell)
    assert kept.regret == pytest.approx({name: 0.1 * (name != "retrain_all") for name in RECIPES})
    assert kept.accuracy["retrain_all"] == 0.6
    assert kept.num_seeds == 2


def test_what_ships_is_what_the_results_in_the_package_say():
    """The numbers that the advice rests on are those that the command in the evidence writes."""
    shipped = calibration()["study"]
    again = make_study(read_cells(results(STUDY, ROOT)), on=date.fromisoformat(shipped["provenance"]["date"]))
    assert again == shipped
