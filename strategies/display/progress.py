"""Progress and notes, on stderr: a bar for what takes longer than two seconds, and a way to silence both."""

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
    """Draws a line over the one drawn before, where stderr is a terminal."""
    if draws():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def draws() -> bool:
    """Returns whether progress is drawn: on a terminal that is not silenced."""
    return sys.stderr.isatty() and not _SILENT.get()


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yields `items`, and draws a bar with rate and time left on stderr if stderr is a terminal.

    Args:
        items: What to go through.
        description: What is being done, in a few words.
        total: Number of items, where `items` has no length.
    """
    if not draws():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, description=description, total=total)
