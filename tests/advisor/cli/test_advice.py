"""The commands `recommend` and `compare`; `tests/advisor/test_comparison.py` runs `compare`."""

import json
import re
import shutil

from strategies.files import check_schema
from strategies.plans.plan import plan_from_dict

BACKBONE = "MobileNetV2-0.35"


def _files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_recommend_prints_and_writes_nothing_without_out(advisor, photos, pretrained_weights, tmp_path, monkeypatch):
    """The advice goes to stdout, and no file appears anywhere near."""
    monkeypatch.chdir(tmp_path)
    before = _files(photos)
    code, out, _ = advisor("recommend", photos, "--backbone", BACKBONE)
    assert code == 0
    assert "Confidence" in out
    assert f"Next: advisor train {photos} --backbone {BACKBONE} --out run" in out
    assert "Freeze map" not in out
    assert list(tmp_path.iterdir()) == []
    assert _files(photos) == before


def test_verbose_prints_all_numbers(advisor, photos, pretrained_weights):
    """The freeze map, what was measured, and every caution; a recipe of one's own stands beside the advised one."""
    arguments = ("--backbone", BACKBONE, "--verbose", "--prefer", "speed")
    code, out, _ = advisor("recommend", photos, *arguments, "--recipe", "keep_early_layers")
    assert code == 0
    advised = out.partition(":")[0]
    assert "The plan follows keep_early_layers instead: " in out
    assert re.search(rf"\d+% \(\d+ to \d+\) is expected of it, and \d+% \(\d+ to \d+\) of {advised}\.", out)
    assert "--recipe keep_early_layers --out run" in out
    assert "Freeze map" in out
    assert "What was measured" in out
    assert "speed: the cheapest within two points" in out


def test_json_is_the_only_thing_on_stdout(advisor, photos, small_network, tmp_path):
    """`{version, fingerprint, plan}`, and after training `metrics`; all by their schemas. Times where asked for."""
    network = ("--backbone", "small", "--weights", "own", "--image-size", "32")
    code, out, _ = advisor("recommend", photos, *network, "--time", "--json")
    values = json.loads(out)
    assert code == 0
    assert set(values) == {"version", "fingerprint", "plan"}
    check_schema(values["fingerprint"], "fingerprint", package="advisor")
    costs = plan_from_dict(values["plan"]).advice["costs"]
    assert costs["head_only"]["seconds_per_epoch"] is None
    assert 0 < costs["retrain_all"]["seconds_per_epoch"] < costs["retrain_all"]["seconds"]
    arguments = ("train", photos, *network, "--recipe", "head_only", "--out", tmp_path / "run", "--json")
    code, out, err = advisor(*arguments)
    values = json.loads(out)
    assert code == 0, err
    assert set(values) == {"version", "fingerprint", "plan", "metrics"}
    assert values["plan"]["recipe"] == "head_only"


def test_some_unreadable_files_are_a_caution_and_the_command_continues(advisor, photos, pretrained_weights, tmp_path):
    """Listed by path in the fingerprint, counted in the report."""
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "china" / "broken.png").write_bytes(b"\x89PNG\r\n")
    arguments = ("recommend", data, "--backbone", BACKBONE, "--json", "--max-unreadable", "0.1")
    code, out, err = advisor(*arguments)
    assert code == 0, err
    values = json.loads(out)
    assert [file["path"] for file in values["fingerprint"]["profile"]["unreadable"]] == ["china/broken.png"]
    assert "unreadable" in {caution["code"] for caution in values["plan"]["advice"]["cautions"]}
