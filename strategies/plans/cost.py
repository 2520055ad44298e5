"""The expected cost of carrying out a plan, in time and memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RecipeCost:
    """The expected cost of a recipe on this machine.

    Attributes:
        seconds: Time of the whole training if no phase ends early.
        seconds_per_epoch: Time between two evaluations on the validation images in the last phase. `None` where the
            head is solved exactly.
        memory: Expected peak memory of the process, in bytes. `None` where the system does not report it.
    """

    seconds: float
    seconds_per_epoch: float | None
    memory: int | None
