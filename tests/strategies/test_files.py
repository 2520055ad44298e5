"""Output folders and schemas."""

import math
import os

import pytest

from strategies.errors import OutputError, PlanError
from strategies.files import check_output, check_schema, filling, write_json


def test_a_new_or_empty_folder_is_accepted_and_not_created(tmp_path):
    """A check writes nothing."""
    assert check_output(tmp_path / "new") == tmp_path / "new"
    assert check_output(tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_a_full_folder_is_refused(tmp_path):
    """Unless the user allows to overwrite the folder."""
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="--overwrite"):
        check_output(tmp_path)
    with pytest.raises(OutputError, match="a file"):
        check_output(tmp_path / "mine", overwrite=True)
    assert check_output(tmp_path, overwrite=True) == tmp_path


def test_nan_is_not_written(tmp_path):
    """JSON has no NaN."""
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"share": math.nan})


def test_a_schema_names_the_place_of_the_mistake():
    """The message contains the path to the value."""
    with pytest.raises(PlanError, match="class_names"):
        check_schema({"version": 1, "class_names": ["a", 3]}, "class_names", package="strategies", error=PlanError)


def test_an_output_folder_has_the_permissions_that_others_have(tmp_path):
    """A folder that is there keeps its own; what is new has those that the user's umask gives."""
    mask = os.umask(0o027)
    try:
        (tmp_path / "there").mkdir(mode=0o755)
        (tmp_path / "there").chmod(0o755)
        for name in ("there", "new"):
            with filling(tmp_path / name) as folder:
                (folder / "model").mkdir()
                (folder / "model" / "weights").write_bytes(b"")
    finally:
        os.umask(mask)
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes.pop("there") == 0o755
    assert {mode for name, mode in modes.items() if name.endswith("weights")} == {0o640}
    assert {mode for name, mode in modes.items() if not name.endswith("weights")} == {0o750}
