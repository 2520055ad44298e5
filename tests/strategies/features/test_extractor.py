"""A frozen network in the cache: built and converted once, then neither Keras nor its backend is needed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from support import needs_openvino

from strategies.data.pixels import Pixels
from strategies.features import background as aside
from strategies.features import extractor as tapped
from strategies.features.extraction import stage_network

IMPORTED = """
import sys
from advisor import cli
try:
    cli.main()
finally:
    print("IMPORTED", *sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A cache that no other test has filled, and a process that has seen no image yet."""
    monkeypatch.setattr(tapped, "_SEEN", {})
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ADVISOR_ENGINE", raising=False)
    return tmp_path / "cache"


def _network(weights="auto", cache=True):
    return stage_network("MobileNetV2-0.35", ["stem", "stage2"], image_size=32, weights=weights, cache=cache)


@needs_openvino
def test_a_network_is_converted_once_and_other_images_need_no_keras(
    photos, pretrained_weights, own_folder, monkeypatch
):
    """What it says of them is what Keras says."""
    first, others = (Pixels(sorted((photos / name).iterdir()), 32) for name in ("china", "flower"))
    _network().run(first, description="Frozen pass")
    monkeypatch.setattr(tapped.Tapped, "convert", None)
    monkeypatch.setattr("strategies.networks.pretrained.build_backbone", None)
    found = _network().run(others, description="Frozen pass")
    monkeypatch.undo()
    for one, expected in zip(found, _network(cache=False).run(others, description="Frozen pass"), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


@needs_openvino
def test_an_image_goes_through_a_network_once_in_a_process(photos, pretrained_weights, own_folder, monkeypatch):
    """Another set of images that holds it, in another order, sends only the others through."""
    files = sorted((photos / "china").iterdir())
    (expected,) = stage_network("MobileNetV2-0.35", ["stage6"], image_size=32, weights="auto", cache=False).run(
        Pixels(files, 32), description="Frozen pass"
    )
    network = stage_network("MobileNetV2-0.35", ["stage6"], image_size=32, weights="auto", cache=True)
    counts = []
    runner = network._pass
    monkeypatch.setitem(vars(network), "_pass", lambda images, text: counts.append(len(images)) or runner(images, text))
    for chosen in ([0, 1, 2, 3], [5, 3, 4, 0, 5], [0, 5, 1]):
        (found,) = network.run(Pixels([files[index] for index in chosen], 32), description="Frozen pass")
        np.testing.assert_allclose(found, expected[chosen], rtol=1e-3, atol=1e-4)
    assert counts == [4, 2]


@needs_openvino
def test_what_cannot_be_converted_is_computed_by_keras_and_said(
    photos, pretrained_weights, own_folder, monkeypatch, capsys
):
    """The result is the one without OpenVINO, bit for bit."""

    monkeypatch.setattr(aside, "_make_aside", lambda makers: ["no such operation"] * len(makers))
    images = Pixels(sorted((photos / "china").iterdir())[:4], 32)
    found = _network().run(images, description="Frozen pass")
    assert "OpenVINO cannot convert MobileNetV2-0.35 (no such operation): Keras computes" in capsys.readouterr().err
    expected = _network(cache=False).run(images, description="Frozen pass")
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))


def test_random_weights_leave_nothing_in_the_cache(photos, own_folder):
    """They are others each time."""
    images = Pixels(sorted((photos / "china").iterdir())[:4], 32)
    assert len(_network("random").run(images, description="Frozen pass")) == 2
    assert not own_folder.exists()


@needs_openvino
def test_advice_imports_neither_keras_nor_tensorflow(photos, pretrained_weights, own_folder, tmp_path):
    """Nor what OpenVINO reports its use by, nor scikit-learn; networks are converted aside."""
    command = ("recommend", "--backbone", "MobileNetV2-0.35", "--image-size", "32")
    others = tmp_path / "others"
    for name in ("china", "flower"):
        shutil.copytree(photos / name, others / name, ignore=shutil.ignore_patterns("*9.png"))
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *command, str(others)], capture_output=True, text=True, check=True
    )
    assert "MobileNetV2-0.35" in done.stdout
    imported = set(done.stderr.partition("IMPORTED")[2].split())
    assert "openvino" in imported
    assert not {"tensorflow", "keras", "openvino_telemetry", "sklearn", "scipy", "pandas"} & imported
