"""What several tests share: scikit-learn's photos, and real datasets and weights where they are there."""

import os
from pathlib import Path

import pytest
from PIL import Image

TILE = 80
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """No test reads or writes the user's cache of features."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ADVISOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        environment.delenv("ADVISOR_CACHE_BYTES", raising=False)
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A class folder: 20 tiles of each of scikit-learn's two photos, as PNG."""
    from sklearn.datasets import load_sample_image

    root = tmp_path_factory.mktemp("data") / "photos"
    for name in ("china", "flower"):
        (root / name).mkdir(parents=True)
        photo = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for index in range(20):
            left, top = TILE * (index % 8), TILE * (index // 8)
            photo.crop((left, top, left + TILE, top + TILE)).save(root / name / f"{index:02}.png")
    return root


@pytest.fixture(scope="session")
def test_data():
    """The folder of real datasets that `ADVISOR_TEST_DATA` names."""
    folder = os.environ.get("ADVISOR_TEST_DATA")
    if not folder:
        pytest.skip("ADVISOR_TEST_DATA does not name a folder of real datasets")
    return Path(folder)


@pytest.fixture(scope="session")
def imagenet_weights():
    """Skips where Keras' cache does not hold the weights of MobileNetV2-0.35."""
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    if not (cache / WEIGHTS).is_file():
        pytest.skip(f"{WEIGHTS} is not in Keras' cache; KERAS_HOME names another one")


@pytest.fixture
def check_freeze_map():
    """A function that holds every tensor of a model against its plan, at the end of a phase: frozen is bit-equal."""
    import keras
    import numpy as np

    from strategies.model import layers_by_stage, snapshot

    def check(phase, model, before, plan):
        rows, after, counts = {row.stage: row for row in plan.freeze_map}, snapshot(model), {True: 0, False: 0}
        for stage, names in layers_by_stage(model, plan).items():
            cell = next(cell for cell in rows[stage].cells if cell.phase == phase.name)
            for layer in map(model.get_layer, names):
                held = cell.state == "frozen"
                if isinstance(layer, keras.layers.BatchNormalization):
                    assert len(layer.weights) == 4
                    held = held or cell.batch_norm == "inference"
                for weight in layer.weights:
                    if phase.solver == "logistic" and weight.path == "classifier/bias":
                        assert not after[weight.path].any()  # the exact head has none
                        continue
                    same = np.array_equal(before[weight.path], after[weight.path])
                    assert same == held, f"{weight.path} in {phase.name}: {cell}"
                    counts[held] += 1
        return counts[True], counts[False]

    return check
