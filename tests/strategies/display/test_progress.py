"""Progress bars and notes on stderr."""

import io

import pytest

from strategies.display.progress import draws, note, redraw, silenced, track


class Terminal(io.StringIO):
    """What is printed on a terminal."""

    def isatty(self):
        """As a terminal says."""
        return True


def _terminal(monkeypatch):
    """Replaces stderr by a terminal. This is not a fixture, since pytest replaces stderr before each test."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def test_a_note_is_one_line_on_stderr(capsys):
    """Nothing goes to stdout, where a command prints its result."""
    note("a note")
    assert capsys.readouterr() == ("", "a note\n")


def test_inside_silenced_nothing_is_shown(monkeypatch):
    """An inner block cannot end the silence of an outer one; after the block, everything is shown again."""
    terminal = _terminal(monkeypatch)
    with silenced():
        note("unread")
        redraw("unread")
        with silenced(False):
            note("unread")
            assert not draws()
        assert list(track(range(3), "Counting")) == [0, 1, 2]
    assert terminal.getvalue() == ""
    with silenced(False):
        assert draws()
        note("read")
    assert terminal.getvalue() == "read\n"


def test_silence_ends_with_the_block_even_after_an_error(capsys):
    """The next command must not be silent."""
    with pytest.raises(ZeroDivisionError), silenced():
        1 / 0  # noqa: B018
    note("read")
    assert capsys.readouterr().err == "read\n"


def test_without_a_terminal_no_progress_is_drawn(capsys):
    """A log file holds no half-drawn lines."""
    redraw("half")
    assert list(track(iter("abc"), "Reading", total=3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_progress_is_drawn(monkeypatch):
    """A line is drawn over the one before, and the items of a progress bar pass through unchanged."""
    terminal = _terminal(monkeypatch)
    redraw("step 1")
    assert terminal.getvalue() == "\rstep 1\033[K"
    assert list(track(iter("abc"), "Reading", total=3)) == ["a", "b", "c"]
    assert "Reading" in terminal.getvalue()
