"""What is installed, and what could be."""

import configparser

from support import ROOT

from advisor.installation import EXTRAS, GPU_BUILDS, examine_installation


def test_every_optional_part_is_known():
    """Those of `setup.cfg` that a user of the advice may need."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    of_developers = {"docs", "test", "plots"}
    assert {extra.name for extra in EXTRAS} == {*settings["options.extras_require"]} - of_developers


def test_a_gpu_that_is_not_used_is_missing(monkeypatch, tmp_path):
    """With what makes the backend use it."""
    device = tmp_path / "nvidia0"
    device.touch()
    monkeypatch.setattr("strategies.features.engines.GPU_DEVICES", (str(device),))
    (missing,) = [row for row in examine_installation().missing if row.name == "gpu"]
    assert str(device) in missing.use
    assert missing.install in GPU_BUILDS.values()
