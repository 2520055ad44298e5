"""What one frozen pass shows about labels and splits."""

import csv
import json
import shutil
from importlib.resources import files

import jsonschema
import pytest

from advisor.measure.examination import check_images, examine
from advisor.measure.profile import profile_dataset
from advisor.quality.checks import save_suspects
from strategies.data.loading import load_dataset
from strategies.data.splits import with_groups
from strategies.features.cache import default_cache
from strategies.features.extraction import stage_extractor
from strategies.networks.network import PretrainedNetwork


def _paths(finding):
    return [suspect.path for suspect in finding.suspects]


def test_check_finds_wrong_labels_and_leaves_everything_as_it_is(photos, tmp_path, pretrained_weights):
    """Findings follow the schema; a list of suspects holds one row for each; no file of the user's changes."""
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "china" / "03.png").rename(data / "flower" / "from_china.png")
    before = {path: path.read_bytes() for path in data.rglob("*.png")}
    profile = check_images(data)
    found = {finding.code: finding for finding in profile.findings}
    assert "flower/from_china.png" in _paths(found["label_mistakes"])
    assert "china" in found["label_mistakes"].suspects[0].detail
    schema = json.loads(files("advisor").joinpath("schemas", "fingerprint.json").read_text(encoding="utf-8"))
    jsonschema.validate(profile.to_dict(), schema["properties"]["profile"])
    save_suspects(profile.findings, tmp_path / "suspects.csv")
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(finding.suspects) for finding in profile.findings)
    assert {"path", "finding", "detail"} == set(rows[0])
    assert {path: path.read_bytes() for path in data.rglob("*.png")} == before


@pytest.mark.parametrize(
    ("name", "pattern", "leaks"),
    [("asl36", r"hand\d+", True), ("gtsrb43", r"^[^/]+/\d+", True), ("flowers5", None, False)],
)
def test_leaks_are_seen_without_being_told_the_groups(test_data, imagenet_weights, monkeypatch, name, pattern, leaks):
    """And are gone where the groups are named."""
    monkeypatch.setattr("strategies.training.head.make_folds", lambda *_: [])  # of no matter here, and slow

    def found(group_by):
        profile, dataset = profile_dataset(with_groups(load_dataset(test_data / name), group_by))
        network = PretrainedNetwork(backbone="MobileNetV2-0.35", weights="imagenet", image_size=96)
        extractor = stage_extractor(network, cache=default_cache())
        examined, _ = examine(profile, dataset, extractor, max_images=1_000, max_tested=300, seed=0, every_stage=False)
        return {finding.code for finding in examined.findings}

    if not (test_data / name).is_dir():
        pytest.skip(f"ADVISOR_TEST_DATA holds no {name}")
    assert ("lookalikes" in found(None)) == leaks
    assert pattern is None or "lookalikes" not in found(pattern)
