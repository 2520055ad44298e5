"""The notebooks run from start to end, are stored with their outputs, and say what is true.

Run all five again and store their outputs, from any folder, with

    python tests/test_notebooks.py

or only some of them: `python tests/test_notebooks.py 01_recommend 03_compare`.
"""

import os
import re
import sys
import tempfile
import textwrap

import nbformat
import pytest
from nbclient import NotebookClient
from support import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 400_000
LONGEST_LINE = 80  # characters of code that a page of 700 pixels shows without scrolling

# What each notebook tells its readers, as code that runs in its kernel after the last cell.
CLAIMS = {
    "01_recommend": """
        assert tile_advice.recipe == "head_only"  # a new head already makes almost no mistakes
        assert scores["the digits"].score < scores["the tiles"].score
        import os
        if "ADVISOR_TEST_STAND_IN" not in os.environ:  # scores are calibrated for real weights alone
            assert scores["the digits"].score < 0.3 < scores["the tiles"].score
        assert [advice.plan.weights for advice in (tile_advice, digit_advice)] == ["bundled", "bundled"]
        import strategies
        assert set(digit_advice.expected.recipes) == set(strategies.RECIPES)
        assert answers.recipe in strategies.RECIPES
        assert digit_advice.depth_curve.stages[-1] == "stage6"
        assert all(caution.code and caution.message for caution in digit_advice.cautions)
        assert min(curve.standard_error) == 0
    """,
    "02_train": """
        assert test.low > test.majority_accuracy
        assert is_test.sum() == test.num_images
        assert list(result.predicted[:8]) == list(probabilities.argmax(axis=1))
        assert plan.recipe == advice.recipe
        assert plan.phases[-1].augmented
        assert sum(phase.steps for phase in plan.phases) == 0.5 * sum(phase.steps for phase in advice.plan.phases)
        assert strategies.with_rates(plan, 0.3) != plan
    """,
    "03_compare": """
        assert {outcome.recipe for outcome in comparison.ranking} == set(comparison.advice.expected.recipes)
        assert len(comparison.ranking) == 4
        assert comparison.regret == comparison.ranking[0].test.accuracy - comparison.advised.test.accuracy
        assert comparison.best == comparison.ranking[0].recipe
        assert (difference >= 0) == (comparison.regret == 0)
        assert len(digits.images) == 1797
    """,
    "04_evidence": """
        assert set(study["backbone"]) == {"EfficientNetLite0", "MobileNet-0.25", "MobileNetV2-0.35"}
        assert study["num_images"].median() <= 300  # few images
        assert table["cells"].sum() == len(cells) == len(gains)
        assert not cells.isna().any().any()
        others = table[trained]
        assert (table["head_only"] > others.max(axis=1)).all()
        assert (others.max(axis=1) - others.min(axis=1) < table["head_only"] - others.max(axis=1)).all()
        assert regret.min().min() == 0
        assert regret.max().min() > 3  # several points, for every recipe
        assert (runs.groupby(cell).size() == 1).mean() > 0.5
        assert set(trained) == set(strategies.RECIPES) - {"head_only"}
        assert np.corrcoef(cells["head_only"], gains["fine_tune_all"])[0, 1] < -0.1
        seconds = study.groupby("recipe")["seconds"].median()
        assert 5 * seconds["head_only"] < seconds.drop("head_only").min()
        assert len(own) == 4
        assert list(own.columns) == list(study.columns)
    """,
    "05_own_backbone": """
        assert all(result.test.low > result.test.majority_accuracy for result in results.values())
        assert accuracy > 0.9
        states = {row.stage: [cell.state for cell in row.cells] for row in plan.freeze_map}
        assert states["edges"] == ["frozen", "frozen", "trained"]
        assert states["shapes"] == ["frozen", "new", "new"]
        assert backbone.default_cut == "edges"
        assert {row.stage: row.origin for row in plan.freeze_map}["parts"] == "new_from_pretrained"
    """,
}


# What is said of a comparison holds for trainings of a few steps too.
SHORTENED = {"03_compare": "import strategies.plans.planning; strategies.plans.planning.FEWEST_SEEN = 160"}


def execute(path, before="", after=""):
    """Returns the notebook at `path` with new outputs: run where it lies, with code in a first and in a last cell."""
    notebook = nbformat.read(path, as_version=4)
    first, last = ([nbformat.v4.new_code_cell(textwrap.dedent(code))] if code else [] for code in (before, after))
    notebook.cells = [*first, *notebook.cells, *last]
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def store(path):
    """Runs a notebook and writes its outputs into it, without progress on stderr and without times of execution."""
    notebook = execute(path)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_start_to_end(path, pretrained_weights):
    """Every cell, beside the results that it reads; what it says is true, and it leaves no files behind."""
    before = sorted(path.parent.iterdir())
    notebook = execute(path, SHORTENED.get(path.stem, ""), CLAIMS[path.stem])
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "WARNING" not in "".join(output.get("text", "") for output in outputs)
    assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_outputs(path):
    """Pictures too; small, without errors, warnings, progress and paths of the machine that ran it."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    text = path.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    words = re.sub(r'"image/png": ".*"', "", text)
    assert not re.search(r"/home/|/root|/tmp|/work|site-packages|Traceback|WARNING", words)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_lesson(path):
    """It has a title and ends with what to try next; its code has no checks and fits on a narrow page."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert re.match(r"# \S", cells[0].source)
    assert "## What to try next\n" in cells[-1].source
    assert "assert " not in code
    assert max(map(len, code.splitlines())) <= LONGEST_LINE
    named = re.findall(r"`(\d\d_\w+)\.ipynb`", "\n".join(cell.source for cell in cells))
    assert {ROOT / "notebooks" / f"{name}.ipynb" for name in named} <= set(NOTEBOOKS)


def test_a_card_keeps_its_layout_beside_the_styles_of_jupyter():
    """Jupyter gives every table in an output columns of one width, text at the right and shaded rows."""
    style = (ROOT / "strategies" / "display" / "templates" / "style.css").read_text(encoding="utf-8")
    rules = dict(re.findall(r"^  (&[^{]*) \{ ([^}]*) \}", style, re.MULTILINE))
    assert "table-layout: auto" in rules["& table"]
    assert "text-align: left" in rules["&.fragment :is(th, td)"]  # two classes, as `:not(...).jp-... td` has
    assert "background: none" in rules["& tbody tr:nth-child(n)"]


def test_the_notebooks_are_there():
    """An empty list would pass every test above."""
    names = ["01_recommend", "02_train", "03_compare", "04_evidence", "05_own_backbone"]
    assert [path.stem for path in NOTEBOOKS] == names == list(CLAIMS)


if __name__ == "__main__":
    chosen = [path for path in NOTEBOOKS if path.stem in (sys.argv[1:] or CLAIMS)]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ADVISOR_CACHE"] = cache  # what is stored does not depend on earlier runs
        for path in chosen:
            print(path.name, flush=True)
            store(path)
