"""What carrying out a plan is expected to cost, in time and memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RecipeCost:
    """What a recipe is expected to cost on this machine.

    Attributes:
        seconds: All of it, if no phase ends early.
        seconds_per_epoch: From one evaluation on the validation images to the next, in the last phase; `None` where the
            head is solved exactly.
        memory: The most that the process is expected to hold, in bytes; `None` where the system does not tell.
    """

    seconds: float
    seconds_per_epoch: float | None
    memory: int | None
