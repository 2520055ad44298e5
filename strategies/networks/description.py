"""A user's own backbone without its model, as a plan holds it: enough to read the plan and to write its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from strategies.errors import UserError
from strategies.networks.backbones import BACKBONES, Backbone, Preprocessing, Stage

# What only networks of Keras have, and what a plan cannot hold.
_LEFT_OUT = {"name", "constructor", "arguments", "weights_file", "package", "weights_sizes", "top1", "model"}
_DESCRIBED = [item.name for item in fields(Backbone) if item.name not in _LEFT_OUT]


def describe(row: Backbone) -> dict[str, Any]:
    """Returns what a plan holds of a user's own backbone: all but its name and its model.

    Example:
        >>> from strategies.networks.backbones import Backbone, Stage
        >>> from strategies.networks.description import describe
        >>> stages = (Stage(name="early", last_layer="edges"), Stage(name="late", last_layer="parts"))
        >>> row = Backbone(name="tiny", image_size=32, stages=stages, default_cut="early", parameters=400, source="")
        >>> describe(row)["stages"][0]
        {'name': 'early', 'last_layer': 'edges', 'dense': False}
    """
    values = {name: getattr(row, name) for name in _DESCRIBED}
    values["stages"] = [asdict(stage) for stage in row.stages]
    if isinstance(row.preprocessing, Preprocessing):
        values["preprocessing"] = asdict(row.preprocessing)
    return values


def know_described(name: str, description: Mapping[str, Any]) -> None:
    """Adds a backbone that a plan describes, unless its model is known here.

    Its model is loaded when it is built: from a file or a preset, if its name says where that is.

    Args:
        name: Its name.
        description: From `describe`, checked against the schema of a plan.

    Raises:
        UserError: If it has the name of a network of Keras.
    """
    known = BACKBONES.get(name)
    if known is not None and not known.is_own:
        raise UserError(
            f"Expected no description of {name!r}, which is a network of Keras. Received: one in own_backbone. "
            f"Remove it, or correct the name."
        )
    if known is not None and known.model is not None:
        return
    preprocessing = description["preprocessing"]
    if not isinstance(preprocessing, str):
        parts: dict[str, Any] = {key: value and tuple(value) for key, value in preprocessing.items()}
        preprocessing = Preprocessing(**parts)
    stages = tuple(Stage(**stage) for stage in description["stages"])
    BACKBONES[name] = Backbone(name=name, **{**description, "preprocessing": preprocessing, "stages": stages})
