"""Names of classes and files are data in every report."""

import pytest

from advisor.report.markdown import escape
from advisor.report.text import printable


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b", "![x](y)", "`rm`", "*b*", "# h"])
def test_markup_in_a_name_is_inert_in_markdown(name):
    """Every character that Markdown or HTML would read is escaped."""
    escaped = escape(name)
    for place, one in enumerate(escaped):
        if one in "`*_{}[]<>|#":
            assert escaped[place - 1] == "\\"


def test_control_characters_cannot_steer_a_terminal():
    """Escape sequences and newlines are shown, not sent."""
    assert printable("a\x1b[31mb\nc") == "a\\x1b[31mb\\nc"
