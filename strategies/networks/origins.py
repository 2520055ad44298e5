"""Where the model of a user's own backbone comes from, if its name says it: a preset of KerasHub or a file."""

from __future__ import annotations

from collections.abc import Sequence

from strategies.errors import UserError
from strategies.networks.backbones import BACKBONES, HUB, KERAS_FILE, Backbone, stage_names
from strategies.networks.hub import add_preset
from strategies.networks.own_backbone import add_backbone


def add_named(name: str) -> Backbone:
    """Adds the backbone that a name stands for: `hub:` and a preset, or the path of a `.keras` file.

    Its stages are found, and a model from a file takes pixels of 0-255; see `add_file` for others.

    Raises:
        UserError: If the network cannot be a backbone; see `add_backbone`.
        WeightsError: If the preset cannot be loaded.
    """
    return add_preset(name) if name.startswith(HUB) else add_backbone(name, name)


def add_file(name: str, stages: Sequence[str] | None, preprocessing: str | None) -> Backbone:
    """Adds the model of a `.keras` file, under its path.

    Args:
        name: The path.
        stages: Names of the layers that end the stages, in order. `None`: they are found.
        preprocessing: As in `add_backbone`. `None`: the model takes pixels of 0-255.

    Raises:
        UserError: If the name is not that of a `.keras` file, or if the network cannot be a backbone.
        UnknownNameError: If there is no such layer or preprocessing.
    """
    if not name.endswith(KERAS_FILE):
        raise UserError(
            f"Expected the path of a {KERAS_FILE} file as backbone, since stages and preprocessing are given. "
            f"Received: {name!r}, whose stages and preprocessing are known. Leave them out, or name a file."
        )
    named = None if stages is None else dict(zip(stage_names(len(stages)), stages, strict=True))
    return add_backbone(name, name, stages=named, preprocessing=preprocessing or "none")


def add_described(row: Backbone) -> Backbone:
    """Adds a backbone again that a plan describes, now with its model.

    Raises:
        UserError: If its name does not say where the model is, or if that model has other stages.
        WeightsError: If the preset cannot be loaded.
    """
    if row.name.startswith(HUB):
        added = add_preset(row.name)
    elif row.name.endswith(KERAS_FILE):
        added = add_backbone(
            row.name,
            row.name,
            stages=None if row.found_stages else {stage.name: stage.last_layer for stage in row.stages},
            preprocessing=row.preprocessing,
            default_cut=row.default_cut,
            image_size=row.image_size,
            pooling=row.pooling,
            prefix_tokens=row.prefix_tokens,
            source=row.source,
        )
    else:
        raise UserError(
            f"Expected the model of {row.name!r}. Received: only what a plan says of it. Add it first, with "
            f"strategies.add_backbone."
        )
    if added.stages != row.stages:
        BACKBONES[row.name] = row
        raise UserError(
            f"Expected the network for which the plan was made, with stages that end at {_ends(row)}. Received: "
            f"{row.name!r} with stages that end at {_ends(added)}. Make a new plan."
        )
    return added


def _ends(row: Backbone) -> str:
    return ", ".join(stage.last_layer for stage in row.stages)
