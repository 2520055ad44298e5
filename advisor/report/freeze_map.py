"""The freeze map as pictures of the network, one for each phase, and as a table."""

from __future__ import annotations

from typing import Any

from advisor.report.terminal import StyledText
from strategies.plans.freeze_map import FreezeCell, FreezeRow
from strategies.plans.plan import Plan

FREEZE_NOTE = (
    "Frozen: the weights stay as they are, and BatchNorm is in inference mode. Trained: the weights are updated. New: "
    "trained, and added to the network or built again from its pretrained weights. Removed: not part of the model. lr: "
    "learning rate. BN inference: BatchNorm keeps its pretrained tensors although the rest of the stage is trained. "
    "LayerNorm and GroupNorm have no statistics of their own: they are frozen or trained like their stage."
)


def network_pictures(plan: Plan) -> list[dict[str, Any]]:
    """Returns one picture of the network for each phase: a block for each stage, from the image to the classes."""
    rows, phases = plan.freeze_map, []
    for number, phase in enumerate(plan.phases):
        trained = [row for row in rows if row.cells[number].state in ("trained", "new")]
        weights = sum(row.parameters or 0 for row in trained)
        total = sum(row.parameters or 0 for row in rows if row.origin != "removed")
        how = f"{phase.steps:,} steps" if phase.has_steps else "solved exactly"
        text = f"{how}; {weights:,} of {total:,} weights are trained" if total else how
        phases.append(
            {
                "title": f"Phase {number + 1}, {phase.name}:",
                "text": f"{text}{', kept only if it helps on the validation images' if phase.optional else ''}.",
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
    """Returns a count in five characters or fewer.

    Example:
        >>> from advisor.report.freeze_map import brief
        >>> brief(640), brief(6_405), brief(415_653), brief(23_508_032)
        ('640', '6.4k', '416k', '23.5M')
    """
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 100 * size else f"{count / size:.0f}{unit}"
    return str(count)


def freeze_table(plan: Plan) -> list[list[str | StyledText]]:
    """Returns the freeze map as a table: a header, then for each stage its weights and a cell for each phase."""
    rows: list[list[str | StyledText]] = [["stage", "weights", *(phase.name for phase in plan.phases)]]
    for row in plan.freeze_map:
        weights = "–" if row.parameters is None else f"{row.parameters:,}"
        cells = (StyledText(text=cell_text(row, cell), style=cell.state) for cell in row.cells)
        rows.append([row.stage, weights, *cells])
    return rows


def cell_text(row: FreezeRow, cell: FreezeCell) -> str:
    """Returns what happens to a stage in a phase, in a few words."""
    words = [cell.state]
    if row.origin == "new_from_pretrained" and cell.state == "new":
        words.append("(from pretrained)")
    if cell.learning_rate is not None:
        words.append(f"lr {cell.learning_rate:g}")
    if cell.batch_norm is not None and cell.state in ("trained", "new"):
        words.append(f"BN {cell.batch_norm}")
    return " ".join(words[:2]) + "".join(f", {word}" for word in words[2:])
