"""Whether a run may write to a folder."""

import pytest

from strategies.errors import OutputError
from strategies.training.run_files import METRICS, PLAN, check_run


def test_a_new_or_empty_folder_may_be_written_to_and_is_not_created(tmp_path):
    """Whether a run is to be resumed or not."""
    for resume in (False, True):
        assert check_run(tmp_path / "new", resume=resume) == tmp_path / "new"
        assert check_run(str(tmp_path), resume=resume) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_may_only_be_resumed_or_overwritten(tmp_path):
    """It has a plan and no metrics."""
    (tmp_path / PLAN).write_text("{}")
    with pytest.raises(OutputError, match="--overwrite"):
        check_run(tmp_path)
    assert check_run(tmp_path, resume=True) == check_run(tmp_path, overwrite=True) == tmp_path


def test_a_finished_run_may_only_be_overwritten(tmp_path):
    """There is no training left to resume."""
    for name in (PLAN, METRICS):
        (tmp_path / name).write_text("{}")
    with pytest.raises(OutputError, match="which is finished"):
        check_run(tmp_path, resume=True)
    with pytest.raises(OutputError, match="--overwrite"):
        check_run(tmp_path)
    assert check_run(tmp_path, overwrite=True, resume=True) == tmp_path


def test_a_folder_of_other_files_is_not_resumed(tmp_path):
    """Resuming allows no more than the files of a run."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files"):
        check_run(tmp_path, resume=True)
