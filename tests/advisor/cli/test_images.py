"""The commands `profile`, `check` and `learning-curve`."""

import json
import shutil


def _files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_profile_counts_images_and_classes(advisor, photos):
    """As text, and as JSON."""
    code, out, _ = advisor("profile", photos)
    assert code == 0
    assert "images in 2 classes" in out
    assert json.loads(advisor("profile", photos, "--json")[1])["profile"]["num_classes"] == 2


def test_check_prints_findings_and_lists_suspects(advisor, photos, pretrained_weights, tmp_path):
    """Clean JSON; --strict exits with 1; --out is a new CSV file; --group-by is a pattern; nothing else is written."""
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "china" / "broken.png").write_bytes(b"no image")
    shutil.copy(data / "china" / "05.png", data / "flower" / "copy.png")
    before = _files(data)
    code, out, err = advisor("check", data, "--out", tmp_path / "suspects.csv")
    assert code == 0, err
    assert "china/broken.png" in out
    assert "flower/copy.png,duplicates_across_classes,copy of china/05.png" in (tmp_path / "suspects.csv").read_text()
    code, out, _ = advisor("check", data, "--strict", "--json", "--group-by", r"\d\d")
    assert code == 1
    codes = {finding["code"] for finding in json.loads(out)["profile"]["findings"]}
    assert {"unreadable", "duplicates", "duplicates_across_classes", "groups"} <= codes
    code, out, err = advisor("check", data, "--out", tmp_path / "suspects.csv")
    assert (code, out) == (2, "")
    assert "new file" in err
    assert _files(data) == before


def test_columns_can_have_other_names(advisor, photos, tmp_path):
    """--column label=species; anything else is refused."""
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.png"))]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,species", *rows]))
    code, out, err = advisor("profile", table, "--column", "path=file", "--column", "label=species")
    assert code == 0, err
    assert "in 2 classes" in out
    code, _, err = advisor("profile", table, "--column", "species")
    assert code == 2
    assert "--column label=species" in err


def test_learning_curve_tells_what_more_images_are_worth(advisor, photos, pretrained_weights):
    """A table, one line with --quiet, and JSON with the same figures; the images are those of the advice."""
    options = ("learning-curve", photos, "--backbone", "MobileNetV2-0.35", "--image-size", "96")
    code, out, err = advisor(*options)
    assert code == 0, err
    assert "10 times as many, less certain" in out
    assert "MobileNetV2-0.35 at 96 px" in out
    quiet = advisor(*options, "--quiet")[1]
    assert len(quiet.splitlines()) == 1
    assert quiet.strip() in out
    curve = json.loads(advisor(*options, "--json")[1])["learning_curve"]
    assert [row["num_images"] for row in curve["expected"]] == [times * curve["num_images"] for times in (2, 4, 10)]
    assert {row["name"] for row in curve["classes"]} == {"china", "flower"}
