"""HTML in which every text is escaped."""

import jinja2
import pytest

from strategies.display.html import MAX_CHARACTERS, data_uri, printable, render


def _render(**context):
    return render(
        "result.html",
        **{"title": "", "sentence": "", "warnings": [], "charts": [], "rows": [], "confusion": None} | context,
    )


def test_text_is_escaped_and_control_characters_are_shown():
    """A class name cannot add markup to a page or move the cursor of a terminal."""
    page = _render(title="<script>alert(1)</script>", sentence="a\x1b[31mb\u202e")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert r"a\x1b[31mb\u202e" in page


def test_a_long_text_is_shortened():
    """An ellipsis shows that something is missing."""
    page = _render(title="x" * (MAX_CHARACTERS + 1))
    assert "x" * MAX_CHARACTERS + "…" in page
    assert "x" * (MAX_CHARACTERS + 1) not in page


def test_a_variable_that_is_missing_is_an_error():
    """Rather than an empty place on the page."""
    with pytest.raises(jinja2.UndefinedError, match="sentence"):
        render("result.html", title="a title")


def test_pictures_are_shown_as_they_are():
    """A picture is a data URI that is not escaped again."""
    assert str(data_uri("a+b/c=")) == "data:image/jpeg;base64,a+b/c="
    assert '"' not in data_uri('" onload="alert(1)')
    assert printable("caf\u00e9\n") == "caf\u00e9\\n"
