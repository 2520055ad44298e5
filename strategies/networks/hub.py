"""Networks of KerasHub as backbones: `hub:PRESET` is loaded when it is first named."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import numpy as np

from strategies.errors import UserError, WeightsError, in_a_sentence
from strategies.networks.backbones import HUB, Backbone, Preprocessing
from strategies.networks.backend import start_keras
from strategies.networks.own_backbone import add_backbone
from strategies.startup import starting

USUAL_SIZE = 224  # px, of a network that takes any size, if its preset names none


def add_preset(name: str) -> Backbone:
    """Loads a preset of KerasHub and adds it to the backbones, with the scaling of its `ImageConverter`.

    Args:
        name: `hub:` and what `keras_hub.models.Backbone.from_preset` takes: the name of a preset, or a folder.

    Raises:
        UserError: If KerasHub is not installed, or if the network cannot be a backbone; see `add_backbone`.
        WeightsError: If the preset cannot be loaded.
    """
    hub, preset = _import_hub(), name.removeprefix(HUB)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where progress of a download belongs
            model = hub.models.Backbone.from_preset(preset)
    except Exception as error:  # of the network, of a file, or of a preset that does not exist
        raise WeightsError(
            f"Expected a preset of KerasHub that can be loaded, or a folder that save_to_preset wrote. Received: "
            f"{preset!r} ({in_a_sentence(error)[:200]}). Check the name and the connection."
        ) from error
    converter = _image_converter(hub, preset)
    takes_any_size = getattr(model, "vision_encoder", model).inputs[0].shape[1] is None
    size = (getattr(converter, "image_size", None) or (USUAL_SIZE,))[0] if takes_any_size else None
    return add_backbone(
        name, model, image_size=size, preprocessing=_scaling(converter), source=f"KerasHub, preset {preset}"
    )


def _import_hub() -> Any:
    start_keras()
    try:
        with starting():
            import keras_hub
    except ImportError as error:
        raise UserError(
            f"Expected KerasHub, which loads the networks whose names start with {HUB!r}. Received: an environment "
            f"without it ({in_a_sentence(error)}). Run: pip install 'transfer-advisor[hub]'."
        ) from error
    return keras_hub


def _image_converter(hub: Any, preset: str) -> Any:
    """Returns the `ImageConverter` of a preset, or `None` if it has none: the network then takes pixels of 0-255."""
    try:
        return hub.layers.ImageConverter.from_preset(preset)
    except Exception:  # KerasHub has no function that says whether there is one
        return None


def _scaling(converter: Any) -> Preprocessing:
    scale, offset = (getattr(converter, part, None) for part in ("scale", "offset"))
    return Preprocessing(
        scale=None if scale is None and offset is None else _per_channel(scale, 1.0), offset=_per_channel(offset, 0.0)
    )


def _per_channel(value: Any, default: float) -> tuple[float, float, float]:
    """Returns three numbers from one, from one per channel, or from none."""
    red, green, blue = np.broadcast_to(np.asarray(default if value is None else value, dtype="float64"), 3).tolist()
    return red, green, blue
