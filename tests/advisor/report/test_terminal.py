"""Summaries as parts: plain in a pipe, in color on a terminal, one line when quiet."""

import io

import pytest
from rich.console import Console

from advisor.report.terminal import STYLES, Grid, KeyValues, Line, StyledText, draw, plain, show

PARTS = [
    Line(text="head_only: the advice", style="title", result=True),
    KeyValues(rows=[("images", "40 in 2 classes, a sentence that is as long as it has to be to need a second line")]),
    Grid(
        rows=[
            ["stage", "weights", "head"],
            ["stem", "496", StyledText(text="frozen", style="frozen")],
            ["classifier", "2,562", StyledText(text="new lr 0.001", style="new")],
        ],
        right=[1],
    ),
    Line(text="a \x1b[31mhostile\nname [bold]", style="warning", indent=2),
]


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self):
        """Says so."""
        return True


def test_plain_text_has_numbers_below_each_other():
    """No color, no control character, no line that ends in a space."""
    lines = plain(PARTS).splitlines()
    assert lines[2:5] == [
        "  stage       weights  head",
        "  stem            496  frozen",
        "  classifier    2,562  new lr 0.001",
    ]
    assert lines[5] == "  a \\x1b[31mhostile\\nname [bold]"
    assert all(line.isprintable() and line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_the_same_words_in_color(width):
    """Within its width; names are neither commands nor markup."""
    stream = io.StringIO()
    draw(PARTS, Console(file=stream, width=width, force_terminal=True, color_system="standard", highlight=False))
    shown = stream.getvalue()
    assert "\x1b[36mfrozen" in shown
    plain_console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    draw(PARTS, plain_console)
    words = plain_console.file.getvalue()
    assert set(plain(PARTS).split()) <= set(words.split())
    assert all(len(line) <= width for line in words.splitlines())
    assert "\x1b[31mhostile" not in shown


def test_color_is_for_terminals_alone(monkeypatch):
    """A pipe and `NO_COLOR` get plain text."""
    printed = {}
    for name, stream, no_color in (
        ("pipe", io.StringIO(), ""),
        ("terminal", Terminal(), ""),
        ("no color", Terminal(), "1"),
    ):
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stdout", stream)
        show(PARTS)
        printed[name] = stream.getvalue()
    assert printed["pipe"] == printed["no color"] == plain(PARTS) + "\n"
    assert "\x1b[" in printed["terminal"]
    assert {part.style for part in PARTS if isinstance(part, Line)} <= set(STYLES)


def test_quiet_is_one_line(advisor, photos):
    """The result and nothing else; what is wrong is still said."""
    code, printed, errors = advisor("profile", photos, "--quiet")
    assert (code, printed, errors) == (0, f"{photos}: 40 images in 2 classes\n", "")
    code, printed, errors = advisor("profile", photos / "missing", "--quiet")
    assert (code, printed) == (2, "")
    assert errors.startswith("advisor: Expected")
