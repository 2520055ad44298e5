"""How much accuracy a user gives for time, as rows."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Preference:
    """How much accuracy a user gives for time.

    Attributes:
        name: `accuracy`, `balanced` or `speed`.
        tolerance: The cheapest recipe is advised that is expected to lie within this of the best; a fraction.
        words: What it is for.
    """

    name: str
    tolerance: float
    words: str


PREFERENCES: dict[str, Preference] = {
    row.name: row
    for row in (
        Preference(name="accuracy", tolerance=0.0, words="the recipe that is expected to reach the most"),
        Preference(name="balanced", tolerance=0.005, words="the cheapest within half a point of it"),
        Preference(name="speed", tolerance=0.02, words="the cheapest within two points of it"),
    )
}
BALANCED = "balanced"


def get_preference(name: str) -> Preference:
    """Returns the preference of that name.

    Raises:
        UnknownNameError: If there is no such preference.
    """
    if name not in PREFERENCES:
        raise unknown_name("preference", name, PREFERENCES)
    return PREFERENCES[name]
