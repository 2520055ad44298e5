"""The study runner: fixed test sets, resumable rows, groups kept together."""

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from pictures import study_folders
from support import ROOT

from advisor.evidence.page import (
    COMPARED,
    PAGES,
    PLOTS,
    RESULTS,
    STUDY,
    fill,
    results,
    study_score,
    tables,
    write_page,
)
from advisor.evidence.plots import draw_figures
from advisor.evidence.study import CHANGES, METHODS, draw, read_datasets, run_study
from advisor.evidence.tables import compare_methods, methods_table
from advisor.results import COLUMNS, read_results
from strategies.data.loading import load_dataset
from strategies.errors import DatasetError, UserError
from strategies.networks.network import PretrainedNetwork
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES


@pytest.fixture
def network(small_network):
    """A network of three layers: what is tested here does not depend on it."""
    return PretrainedNetwork(**small_network)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two class folders of 60 small images; the first comes in tracks of three."""
    root = study_folders(tmp_path_factory.mktemp("study"))
    (root / "datasets.csv").write_text("name,group_by\nsigns,^[^/]+/\\d+\nspots,\n")
    return root


def test_the_test_set_is_the_same_for_every_size_and_seed(datasets):
    """And no training image of any cell is in it."""
    dataset = load_dataset(datasets / "spots")
    tests, learning = set(), set()
    for size, seed in ((10, 0), (20, 1), (None, 2)):
        cell = draw(dataset, size, seed)
        parts = np.array(cell.split)
        tests.add(tuple(np.array(cell.names)[parts == "test"]))
        learning |= set(np.array(cell.names)[parts != "test"])
        if size:
            assert (parts != "test").sum() == size
            assert np.bincount(cell.labels[parts != "test"]).min() >= size // 2 - 1
        assert "val" in parts
    assert len(tests) == 1
    assert len(*tests) == 24
    assert not set(*tests) & learning


def test_a_size_is_run_where_the_dataset_holds_it(datasets):
    """Twice the number of classes at least, and no more than there is beside the test set."""
    dataset = load_dataset(datasets / "spots")
    assert draw(dataset, 3, 0) is None
    assert draw(dataset, 37, 0) is None
    assert draw(dataset, 36, 0) is not None


def test_groups_named_in_the_table_stay_together(datasets):
    """No track of `signs` is on both sides of any split."""
    cell = draw(read_datasets(datasets)["signs"], None, 0)
    sides = {}
    for group, part in zip(cell.group, cell.split, strict=True):
        sides.setdefault(group, set()).add(part)
    assert len(sides) == 20
    assert all(len(parts) == 1 for parts in sides.values())


def test_a_study_stops_and_continues_at_will(datasets, tmp_path, pretrained_weights):
    """A budget that is used up ends it after the run at hand; the next call runs what is missing, and only that."""
    network = PretrainedNetwork(backbone="MobileNet-0.25", image_size=32, weights="random")
    out = tmp_path / "results.csv"
    methods = ("head_only", "logistic_regression")
    ticks = iter([0, 0, 3600, 3600])
    options = {"sizes": ("20", "1000"), "seeds": 1, "methods": methods}
    assert run_study(datasets, out, network, budget_minutes=1, clock=lambda: next(ticks), **options) == 1
    assert run_study(datasets, out, network, **options) == 3
    assert run_study(datasets, out, network, **options) == 0
    rows = read_results(out)
    assert tuple(rows[0]) == COLUMNS
    assert {(row["dataset"], row["recipe"]) for row in rows} == {(d, m) for d in ("signs", "spots") for m in methods}
    assert {row["num_images"] for row in rows} == {"20"}
    for row in rows:
        assert 0.5 <= float(row["accuracy"]) <= 1
        assert json.loads(row["fingerprint"])["similarity"]["score"] < 0.5


def test_the_loop_with_batch_norm_held_keeps_the_pretrained_statistics(datasets):
    """Layer by layer, as the guide's text means it; the loop as published loses them in Keras 3.15."""
    import keras

    from advisor.evidence.baselines import keras_guide

    cell, seen = draw(load_dataset(datasets / "spots"), 20, 0), {}
    original = keras.Model.fit

    def fit(model, *args, **options):
        history = original(model, *args, **options | {"epochs": 2})
        base = next(layer for layer in model.layers if isinstance(layer, keras.Model))
        norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
        seen.setdefault(held, []).append(np.concatenate([np.array(norm.moving_mean) for norm in norms]))
        return history

    for held in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.Model, "fit", fit)
            keras_guide(cell, backbone="MobileNet-0.25", image_size=32, weights="random", seed=0, held=held)
    assert np.array_equal(*seen[True])
    if keras.__version__.startswith("3.15"):
        assert not np.array_equal(*seen[False])


