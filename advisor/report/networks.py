"""The freeze map as a picture of the network, one for each phase, and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisor.report.text import cell_text

if TYPE_CHECKING:
    from strategies.plan import Plan


def network_pictures(plan: Plan) -> list[dict[str, Any]]:
    """Returns one picture of the network for each phase: a block for each stage, from the image to the classes."""
    rows, phases = plan.freeze_map, []
    for number, phase in enumerate(plan.phases):
        learning = [row for row in rows if row.cells[number].state in ("trained", "new")]
        weights = sum(row.parameters or 0 for row in learning)
        total = sum(row.parameters or 0 for row in rows if row.origin != "removed")
        how = "solved exactly" if phase.solver == "logistic" else f"{phase.steps:,} steps"
        text = f"{how}; {weights:,} of {total:,} weights learn" if total else how
        phases.append(
            {
                "title": f"Phase {number + 1}, {phase.name}:",
                "text": f"{text}{', kept only if validation says that it helped' if phase.optional else ''}.",
                "blocks": [
                    {
                        "stage": row.stage,
                        "state": row.cells[number].state,
                        "weights": "" if row.parameters is None else brief(row.parameters),
                        "tall": round(1 - place / max(1, len(rows) - 1), 3),
                    }
                    for place, row in enumerate(rows)
                ],
            }
        )
    return phases


def brief(count: int) -> str:
    """Returns a count in at most five characters.

    Example:
        >>> from advisor.report.networks import brief
        >>> brief(640), brief(6_405), brief(415_653), brief(23_508_032)
        ('640', '6.4k', '416k', '23.5M')
    """
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 100 * size else f"{count / size:.0f}{unit}"
    return str(count)


def freeze_table(plan: Plan) -> dict[str, Any]:
    """Returns what each phase does to each stage, in words."""
    return {
        "header": ["stage", "weights", *(phase.name for phase in plan.phases)],
        "rows": [
            [
                row.stage,
                "–" if row.parameters is None else f"{row.parameters:,}",
                *(cell_text(row, cell) for cell in row.cells),
            ]
            for row in plan.freeze_map
        ],
    }
