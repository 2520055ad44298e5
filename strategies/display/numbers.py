"""Numbers in words, as all reports and outputs show them."""

from __future__ import annotations


def share(value: float | None) -> str:
    """Returns a fraction as a percentage; a dash for `None`.

    Example:
        >>> from strategies.display.numbers import share
        >>> share(0.9134), share(None)
        ('91.3%', '–')
    """
    return "–" if value is None else f"{value:.1%}"


def duration(seconds: float | None) -> str:
    """Returns a time in the unit that suits it, with about two digits; a dash for `None`.

    Example:
        >>> from strategies.display.numbers import duration
        >>> duration(0.234), duration(41.2), duration(104), duration(754), duration(8000), duration(None)
        ('0.23 s', '41 s', '1.7 min', '13 min', '2.2 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.2g} s"
    unit, value = ("min", seconds / 60) if seconds < 5_970 else ("h", seconds / 3_600)
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:,.0f} {unit}"
