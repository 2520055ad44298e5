"""Which weights a network gets: Keras' cache, Keras' download, or the backbone that lies in this package."""

from __future__ import annotations

import os
import threading
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from strategies.errors import UserError, WeightsError
from strategies.networks.backbones import BACKBONES, Backbone, get_backbone, resolve_weights
from strategies.networks.network import PretrainedNetwork

BUNDLED = "bundled"
BUNDLED_BACKBONE = "MobileNetV2-0.35"
BUNDLED_FILE = Path(__file__).parent / "bundled" / "mobilenetv2_0.35.weights.h5"
BUNDLED_IMAGE_SIZE = 96  # the input size that it does best at; it was trained at 64 px
DEFAULTS = ("MobileNetV2", "MobileNetV2-0.35")  # where no backbone is named: the first whose weights can be had
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
SECONDS_TO_ANSWER = 1.5


@dataclass(frozen=True, kw_only=True)
class NetworkChoice:
    """The network that is transferred and, where the user left it open, one sentence on why this one.

    Attributes:
        network: At the input size that its weights do best at.
        note: The sentence; empty where the user named the network.
    """

    network: PretrainedNetwork
    note: str = ""


def choose_network(backbone: str | None = None, weights: str = "auto") -> NetworkChoice:
    """Decides which network is transferred where the user leaves it open.

    Args:
        backbone: A name that `advisor backbones` lists, or `None`.
        weights: `"auto"`: the ImageNet weights of a named backbone (a user's own model keeps its own). Without a name:
            MobileNetV2 from Keras' cache or by download, else a smaller backbone from the cache, else the backbone in
            this package. `"bundled"` is that one. Anything else is kept: `"imagenet"`, `"random"`, the path of a file.

    Raises:
        UnknownNameError: If there is no such backbone.
        WeightsError: If the weights of a named backbone are not available, or `"bundled"` is asked of another backbone.

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
        if chosen == "imagenet" and not is_cached(row) and not can_download():
            raise WeightsError(missing(row, f"no answer from {_host()} within {SECONDS_TO_ANSWER:g} s"))
        return _choice(row.name, chosen)
    if is_cached(BACKBONES[DEFAULTS[0]]) or can_download():
        return _choice(DEFAULTS[0], "imagenet")
    why = f"The ImageNet weights of {DEFAULTS[0]} are not in {keras_cache()}, and there is no network to fetch them"
    for name in DEFAULTS[1:]:
        if is_cached(BACKBONES[name]):
            return _choice(name, "imagenet", f"{why}: using those of {name}, which are.")
    note = f"{why}: using the small network in this package, whose features are weaker."
    return _choice(BUNDLED_BACKBONE, BUNDLED, note)


def _choice(backbone: str, weights: str, note: str = "") -> NetworkChoice:
    size = native_size(get_backbone(backbone), weights)
    return NetworkChoice(network=PretrainedNetwork(backbone=backbone, weights=weights, image_size=size), note=note)


def native_size(backbone: Backbone, weights: str) -> int:
    """Returns the input size in pixels that these weights do best at."""
    return BUNDLED_IMAGE_SIZE if weights == BUNDLED else backbone.image_size


def keras_cache() -> Path:
    """Returns the folder in which Keras keeps the weights that it downloaded."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def weights_files(backbone: Backbone, sizes: list[int], *, dense: bool = False) -> dict[str, int]:
    """Returns the names of Keras' files for some input sizes."""
    top = "" if dense else "_notop"
    return {backbone.weights_file.format(size=size, top=top): size for size in sizes}


def sizes_to_load(backbone: Backbone, image_size: int, weights_size: int | None = None) -> list[int]:
    """Returns the input sizes whose ImageNet file may serve, the first choice first; see `build_backbone`.

    Raises:
        UserError: If there is no file for `weights_size`.
    """
    size = weights_size or image_size
    if size in backbone.weights_sizes:
        return [size, backbone.image_size] if weights_size is None else [size]
    if backbone.weights_sizes and weights_size is not None:
        raise UserError(
            f"{backbone.name} has ImageNet weights for {', '.join(map(str, backbone.weights_sizes))} px. "
            f"Received: weights_size={size}. Name one of them."
        )
    return [backbone.image_size]


def weights_path(network: PretrainedNetwork, weights_size: int | None = None, *, dense: bool = False) -> Path | None:
    """Returns the file that `build_backbone` would load, or `None` where there is none yet or none at all.

    Args:
        network: Which backbone, with which weights, at which input size.
        weights_size: As in `build_backbone`.
        dense: Whether the fully connected stage is kept.
    """
    backbone, weights = network.row, network.weights
    if backbone.model is not None or weights in ("own", "random"):
        return None
    if weights == BUNDLED:
        return bundled_file(backbone)
    if weights not in ("auto", "imagenet"):
        return Path(weights) if Path(weights).is_file() else None
    names = weights_files(backbone, sizes_to_load(backbone, network.image_size, weights_size), dense=dense)
    return next((keras_cache() / name for name in names if (keras_cache() / name).is_file()), None)


def is_cached(backbone: Backbone) -> bool:
    """Returns whether Keras' cache holds the weights of a backbone for its own input size, which serve at any size."""
    files = [weights_files(backbone, [backbone.image_size], dense=dense) for dense in (False, True)]
    return any((keras_cache() / name).is_file() for found in files for name in found)


@cache
def can_download() -> bool:
    """Returns whether Keras' server answers, within a second and a half; asked once in a process."""
    request = urllib.request.Request(
        KERAS_URL + next(iter(weights_files(BACKBONES[BUNDLED_BACKBONE], [224]))), method="HEAD"
    )
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER):
                answers.append(True)
        except Exception:  # no network has many faces: names, routes, proxies, certificates, time
            answers.append(False)

    # In a thread, since looking up a name has no time limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS_TO_ANSWER)
    return answers == [True]


def missing(backbone: Backbone, reason: str, name: str | None = None) -> str:
    """Returns what to say where the ImageNet weights of a backbone, the file `name` of them, cannot be had."""
    name = name or next(iter(weights_files(backbone, [backbone.image_size])))
    return (
        f"Expected the ImageNet weights of {backbone.name}, which Keras could not fetch ({reason}). Put {name} "
        f"into {keras_cache()}, give --weights PATH of a weights file, or leave the backbone out and use the small "
        f"network in this package with --weights bundled (weights='bundled')."
    )


def bundled_file(backbone: Backbone) -> Path:
    """Returns the file of the weights in this package.

    Raises:
        WeightsError: If they are not of this backbone.
    """
    if backbone.name != BUNDLED_BACKBONE:
        raise WeightsError(
            f"Expected {BUNDLED_BACKBONE}, whose weights are in this package. Received: weights 'bundled' for "
            f"{backbone.name}. Leave the backbone out."
        )
    return BUNDLED_FILE


def _host() -> str:
    return KERAS_URL.split("/")[2]
