"""How much accuracy a user gives for time, as rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from strategies.errors import unknown_name

if TYPE_CHECKING:
    from strategies.plans.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Preference:
    """How much accuracy a user gives for time.

    Attributes:
        name: `accuracy`, `balanced` or `speed`.
        tolerance: The cheapest recipe is advised that is expected to lie within this of the best; a fraction.
        refit: Whether a recipe that is trained by steps has the refit that its plan asks for, which doubles its time.
        words: What it is for.
    """

    name: str
    tolerance: float
    refit: bool
    words: str

    def applied(self, plan: Plan) -> Plan:
        """Returns a plan as this preference wants it. The refit of a head alone stays: it hardly takes time."""
        return replace(plan, refit=False) if has_long_refit(plan) and not self.refit else plan


PREFERENCES: dict[str, Preference] = {
    row.name: row
    for row in (
        Preference(name="accuracy", tolerance=0.0, refit=True, words="the recipe that is expected to reach the most"),
        Preference(name="balanced", tolerance=0.005, refit=True, words="the cheapest within half a point of it"),
        Preference(name="speed", tolerance=0.02, refit=False, words="the cheapest within two points of it, no refit"),
    )
}
BALANCED = "balanced"


def has_long_refit(plan: Plan) -> bool:
    """Returns whether a plan takes its training steps twice, because it has a refit."""
    return plan.refit and bool(plan.trained_by_steps)


def get_preference(name: str) -> Preference:
    """Returns the preference of that name.

    Raises:
        UnknownNameError: If there is no such preference.
    """
    if name not in PREFERENCES:
        raise unknown_name("preference", name, PREFERENCES)
    return PREFERENCES[name]
