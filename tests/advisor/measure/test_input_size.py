"""The input size that suits images and network."""

import numpy as np
import pytest
from PIL import Image

from advisor.measure.input_size import MAX_PEEKED, fitting_size
from strategies.networks.backbones import get_backbone
from strategies.networks.network import PretrainedNetwork

BACKBONE = "MobileNetV2-0.35"


def _network(backbone=BACKBONE):
    return PretrainedNetwork(backbone=backbone, weights="imagenet", image_size=get_backbone(backbone).image_size)


@pytest.mark.parametrize(
    ("short_side", "size"), [(1, 96), (80, 96), (96, 96), (97, 128), (160, 160), (161, 192), (224, 224), (900, 224)]
)
def test_the_input_is_the_next_multiple_of_32_within_the_limits_of_the_network(short_side, size):
    """Enlarging adds blur, not detail; 96 is the least, the network's own size the most."""
    images = np.zeros((4, short_side, short_side + 10, 3), dtype="uint8")
    assert fitting_size(_network(), list(images)) == size


def test_a_network_may_need_a_larger_input():
    """The smallest input of the backbone is the least."""
    small = [np.zeros((32, 32, 3), dtype="uint8")]
    for backbone in (BACKBONE, "InceptionV3"):
        assert fitting_size(_network(backbone), small) == max(96, get_backbone(backbone).min_image_size)


def test_the_headers_of_a_hundred_files_settle_the_input_size(tmp_path, monkeypatch):
    """They are spread over all of them, and files without a header do not count."""
    Image.new("RGB", (150, 150)).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = [tmp_path / ("broken.png" if index % 3 else "whole.png") for index in range(250)]
    read = []

    def peek(path):
        read.append(path)
        return (150, 150) if path.name == "whole.png" else None

    monkeypatch.setattr("advisor.measure.input_size.peek_size", peek)
    assert fitting_size(_network(), paths) == 160
    assert len(read) <= MAX_PEEKED
    assert fitting_size(_network(), paths[1:2]) == 96