def test_an_unknown_method_or_an_empty_folder_is_refused(datasets, tmp_path, network):
    """In a sentence."""
    with pytest.raises(UserError, match=METHODS[0]):
        run_study(datasets, tmp_path / "x.csv", network, methods=("best",))
    with pytest.raises(DatasetError, match="folder of datasets"):
        read_datasets(tmp_path)


def test_shares_of_a_study_are_disjoint_and_complete(datasets, tmp_path, network, pretrained_weights):
    """Two processes run each cell once, and the datasets that are named alone."""
    options = {"sizes": ("20",), "seeds": 2, "methods": ("head_only",)}
    files = [tmp_path / f"{share}.csv" for share in (1, 2)]
    counts = [
        run_study(datasets, file, network, part=(share, 2), **options)
        for share, file in zip((1, 2), files, strict=True)
    ]
    assert counts == [2, 2]
    cells = [{(row["dataset"], row["seed"]) for row in read_results(file)} for file in files]
    assert not cells[0] & cells[1]
    assert run_study(datasets, tmp_path / "one.csv", network, only=("spots",), **options | {"seeds": 1}) == 1
    with pytest.raises(UserError, match="Did you mean 'spots'"):
        run_study(datasets, tmp_path / "one.csv", network, only=("spot",), **options)


def test_a_variant_runs_the_recipe_with_another_batch_norm_policy(
    datasets, tmp_path, network, pretrained_weights, monkeypatch
):
    """Both policies are rows of their own, with different results."""
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 320)
    out = tmp_path / "results.csv"
    methods = ("retrain_all:inference", "retrain_all:train")
    assert run_study(datasets, out, network, sizes=("20",), seeds=1, only=("spots",), methods=methods) == 2
    rows = read_results(out)
    assert [row["recipe"] for row in rows] == list(methods)
    assert rows[0]["val_loss"] != rows[1]["val_loss"]


def _row(method, seed, accuracy, *, dataset="signs", val_accuracy=0.5, val_loss=1.0):
    values = {"dataset": dataset, "size": "100", "seed": str(seed), "recipe": method, "accuracy": str(accuracy)}
    judged = {"val_accuracy": str(val_accuracy), "val_loss": str(val_loss)} if method in RECIPES else {}
    return {"val_accuracy": "", "val_loss": "", **values, **judged, "balanced_accuracy": str(accuracy)}


def test_the_recipe_is_chosen_by_validation_and_scored_on_test():
    """Not by its test accuracy; ties in accuracy go to the lower loss; the difference is taken seed by seed."""
    rows = []
    for seed in (0, 1):
        rows += [_row("keras_guide", seed, 0.6), _row("keras_guide_held", seed, 0.65)]
        rows += [_row("logistic_regression", seed, 0.7)]
        rows += [_row("head_only", seed, 0.7, val_accuracy=0.5), _row("fine_tune_all", seed, 0.9, val_accuracy=0.6)]
        rows += [
            _row("keep_early_layers", seed, 0.65 + 0.1 * seed, val_accuracy=0.8, val_loss=0.4),
            _row("retrain_all", seed, 0.8, val_accuracy=0.8, val_loss=0.5),
        ]
    (cell,) = compare_methods(rows)["cells"]
    assert cell["chosen"] == pytest.approx(0.7)
    assert cell["gains"]["keras_guide"] == pytest.approx({"mean": 0.1, "standard_error": 0.05})
    assert cell["gains"]["keras_guide_held"] == pytest.approx({"mean": 0.05, "standard_error": 0.05})
    assert compare_methods(rows)["summary"]["gains"]["keras_guide"]["worse_in"] == []
    assert "**90.0**" in methods_table(rows)


