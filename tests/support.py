"""What test modules import: the root folder of the project, and marks for optional packages."""

from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
QUICK = ("EfficientNetB0", "EfficientNetLite0", "VGG16")  # to build, as are all MobileNets


def deep_are_slow(names):
    """Returns the parameters of a test of these backbones: `pytest -m slow` runs it on those of many layers."""
    return [
        pytest.param(name, marks=[] if name in QUICK or name.startswith("MobileNet") else pytest.mark.slow)
        for name in names
    ]
