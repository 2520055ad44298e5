"""What test modules import: the root folder of the project, and marks for optional packages."""

from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
# Networks of many layers, whose tests take much longer than those of others.
DEEP = (
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3", "EfficientNetLite1",
    "EfficientNetLite2", "EfficientNetV2B0", "EfficientNetV2S", "InceptionV3", "NASNetMobile", "ResNet50V2", "Xception",
)  # fmt: skip


def deep_are_slow(names):
    """Returns the parameters of a test of these backbones: `pytest -m slow` runs it on those of many layers."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name for name in names]
