"""The script that trains the bundled backbone, on a few photos."""

import h5py
import keras
import numpy as np
import pytest

from strategies.features.forward import forward
from strategies.networks.backbones import get_backbone
from strategies.networks.bundled import train
from strategies.networks.pretrained import build_backbone


@pytest.fixture(scope="module")
def trained(photos, pretrained_weights, tmp_path_factory):
    """The weights file that the script writes after one epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "BATCH_SIZE", 8)
        out = tmp_path_factory.mktemp("bundled") / "small.weights.h5"
        train.main([str(photos), str(out), "--epochs", "1", "--num-held-out", "8"])
    return out


def test_the_script_writes_a_file_that_the_package_reads(trained):
    """The file is in half precision and is read like any other weights file."""
    with h5py.File(trained) as file:
        kinds = set()
        file.visititems(lambda _, node: kinds.add(str(node.dtype)) if isinstance(node, h5py.Dataset) else None)
    assert kinds == {"float16"}
    network = build_backbone(get_backbone(train.BACKBONE), image_size=64, weights=str(trained))
    assert all(np.isfinite(weight).all() for weight in network.get_weights())


def test_the_statistics_are_those_of_the_photos():
    """Mean and variance of the input of a layer over all photos, whatever the earlier statistics were."""
    keras.utils.set_random_seed(0)
    network = train.with_stages(
        build_backbone(get_backbone(train.BACKBONE), image_size=64, weights="random"), "network"
    )
    photos = np.random.default_rng(0).integers(0, 256, (2 * train.BATCH_SIZE, 64, 64, 3), dtype="uint8")
    train.settle_statistics(network, photos)
    first = network.get_layer("bn_Conv1")
    (entering,) = forward(keras.Model(network.input, first.input), photos)
    assert np.allclose(first.moving_mean.numpy(), entering.mean((0, 1, 2)), atol=1e-3)
    assert np.allclose(first.moving_variance.numpy(), entering.var((0, 1, 2)), rtol=0.05)


def test_crops_are_seeded_and_differ_from_epoch_to_epoch():
    """The same seed gives the same training."""
    photos = np.random.default_rng(0).integers(0, 256, (train.BATCH_SIZE, 64, 64, 3), dtype="uint8")
    (crops,), (same,) = train.Crops(photos, 0)[0], train.Crops(photos, 0)[0]
    later = train.Crops(photos, 0)
    later.on_epoch_end()
    assert crops.shape == (train.BATCH_SIZE, 64, 64, 3)
    assert np.array_equal(crops, same)
    assert not np.array_equal(crops, later[0][0])
