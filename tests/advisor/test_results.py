"""The format of a results file."""

import json

import pytest

from advisor.results import COLUMNS, KEY, append_rows, check_results, make_fingerprint, make_row, read_results
from strategies.errors import OutputError
from strategies.recipes import RECIPES

METRICS = dict.fromkeys(("accuracy", "balanced_accuracy", "val_accuracy", "val_loss", "num_test", "seconds"), 1)


@pytest.fixture
def keys():
    """Names of the rows of one comparison."""
    return [["photos", "34", "0", "MobileNet-0.25", "32", recipe] for recipe in RECIPES]


@pytest.fixture
def out(tmp_path, keys):
    """A results file with the rows of one comparison."""
    append_rows(tmp_path / "out.csv", [make_row(key, METRICS, num_images=34, fingerprint="{}") for key in keys])
    return tmp_path / "out.csv"


def test_rows_are_read_as_they_were_appended(out, keys, tmp_path):
    """One header, whatever the number of calls; a file that is not there has no rows."""
    append_rows(out, [make_row([*keys[0][:2], "1", *keys[0][3:]], METRICS, num_images=34, fingerprint="{}")])
    rows = read_results(out)
    assert [[row[name] for name in KEY] for row in rows[:-1]] == keys
    assert rows[-1]["seed"] == "1"
    assert all(tuple(row) == COLUMNS for row in rows)
    assert all(all(row.values()) for row in rows)
    assert read_results(tmp_path / "none.csv") == []


def test_rows_are_appended_to_what_is_there(out, keys, tmp_path):
    """Other rows do not matter, an empty file is as good as none; another kind of file is refused as it is."""
    check_results(tmp_path / "new.csv", keys)
    (tmp_path / "empty.csv").touch()
    check_results(tmp_path / "empty.csv", keys)
    check_results(out, [[*key[:-1], f"{key[-1]}:budget0.25"] for key in keys])
    with pytest.raises(OutputError, match=r"holds head_only, fine_tune_all, .*seed 0"):
        check_results(out, keys)
    for content, problem in (
        (b"path,label\n1.png,cat\n", "'path', 'label'"),
        (b"\xff\xfe\x00", "CSV"),
        (out.read_bytes()[:-2], "truncated"),
    ):
        (tmp_path / "other.csv").write_bytes(content)
        with pytest.raises(OutputError, match=problem):
            check_results(tmp_path / "other.csv")
        assert (tmp_path / "other.csv").read_bytes() == content
    with pytest.raises(OutputError, match="a folder"):
        check_results(tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        check_results(tmp_path / "nowhere" / "new.csv")


def test_a_fingerprint_names_no_class_and_no_file(photos, pretrained_weights):
    """Results can be passed on: what was measured is in them, what the user called it is not."""
    import advisor

    advice = advisor.recommend(photos, backbone="MobileNetV2-0.35", image_size=32)
    found = make_fingerprint(advice.profile, advice.similarity, advice.depth_curve)
    assert str(photos) not in found
    assert "china" not in found
    assert json.loads(found)["profile"]["effective_num_images"] == advice.profile.effective_num_images
