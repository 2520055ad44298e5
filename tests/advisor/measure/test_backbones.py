"""Pretrained networks compared on labeled images."""

import json
import re

import pytest

import advisor as package
from strategies.errors import UnknownNameError, UserError

NETWORK = "MobileNetV2-0.35"


@pytest.fixture(scope="module")
def found(photos, pretrained_weights):
    """One network at two input sizes."""
    return package.compare_backbones(photos, [NETWORK], image_sizes=[32, 64])


def test_networks_are_compared_on_the_same_images(found):
    """Each image is held out once; the most accurate network comes first and is recommended."""
    assert (found.num_images, found.chance) == (40, 0.5)
    assert {row.network.image_size for row in found.rows} == {32, 64}
    assert [row.accuracy for row in found.rows] == sorted((row.accuracy for row in found.rows), reverse=True)
    assert all(row.low < row.accuracy <= row.high for row in found.rows)
    assert found.recommended == found.rows[0]
    assert found.rows[0].accuracy > 0.8


def test_a_network_is_efficient_unless_another_beats_it(found):
    """Beaten: another is as accurate and as fast, and better in one of the two."""
    for row in found.rows:
        better = [
            (other.accuracy, -other.milliseconds)
            for other in found.rows
            if other.accuracy >= row.accuracy and other.milliseconds <= row.milliseconds
        ]
        assert row.efficient == (better == [(row.accuracy, -row.milliseconds)])
        assert row.milliseconds > 0
        assert row.megabytes == pytest.approx(1.64, abs=0.01)


def test_limits_rule_networks_out(photos, pretrained_weights):
    """All are shown, and none is recommended if none is small enough."""
    found = package.compare_backbones(photos, [NETWORK], image_sizes=[32], max_mb=1)
    assert [row.allowed for row in found.rows] == [False]
    assert found.recommended is None
    with pytest.raises(UserError, match="limit above 0"):
        package.compare_backbones(photos, max_ms=0)


def test_test_images_take_no_part(photos, pretrained_weights, tmp_path):
    """Where the images are split, only those for training and validation are held out."""
    import pandas as pd

    paths = sorted(photos.glob("*/*.png"))
    table = pd.DataFrame({"path": map(str, paths), "label": [path.parent.name for path in paths]})
    table["split"] = ["test" if index % 2 else "train" for index in range(len(table))]
    assert package.compare_backbones(table, [NETWORK], image_sizes=[32]).num_images == 20


def test_only_networks_whose_weights_are_here_are_tried(photos, no_network, monkeypatch):
    """Without Keras' cache, the bundled one. Nothing is downloaded unless it is named."""
    monkeypatch.setattr("strategies.networks.weights.package_file", lambda row: None)
    found = package.compare_backbones(photos, image_sizes=[32])
    assert [(row.network.backbone, row.network.weights) for row in found.rows] == [(NETWORK, "bundled")]
    with pytest.raises(UnknownNameError, match="MobileNetV2"):
        package.compare_backbones(photos, ["MobileNetV22"])


def test_the_command_measures_and_recommends(advisor, photos, pretrained_weights):
    """A table, one line with --quiet, and JSON."""
    options = ("--try", NETWORK, "--sizes", "32")
    code, out, _ = advisor("backbones", photos, *options)
    assert code == 0
    assert re.search(rf"{NETWORK} +32 px +\d+\.\d% .* ms +1.6 MB +recommended", out)
    assert all(len(line) <= 80 for line in out.splitlines())
    _, line, _ = advisor("backbones", photos, *options, "--quiet")
    assert line.startswith(f"Use --backbone {NETWORK} --image-size 32: ")
    values = json.loads(advisor("backbones", photos, *options, "--json")[1])
    assert values["comparison"]["recommended"]["network"]["backbone"] == NETWORK
    code, out, _ = advisor("backbones", photos, *options, "--max-mb", "1")
    assert (code, out.splitlines()[0]) == (0, "No network is within the limits.")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--try", NETWORK], "--try without images"),
        (["photos", "--sizes", "small"], "whole numbers of pixels"),
    ],
)
def test_options_that_cannot_be_used_are_refused(advisor, photos, options, sentence):
    """With one sentence."""
    options = [photos if option == "photos" else option for option in options]
    code, out, said = advisor("backbones", *options)
    assert (code, out) == (2, "")
    assert sentence in said
