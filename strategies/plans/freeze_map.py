"""The freeze map: what happens to each stage in each phase. It is derived from a plan, for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strategies.networks.backbones import CLASSIFIER
from strategies.plans.phase import Phase


@dataclass(frozen=True, kw_only=True)
class FreezeCell:
    """What happens to one stage in one phase.

    Attributes:
        phase: Name of the phase.
        state: `frozen`; `trained` (a pretrained stage is trained); `new` (a new or rebuilt stage is trained); or
            `removed`.
        learning_rate: Peak learning rate of the stage. `None` where it is not trained.
        batch_norm: `inference`, or `train` with its momentum. `None` where the stage has no BatchNorm.
    """

    phase: str
    state: str
    learning_rate: float | None
    batch_norm: str | None


@dataclass(frozen=True, kw_only=True)
class FreezeRow:
    """One stage of the freeze map.

    Attributes:
        stage: Name of the stage.
        origin: `pretrained`; `new_from_pretrained` (rebuilt, starting from the pretrained values); `new`; or `removed`.
        parameters: Number of weights. `None` where it has not been counted.
        cells: What happens to the stage in each phase, in order.
    """

    stage: str
    origin: str
    parameters: int | None
    cells: tuple[FreezeCell, ...]


def derive_freeze_map(
    *,
    stages: Sequence[str],
    kept: Sequence[str],
    rebuilt: Sequence[str],
    phases: Sequence[Phase],
    has_batch_norm: bool,
    parameters: Mapping[str, int],
) -> tuple[FreezeRow, ...]:
    """Returns one row for each stage of the backbone, one for its original top, and one for the classifier.

    Args:
        stages: All stages of the backbone, from the input to the output.
        kept: Stages that stay as they are.
        rebuilt: Stages that are built again, starting from their pretrained values.
        phases: The training phases, in order.
        has_batch_norm: Whether the stages of the backbone have BatchNorm.
        parameters: Number of weights of each stage, where it is known.
    """
    rows = []
    for stage in (*stages, "top", CLASSIFIER):
        if stage == CLASSIFIER:
            origin = "new"
        elif stage in rebuilt:
            origin = "new_from_pretrained"
        else:
            origin = "pretrained" if stage in kept else "removed"
        cells = tuple(_cell(stage, origin, phase, has_batch_norm and origin != "new") for phase in phases)
        rows.append(FreezeRow(stage=stage, origin=origin, parameters=parameters.get(stage), cells=cells))
    return tuple(rows)


def _cell(stage: str, origin: str, phase: Phase, has_batch_norm: bool) -> FreezeCell:
    if origin == "removed":
        return FreezeCell(phase=phase.name, state="removed", learning_rate=None, batch_norm=None)
    trained = stage in phase.trains
    state = ("trained" if origin == "pretrained" else "new") if trained else "frozen"
    batch_norm = None
    if has_batch_norm:
        policy = phase.batch_norm.get(stage, {"mode": "inference"}) if trained else {"mode": "inference"}
        batch_norm = f"train, momentum {policy['momentum']:g}" if policy["mode"] == "train" else "inference"
    rate = phase.learning_rate.get(stage) if trained else None
    return FreezeCell(phase=phase.name, state=state, learning_rate=rate, batch_norm=batch_norm)
