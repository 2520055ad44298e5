"""The fit of the advice to the study."""

from datetime import date

import numpy as np
import pytest
from support import ROOT
from synthetic_study import FAR, NEAR, rows, study

from advisor.evidence.cells import read_cells
from advisor.evidence.fitting import ALWAYS, fit, fit_rates, gather
from advisor.evidence.page import STUDY, results
from advisor.rules import EVIDENCE, RULES, choose
from advisor.calibration import calibration


@pytest.fixture(scope="module")
def fitted():
    """The fit to a study whose answer is known."""
    return fit(read_cells(study()), on=date(2026, 1, 2))


def test_the_fit_finds_what_decides(fitted):
    """Between the near and the far datasets, with and without one of them."""
    for part in (fitted["all"], *fitted["held_out"].values()):
        for name in ("advice", "two_by_two"):
            near, far = (
                RULES[
                    int(
                        choose(
                            {"effective_num_images": 100.0, "headroom": 0.3, "images_per_class": 50.0, **domain},
                            part[name],
                        )
                    )
                ]
                for domain in (NEAR, FAR)
            )
            assert (near.recipe, far.recipe) == ("fine_tune_all", "retrain_all")


def test_evidence_that_gains_nothing_stays_off(fitted):
    """The thresholds alone are right everywhere here: no row is needed but the one that holds without a fit."""
    assert [fitted["all"]["advice"][row.name] for row in EVIDENCE] == [ALWAYS.get(row.name) for row in EVIDENCE]


def test_evidence_is_used_where_similarity_misleads():
    """All datasets look the same to the ruler; what their last stages add tells them apart."""
    found = []
    for index in range(8):
        gain, best = (0.2, "fine_tune_all") if index % 2 else (-0.1, "retrain_all")
        for seed in (0, 1):
            found += rows(f"set{index}", {best: 60}, seed=seed, similarity=0.6, late_gain=gain)
    advice = fit(read_cells(found))["all"]["advice"]
    assert advice["late_gain"] is not None
    assert advice["images_per_class"] is None


def test_what_was_fitted_says_on_what(fitted):
    """Datasets, sizes, runs, versions, range and date."""
    provenance = fitted["provenance"]
    assert provenance["date"] == "2026-01-02"
    assert len(provenance["datasets"]) == 8
    assert provenance["sizes"] == ["100", "300"]
    assert provenance["num_cells"] == 16
    assert provenance["num_runs"] == 16 * 2 * 5
    assert provenance["fewest_seeds"] == 2
    assert provenance["ranges"]["effective_num_images"] == [100, 300]
    assert provenance["trainer_versions"] == ["0.2.0"]
    assert set(fitted["held_out"]) == set(provenance["datasets"])


def test_the_rates_follow_similarity_only_where_that_gains():
    """Far datasets gain ten points from faster fine-tuning, near ones lose ten."""
    found = []
    for index, (measures, faster) in enumerate(((NEAR, 40), (FAR, 60), (NEAR, 40), (FAR, 60))):
        found += rows(f"set{index}", {"fine_tune_all": 50, "fine_tune_all:x3": faster}, **measures)
    rates = fit_rates(read_cells(found))
    assert rates["factor"] == 3
    assert FAR["similarity"] < rates["similarity"] <= NEAR["similarity"]
    slower = [{**row, "accuracy": "0.1"} if row["recipe"].endswith("x3") else row for row in found]
    assert fit_rates(read_cells(slower))["factor"] == 1


def test_cells_count_equally_whatever_their_seeds():
    """The seeds of a cell share one vote."""
    outcomes = read_cells([*rows("one", {}), *rows("two", {}), *rows("two", {}, seed=1), *rows("two", {}, seed=2)])
    samples = gather(outcomes, {"similarity": 0.0, "factor": 1.0})
    assert samples.weight.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert samples.without("two").dataset.tolist() == ["one"]


def test_what_ships_is_the_fit_to_the_results_in_the_package():
    """The numbers that decide are those that the command in the evidence writes."""
    shipped = calibration()["fit"]
    again = fit(read_cells(results(STUDY, ROOT)), on=date.fromisoformat(shipped["provenance"]["date"]))
    assert again["provenance"] == shipped["provenance"]
    for name in ("rates", "two_by_two", "advice"):
        assert again["all"][name] == shipped["all"][name]
        assert all(again["held_out"][key][name] == part[name] for key, part in shipped["held_out"].items())
    assert np.allclose([row["score"] for row in again["landmarks"]], [row["score"] for row in shipped["landmarks"]])
