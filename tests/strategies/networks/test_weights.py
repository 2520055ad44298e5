"""The weights of a network: from the cache, by download, or bundled."""

import http.server
import json
import threading
import time

import h5py
import numpy as np
import pytest

import advisor
from advisor.measure.similarity import default_ruler, measure_similarity
from advisor.report.text import summarize
from strategies.data.loading import load_dataset
from strategies.errors import UnknownNameError, WeightsError
from strategies.features.extraction import extract_features
from strategies.networks import weights
from strategies.networks.backbones import BACKBONES, get_backbone
from strategies.networks.pretrained import build_backbone
from strategies.networks.weights import (
    BUNDLED_FILE,
    BUNDLED_IMAGE_SIZE,
    can_download,
    choose_network,
    native_size,
    weights_files,
)
from strategies.training.head import cross_validate, make_folds


def _put(cache, name):
    cache.mkdir(parents=True, exist_ok=True)
    for file in weights_files(BACKBONES[name], [BACKBONES[name].image_size]):
        with h5py.File(cache / file, "w") as written:
            written["weights"] = np.zeros(1000)


def _cut(path):
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def test_without_a_name_and_without_internet_the_bundled_backbone_is_used(no_network):
    """A note says so."""
    chosen = choose_network()
    assert (chosen.network.backbone, chosen.network.weights) == ("MobileNetV2-0.35", "bundled")
    assert "MobileNetV2 are not in" in chosen.note
    assert "small network in this package" in chosen.note
    assert "\n" not in chosen.note


def test_an_installed_package_with_weights_comes_before_the_bundled_backbone(no_network, monkeypatch, tmp_path):
    """EfficientNet-Lite0 has better features than the smaller networks; a note names it."""
    row = BACKBONES["EfficientNetLite0"]
    folder = tmp_path / "installed" / row.package
    (folder / row.weights_file).parent.mkdir(parents=True)
    for file in (row.weights_file, "__init__.py"):
        (folder / file).touch()
    monkeypatch.setattr("strategies.networks.weights.DEFAULTS", ("MobileNetV2", row.name, "MobileNetV2-0.35"))
    monkeypatch.syspath_prepend(folder.parent)
    _put(no_network, "MobileNetV2-0.35")
    chosen = choose_network()
    assert (chosen.network.backbone, chosen.network.image_size) == (row.name, 224)
    assert "using EfficientNetLite0, whose weights are on this machine" in chosen.note


@pytest.mark.parametrize(("cached", "expected"), [("MobileNetV2", "MobileNetV2"), ("MobileNetV2-0.35",) * 2])
def test_what_is_in_the_cache_comes_first(no_network, cached, expected):
    """The default backbone, or a smaller one; a note names the latter."""
    _put(no_network, cached)
    chosen = choose_network()
    assert (chosen.network.backbone, chosen.network.weights) == (expected, "imagenet")
    assert bool(chosen.note) == (expected != "MobileNetV2")


def test_a_named_backbone_without_weights_is_an_error_that_says_what_to_do(no_network):
    """A named backbone is never replaced by another."""
    for weights_given in ("auto", "imagenet"):
        with pytest.raises(WeightsError, match="--weights bundled"):
            choose_network("ResNet50", weights_given)
    with pytest.raises(WeightsError, match="whose weights are in this package"):
        choose_network("ResNet50", "bundled")
    with pytest.raises(UnknownNameError, match="Did you mean"):
        choose_network("ResNet5")


@pytest.mark.parametrize(("name", "chosen"), [("MobileNetV2", "MobileNetV2-0.35"), ("MobileNetV2-0.35", "bundled")])
def test_a_file_that_is_cut_off_counts_as_missing_where_no_backbone_is_named(no_network, monkeypatch, name, chosen):
    """Also with a network, since Keras does not replace it. The note names the file; a named backbone is an error."""
    _put(no_network, "MobileNetV2-0.35")
    _put(no_network, name)
    (file,) = weights_files(BACKBONES[name], [224])
    _cut(no_network / file)
    monkeypatch.setattr(weights, "can_download", lambda: name == "MobileNetV2")
    found = choose_network()
    assert chosen in (found.network.backbone, found.network.weights)
    assert f"{no_network / file} is cut off or damaged (delete it)" in found.note
    with pytest.raises(WeightsError, match=r"cut off or damaged \(.*truncated.*\)\. Delete it"):
        choose_network(name)
    assert (default_ruler().weights == "bundled") == (name == "MobileNetV2-0.35")


