"""Races on the cells of the study: rows, what is left out, and continuing."""

import csv
import json
import sys

import pytest
from pictures import study_folders
from synthetic_study import facts, rows

from advisor.evidence.cells import read_cells
from advisor.evidence.commands import main
from advisor.evidence.races import ADVISED, COLUMNS, ORDER, race_worth, run_races
from advisor.evidence.tables import races_table
from advisor.expectation import expect
from advisor.results import read_results
from strategies.errors import UserError
from strategies.networks.network import PretrainedNetwork


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two class folders of 60 small images."""
    return study_folders(tmp_path_factory.mktemp("races"))


def test_races_stop_and_continue_at_will(datasets, tmp_path, small_network, pretrained_weights, monkeypatch):
    """A row for each race, for cells of the study only; what has a row is not run again, by the command neither."""
    network, out = PretrainedNetwork(**small_network), tmp_path / "races.csv"
    study = {"dataset": "spots", "size": "20", "seed": "0", "backbone": "small", "image_size": "32"}
    options = {"sizes": ("1000", "20"), "rows": [study]}
    assert run_races(datasets, out, network, only=("signs",), **options) == 0
    assert run_races(datasets, out, network, budget_minutes=1, clock=iter([0, 3600]).__next__, **options) == 0
    assert not out.exists()
    assert run_races(datasets, out, network, **options) == 1
    (row,) = read_results(out)
    assert tuple(row) == COLUMNS
    assert {name: row[name] for name in study} == study
    accuracies = json.loads(row["accuracies"])
    assert tuple(accuracies) == ORDER
    assert row["winner"] in ORDER
    assert accuracies[row["winner"]] > 0.5
    assert (row["decided"] == "True") == (float(row["difference"]) > float(row["standard_error"]))
    table = tmp_path / "study.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*study, "recipe"])
        writer.writeheader()
        writer.writerow(study | {"recipe": "head_only"})
    arguments = ["race", "--datasets", datasets, "--out", out, "--results", table, "--backbone", "small"]
    arguments += ["--image-size", 32, "--weights", "own", "--sizes", "20", "--only", "spots,signs"]
    monkeypatch.setattr(sys, "argv", ["advisor-evidence", *map(str, arguments)])
    main()
    assert read_results(out) == [row]


def test_an_unknown_dataset_is_refused(datasets, tmp_path):
    """With the name that was meant."""
    network = PretrainedNetwork(backbone="MobileNet-0.25", image_size=32, weights="random")
    with pytest.raises(UserError, match="Did you mean 'spots'"):
        run_races(datasets, tmp_path / "x.csv", network, only=("spot",))


def test_the_worth_of_a_race_is_what_its_winner_gains_in_the_study():
    """A race whose cell was not studied is left out."""
    cells = read_cells(rows("signs", {"retrain_all": 60, "fine_tune_all": 64}))
    race = {
        "dataset": "signs", "size": "100", "seed": "0", "backbone": "MobileNet-0.25", "winner": "fine_tune_all",
        "decided": "True", "race_seconds": "15",
    }  # fmt: skip
    (found,) = race_worth([race, race | {"dataset": "spots"}], cells)
    assert found["gain"] == pytest.approx(4)
    assert found["share_of_time"] == pytest.approx(1.5)
    assert found["decided"] is True
    table = races_table([found, found | {"gain": -6.0}])
    assert "| **mean** |  |  |  | -1.00 | 1.5 × |" in table


def test_a_race_is_judged_beside_the_default_recipe():
    """That of the study that ships."""
    assert expect(facts()).default == ADVISED
