"""HTML that is safe to show: one Jinja environment, in which every name is data; and a result in a notebook."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

LONGEST = 2_000  # characters of one text: the name of a class may be of any length


def printable(text: str) -> str:
    """Returns text with control characters escaped: names of files and classes are data, never commands.

    Example:
        >>> from strategies.display.html import printable
        >>> printable("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def render(template: str, *, package: str = "strategies.display", **context: Any) -> str:
    """Returns a template filled in. Whatever text is put into it is escaped: markup and control characters are shown.

    Args:
        template: Name of a file in `templates/` of the package, or of this one.
        package: The package that the template belongs to.
        **context: What the template speaks of.

    Example:
        >>> from strategies.display.html import render
        >>> "&lt;b&gt;" in render("result.html", title="<b>", sentence="", charts=[], rows=[], confusion=None)
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
    environment.filters |= {"share": share, "data_uri": data_uri}
    return environment


def _inert(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, "__html__"):  # numbers, and what a macro has escaped already
        return value
    text = printable(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def share(value: float | None) -> str:
    """Returns a fraction as per cent; a dash where there is none.

    Example:
        >>> from strategies.display.html import share
        >>> share(0.9134), share(None)
        ('91.3%', '–')
    """
    return "–" if value is None else f"{value:.1%}"


def data_uri(jpeg: str) -> Markup:
    """Returns a picture, a JPEG in base64, as an address that holds it whole.

    Example:
        >>> from strategies.display.html import data_uri
        >>> print(data_uri("/9j/4AAQ"))
        data:image/jpeg;base64,/9j/4AAQ
    """
    from markupsafe import Markup

    return Markup("data:image/jpeg;base64,{}").format(jpeg)
