"""Pretrained networks as text: what is known of each, and how they did on the user's images."""

from __future__ import annotations

from collections.abc import Sequence

from advisor.measure.backbones import BackboneComparison, MeasuredBackbone
from advisor.report.terminal import Grid, Line, Part, StyledText
from strategies.networks.backbones import Backbone
from strategies.networks.weights import is_cached


def list_parts(rows: Sequence[Backbone]) -> list[Part]:
    """Returns the table of pretrained networks."""
    table: list[list[str | StyledText]] = [["network", "input", "weights", "size", "ImageNet", "here"]]
    for row in rows:
        accuracy = "" if row.top1 is None else f"{row.top1:.1f}%"
        size = f"{row.megabytes:,.1f} MB"
        here = "yes" if is_cached(row) else "no"
        table.append([row.name, f"{row.image_size} px", f"{row.parameters / 1e6:.1f} M", size, accuracy, here])
    return [
        Grid(rows=table, right=[1, 2, 3, 4]),
        Line(text=""),
        Line(text="ImageNet: published top-1 accuracy. Here: whether the weights are on this machine."),
        Line(text="'advisor backbones PHOTOS/' measures those that are here on your images."),
    ]


def compared_parts(found: BackboneComparison) -> list[Part]:
    """Returns the networks that were measured, the recommended one first."""
    table: list[list[str | StyledText]] = [["network", "input", "accuracy", "95% sure", "per image", "size", ""]]
    for row in found.rows:
        table.append(
            [
                row.network.backbone,
                f"{row.network.image_size} px",
                f"{row.accuracy:.1%}",
                f"{100 * row.low:.0f} to {row.high:.0%}",
                f"{row.milliseconds:.1f} ms",
                f"{row.megabytes:,.1f} MB",
                _mark(row, found),
            ]
        )
    return [
        Line(text=_result(found), style="title", result=True),
        Line(text=""),
        Grid(rows=table, right=[1, 2, 3, 4, 5]),
        Line(text=""),
        Line(
            text=f"accuracy   of a new head; {found.num_images:,} images, each held out once; chance {found.chance:.0%}"
        ),
        Line(text="per image  on this machine, in a pass over many, without decoding"),
        Line(text="*          no other network here is both as accurate and as fast"),
    ]


def _mark(row: MeasuredBackbone, found: BackboneComparison) -> StyledText:
    if row == found.recommended:
        return StyledText(text="recommended", style="good")
    if not row.allowed:
        return StyledText(text="over the limit", style="quiet")
    return StyledText(text="*" if row.efficient else "", style="quiet")


def _result(found: BackboneComparison) -> str:
    best = found.recommended
    if best is None:
        return "No network is within the limits."
    name, size = best.network.backbone, best.network.image_size
    return f"Use --backbone {name} --image-size {size}: {best.accuracy:.1%} with a new head."
