"""The notebooks run from start to end."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_start_to_end(path, tmp_path, pretrained_weights):
    """Every cell, in an empty folder; the notebooks assert their own claims."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any(cell.get("outputs") for cell in notebook.cells)
    assert list(tmp_path.iterdir()) == []


def test_the_notebooks_are_there():
    """An empty list would pass every test above."""
    assert [path.stem for path in NOTEBOOKS] == ["01_recommend", "02_train"]
