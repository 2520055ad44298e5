"""Feature extractors: a network is converted once; after that, neither Keras nor its backend is needed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from support import needs_openvino

from strategies.data.pixels import Pixels
from strategies.features import background, extractor
from strategies.features.cache import default_cache
from strategies.features.extraction import stage_extractor
from strategies.networks.network import PretrainedNetwork

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
    monkeypatch.setattr(extractor, "_REMEMBERED", {})
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ADVISOR_ENGINE", raising=False)
    return tmp_path / "cache"


def _extractor(*stages, weights="imagenet", cache=True):
    network = PretrainedNetwork(backbone="MobileNetV2-0.35", weights=weights, image_size=32)
    return stage_extractor(network, stages or ("stem", "stage2"), cache=default_cache() if cache else None)


@needs_openvino
def test_a_network_is_converted_once_and_other_images_need_no_keras(
    photos, pretrained_weights, own_folder, monkeypatch
):
    """The output for them is that of Keras."""
    first, others = (Pixels(sorted((photos / name).iterdir()), 32) for name in ("china", "flower"))
    _extractor().run(first, description="Frozen pass")
    monkeypatch.setattr(background, "_run_in_process", None)
    monkeypatch.setattr("strategies.networks.pretrained.build_backbone", None)
    found = _extractor().run(others, description="Frozen pass")
    monkeypatch.undo()
    for output, expected in zip(found, _extractor(cache=False).run(others, description="Frozen pass"), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


@needs_openvino
def test_an_image_goes_through_a_network_once_in_a_process(photos, pretrained_weights, own_folder, monkeypatch):
    """If another set of images holds it as well, only the other images are computed, whatever their order."""
    files = sorted((photos / "china").iterdir())
    (expected,) = _extractor("stage6", cache=False).run(Pixels(files, 32), description="Frozen pass")
    cached = _extractor("stage6")
    counts = []
    runner = cached._pass
    monkeypatch.setitem(vars(cached), "_pass", lambda images, text: counts.append(len(images)) or runner(images, text))
    for chosen in ([0, 1, 2, 3], [5, 3, 4, 0, 5], [0, 5, 1]):
        (found,) = cached.run(Pixels([files[index] for index in chosen], 32), description="Frozen pass")
        np.testing.assert_allclose(found, expected[chosen], rtol=1e-3, atol=1e-4)
    assert counts == [4, 2]


@needs_openvino
def test_keras_computes_a_network_that_cannot_be_converted(photos, pretrained_weights, own_folder, monkeypatch, capsys):
    """A note says so; the result is the one without OpenVINO, bit for bit."""
    monkeypatch.setattr(background, "_run_in_process", lambda makers: ["no such operation"] * len(makers))
    images = Pixels(sorted((photos / "china").iterdir())[:4], 32)
    found = _extractor().run(images, description="Frozen pass")
    assert "OpenVINO cannot convert MobileNetV2-0.35 (no such operation): Keras computes" in capsys.readouterr().err
    expected = _extractor(cache=False).run(images, description="Frozen pass")
    assert all((output == wanted).all() for output, wanted in zip(found, expected, strict=True))


def test_random_weights_leave_nothing_in_the_cache(photos, own_folder):
    """They differ each time."""
    images = Pixels(sorted((photos / "china").iterdir())[:4], 32)
    assert len(_extractor(weights="random").run(images, description="Frozen pass")) == 2
    assert not own_folder.exists()


@needs_openvino
def test_advice_imports_neither_keras_nor_tensorflow(photos, pretrained_weights, own_folder, tmp_path):
    """Nor OpenVINO's telemetry nor scikit-learn; networks are converted in the background."""
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
