"""Progress bars and notes on stderr, and a way to silence both."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
_SILENT: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def silenced(silent: bool = True) -> Iterator[None]:
    """Shows neither progress nor notes inside the block.

    Args:
        silent: `False` changes nothing.

    Example:
        >>> from strategies.display.progress import note, silenced
        >>> with silenced():
        ...     note("nobody reads this")
    """
    token = _SILENT.set(silent or _SILENT.get())
    try:
        yield
    finally:
        _SILENT.reset(token)


def note(text: str) -> None:
    """Prints a line to stderr."""
    if not _SILENT.get():
        print(text, file=sys.stderr, flush=True)


def redraw(text: str) -> None:
    """Draws a line over the line drawn before, if stderr is a terminal."""
    if draws():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def draws() -> bool:
    """Returns whether progress is drawn: if stderr is a terminal and progress is not silenced."""
    return sys.stderr.isatty() and not _SILENT.get()


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yields `items`, and draws a progress bar with the remaining time if stderr is a terminal.

    Args:
        items: The items.
        description: Label of the progress bar.
        total: Number of items, if `items` has no length.
    """
    if not draws():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, description=description, total=total)
