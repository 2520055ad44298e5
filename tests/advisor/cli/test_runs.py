"""The commands `evaluate` and `report`."""

import json
import shutil

from strategies.files import check_schema

BACKBONE = "MobileNetV2-0.35"


def _files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_is_evaluated_on_other_images(advisor, photos, pretrained_weights, tmp_path, monkeypatch):
    """One class of it is enough; nothing is written without --out, and --json is clean and by its schema."""
    run = tmp_path / "run"
    code, out, err = advisor("train", photos, "--backbone", BACKBONE, "--recipe", "head_only", "--out", run)
    assert code == 0, err
    assert "the head alone" in out
    shutil.copytree(photos / "flower", tmp_path / "new" / "flower")
    (tmp_path / "new" / "flower" / "broken.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    before = _files(tmp_path)
    code, out, err = advisor("evaluate", run, tmp_path / "new")
    assert code == 0, err
    assert "all of its images: 20 images" in out
    assert "flower/broken.png" in out
    code, out, err = advisor("evaluate", run, photos, "--json")
    assert "trained on" in err
    values = json.loads(out)["evaluation"]
    check_schema(values, "evaluation", package="strategies")
    assert values["evaluation"]["num_images"] == 40
    assert _files(tmp_path) == before
    code, _, err = advisor("evaluate", run, tmp_path / "new", "--out", tmp_path / "out")
    assert code == 0, err
    check_schema(json.loads((tmp_path / "out" / "evaluation.json").read_text()), "evaluation", package="strategies")
    assert "flower" in (tmp_path / "out" / "evaluation.md").read_text()
    report = (run / "report.md").read_bytes()
    (run / "report.md").unlink()
    assert advisor("report", run)[0] == 0
    assert _files(run)[run / "report.md"] == report