def test_a_cell_that_is_worse_than_the_loop_is_named():
    """By more than the larger of a point and two standard errors."""
    rows = []
    for seed in (0, 1):
        rows += [_row(method, seed, 0.5) for method in METHODS]
        rows += [_row(method, seed, 0.5 if method != "keras_guide" else 0.52, dataset="spots") for method in METHODS]
    gains = compare_methods(rows)["summary"]["gains"]
    assert gains["keras_guide"]["worse_in"] == ["spots, 100"]
    assert gains["keras_guide"]["mean"] == pytest.approx(-0.01)
    assert gains["keras_guide_held"]["worse_in"] == []


def test_a_table_of_nothing_is_refused():
    """In a sentence."""
    with pytest.raises(UserError, match="no such cell"):
        methods_table([_row("head_only", 0, 0.5)])


def test_the_page_shows_what_the_results_say(few_images):
    """Each table between two markers is what the command writes from the results in this clone; none is missing."""
    found, shown = tables(ROOT), set()
    for name in PAGES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert fill(page, found) == page, name
        shown |= set(re.findall("<!-- /(.*?) -->", page)) & set(found)
        assert set(re.findall(r"\(plots/(.*?)\)", page)) <= {path.name for path in (ROOT / PLOTS).glob("*.svg")}
    assert shown == set(found)


def test_the_page_is_filled_in_a_clone(tmp_path, few_images):
    """Tables in both pages and the figures; any other folder is refused and stays as it is."""
    with pytest.raises(UserError, match="Expected a clone of the project"):
        write_page(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="Expected a clone of the project"):
        results(STUDY, tmp_path)
    shutil.copytree(ROOT / RESULTS, tmp_path / RESULTS)
    (tmp_path / PLOTS).mkdir(parents=True)
    (tmp_path / "docs" / "explanations" / "evidence.md").write_text("# Evidence\n<!-- cells -->\n<!-- /cells -->\n")
    (tmp_path / "docs" / "explanations" / "recipes.md").write_text("# Recipes\n")
    (tmp_path / "README.md").write_text("<!-- summary -->\nold\n<!-- /summary -->\nSee the evidence.\n")
    written = write_page(tmp_path)
    assert [path.name for path in written] == [
        "evidence.md",
        "recipes.md",
        "README.md",
        "regret.svg",
        "gains.svg",
        "confidence.svg",
    ]
    assert all(path.is_file() for path in written)
    found = tables(ROOT)
    assert written[0].read_text() == f"# Evidence\n<!-- cells -->\n{found['cells']}<!-- /cells -->\n"
    assert written[1].read_text() == "# Recipes\n"
    assert written[2].read_text() == f"<!-- summary -->\n{found['summary']}<!-- /summary -->\nSee the evidence.\n"


def test_the_figures_are_drawn_from_a_score(tmp_path, few_images):
    """The same score gives the same files; without matplotlib a sentence says what is missing."""
    drawn = draw_figures(study_score(ROOT), tmp_path / "one")
    again = draw_figures(study_score(ROOT), tmp_path / "two")
    assert [path.name for path in drawn] == ["regret.svg", "gains.svg", "confidence.svg"]
    for first, second in zip(drawn, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert "<svg" in first.read_text(encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(UserError, match="Install matplotlib"):
            draw_figures(study_score(ROOT), tmp_path)


@pytest.mark.parametrize("name", COMPARED)
def test_the_results_show_what_the_recipes_promise(name):
    """In the results of this package: better than both versions of Keras' loop on average, and nowhere worse."""
    found = compare_methods(results(name, ROOT))
    assert found["summary"]["num_datasets"] >= 7
    assert found["summary"]["head_only_minus_logistic_regression"] > -0.005
    for gain in found["summary"]["gains"].values():
        assert gain["mean"] > 0.03
        assert gain["worse_in"] == []


def test_a_variant_changes_what_its_name_says(few_images):
    """The rest of the plan is that of the recipe."""
    plan = make_plan("fine_tune_all", class_names=["dark", "light"], num_train=80)
    rate, training = plan.phases[1].learning_rate["stem"], plan.phases[1]
    assert (training.blend, plan.refit) == (0.5, True)
    assert CHANGES["end"](plan) == replace(plan, phases=(plan.phases[0], replace(training, blend=1.0)))
    assert CHANGES["no_refit"](plan) == replace(plan, refit=False)
    assert CHANGES["x3"](plan).phases[1].learning_rate["stem"] == pytest.approx(3 * rate)
