"""What commands print: the parts of a summary, as plain text or in color on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strategies.display.html import printable

if TYPE_CHECKING:
    from rich.console import Console

# What the colors mean. The words say it too: without color nothing is lost.
STYLES = {
    "frozen": "cyan",
    "trained": "yellow",
    "new": "green",
    "removed": "bright_black",
    "title": "bold",
    "good": "green",
    "bad": "red",
    "warning": "yellow",
    "quiet": "bright_black",
}


@dataclass(frozen=True, kw_only=True)
class StyledText:
    """Text with a style, a key of `STYLES`."""

    text: str
    style: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of text.

    Attributes:
        text: The text.
        style: A key of `STYLES`, or nothing.
        indent: Spaces before it.
        result: Whether it is what a command prints with `--quiet`.
        copied: Whether it is meant to be copied: no line breaks are put into it.
    """

    text: str
    style: str = ""
    indent: int = 0
    result: bool = False
    copied: bool = False


@dataclass(frozen=True, kw_only=True)
class KeyValues:
    """Rows of a name and its value."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table, its header first; `right` are the indices of right-aligned columns."""

    rows: Sequence[Sequence[str | StyledText]]
    right: Sequence[int] = ()
    indent: int = 2


Part = Line | KeyValues | Grid


def plain(parts: Sequence[Part]) -> str:
    """Returns parts as plain text, for a pipe, a file and `str`."""
    lines = []
    for part in parts:
        if isinstance(part, Line):
            lines.append(" " * part.indent + printable(part.text))
        elif isinstance(part, KeyValues):
            width = max((len(name) for name, _ in part.rows), default=0)
            lines += [f"  {printable(name):<{width}}  {printable(value)}" for name, value in part.rows]
        else:
            lines += [" " * part.indent + line for line in _aligned(part)]
    return "\n".join(lines)


def _aligned(grid: Grid) -> list[str]:
    rows = [[printable(text_of(cell)) for cell in row] for row in grid.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = [
        [
            cell.rjust(width) if column in grid.right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    return ["  ".join(row).rstrip() for row in padded]


def text_of(cell: str | StyledText) -> str:
    """Returns the text of a cell."""
    return cell.text if isinstance(cell, StyledText) else cell


def show(parts: Sequence[Part], *, quiet: bool = False) -> None:
    """Prints parts on stdout: in color on a terminal; plain into a pipe or with `NO_COLOR`.

    Args:
        parts: The parts of a summary.
        quiet: Whether to print only the result.
    """
    if quiet:
        print(plain([part for part in parts if isinstance(part, Line) and part.result]))
    elif sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        draw(parts, Console(highlight=False))
    else:
        print(plain(parts))


def draw(parts: Sequence[Part], console: Console) -> None:
    """Draws parts on a Rich console, in its full width."""
    from rich.padding import Padding
    from rich.text import Text

    for part in parts:
        if isinstance(part, Line) and part.copied:
            console.print(Text(printable(part.text), STYLES.get(part.style, "")), soft_wrap=True)
        elif isinstance(part, Line):
            console.print(Padding(Text(printable(part.text), STYLES.get(part.style, "")), (0, 0, 0, part.indent)))
        elif isinstance(part, KeyValues):
            console.print(_draw_key_values(part))
        else:
            console.print(_draw_grid(part))


def _draw_key_values(values: KeyValues) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=STYLES["quiet"], no_wrap=True)
    table.add_column()
    for name, value in values.rows:
        table.add_row(Text(f"  {printable(name)}"), Text(printable(value)))
    return table


def _draw_grid(grid: Grid) -> Any:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1), show_edge=False)
    for column, cell in enumerate(grid.rows[0]):
        table.add_column(Text(printable(text_of(cell))), justify="right" if column in grid.right else "left")
    for row in grid.rows[1:]:
        table.add_row(
            *(
                Text(printable(text_of(cell)), STYLES[cell.style] if isinstance(cell, StyledText) else "")
                for cell in row
            )
        )
    return Padding(table, (0, 0, 0, grid.indent))
