"""Safe HTML: a Jinja environment that escapes all text, since names of files and classes may hold markup."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from strategies.display.numbers import duration, share

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

MAX_CHARACTERS = 2_000  # of one text: a class name may have any length


def printable(text: str) -> str:
    """Returns text with control characters escaped, so that a terminal does not obey them.

    Example:
        >>> from strategies.display.html import printable
        >>> printable("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(text))


def render(template: str, *, package: str = "strategies.display", **context: Any) -> str:
    """Returns a filled-in template. All text is escaped: markup and control characters are shown, never obeyed.

    Args:
        template: Name of a file in the folder `templates/` of `package` or of `strategies.display`.
        package: The package that the template belongs to.
        **context: The variables of the template.

    Example:
        >>> from strategies.display.html import render
        >>> page = render("result.html", title="<b>", sentence="", warnings=[], charts=[], rows=[], confusion=None)
        >>> "&lt;b&gt;" in page
        True
    """
    return _environment(package).get_template(template).render(**context)


@cache
def _environment(package: str) -> jinja2.Environment:
    import jinja2

    packages = dict.fromkeys((package, "strategies.display"))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
    )
    environment.filters |= {"share": share, "duration": duration, "data_uri": data_uri}
    return environment


def _inert(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, "__html__"):  # numbers, and text that a macro has escaped already
        return value
    text = printable(value)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"


def data_uri(jpeg: str) -> Markup:
    """Returns a JPEG, given in base64, as a data URI.

    Example:
        >>> from strategies.display.html import data_uri
        >>> print(data_uri("/9j/4AAQ"))
        data:image/jpeg;base64,/9j/4AAQ
    """
    from markupsafe import Markup

    return Markup("data:image/jpeg;base64,{}").format(jpeg)