def test_named_weights_are_kept(no_network):
    """Random weights and files are checked later, by the code that loads them."""
    assert choose_network("ResNet50", "random").network.weights == "random"
    assert choose_network("ResNet50", "mine.weights.h5").network.weights == "mine.weights.h5"
    assert choose_network("MobileNetV2-0.35", "bundled").network.weights == "bundled"


@pytest.mark.parametrize("answer", [200, 404, None])
def test_weights_can_be_downloaded_if_the_server_answers(monkeypatch, answer):
    """Not if it refuses, and not if it is slower than the time limit."""

    class Server(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            if answer is None:
                time.sleep(3)
            self.send_response(answer or 200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(weights, "KERAS_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(weights, "SECONDS_TO_ANSWER", 1.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    can_download.cache_clear()
    try:
        assert can_download() is (answer == 200)
    finally:
        server.shutdown()
        can_download.cache_clear()


def test_the_bundled_file_is_small_and_in_half_precision():
    """So that the package stays small."""
    import h5py

    assert BUNDLED_FILE.stat().st_size < 1.5e6
    kinds = set()
    with h5py.File(BUNDLED_FILE) as file:
        file.visititems(lambda _, node: kinds.add(str(node.dtype)) if isinstance(node, h5py.Dataset) else None)
    assert kinds == {"float16"}


def test_the_bundled_backbone_is_better_than_a_random_one(test_data):
    """By at least ten points of accuracy on flowers, with a linear classifier on its features."""
    flowers = load_dataset(test_data / "flowers5")
    flowers = flowers.subset(np.random.default_rng(0).permutation(len(flowers))[:300])
    folds, found = make_folds(flowers.labels, 0), {}
    for name in ("bundled", "random"):
        features = extract_features(flowers, "MobileNetV2-0.35", weights=name, image_size=96, cache=False)["stage6"]
        found[name] = cross_validate(features, flowers.labels, folds).correct.mean()
    assert found["bundled"] > found["random"] + 0.1


def test_bundled_weights_are_refused_for_another_backbone():
    """They fit only one network."""
    with pytest.raises(WeightsError, match="Leave the backbone out"):
        build_backbone(get_backbone("MobileNet-0.25"), image_size=96, weights="bundled")
    assert native_size(get_backbone("MobileNetV2-0.35"), "bundled") == BUNDLED_IMAGE_SIZE
    assert native_size(get_backbone("MobileNetV2-0.35"), "imagenet") == 224


def test_similarity_is_measured_with_the_bundled_network_if_there_is_no_other(no_network, photos):
    """The bundled ruler is calibrated as well, and the result names it."""
    assert default_ruler().weights == "bundled"
    found = measure_similarity(photos)
    assert found.calibrated
    assert found.ruler == default_ruler()
    assert 0 < found.score <= 1


def test_advice_without_internet_names_its_weights(no_network, photos, tmp_path):
    """In the plan, in the report and in a caution. If the weights are named, the plan is the same."""
    advice = advisor.recommend(photos, cache=False)
    assert (advice.plan.backbone, advice.plan.weights, advice.plan.image_size) == ("MobileNetV2-0.35", "bundled", 96)
    assert {"other_network", "bundled_ruler"} <= {caution.code for caution in advice.cautions}
    assert "weights bundled" in summarize(advice, verbose=True)
    assert json.loads((advice.save(tmp_path / "advice") / "plan.json").read_text())["weights"] == "bundled"
    named = advisor.recommend(photos, weights="bundled", cache=False)
    assert named.plan.phases == advice.plan.phases
    assert "other_network" not in {caution.code for caution in named.cautions}
