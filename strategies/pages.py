"""HTML that is safe to show: one Jinja environment, in which every name is data; and a result in a notebook."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

    from strategies.training import TrainingResult

LONGEST = 2_000  # characters of one text: the name of a class may be of any length


def printable(text: str) -> str:
    """Returns text with control characters escaped: names of files and classes are data, never commands.

    Example:
        >>> from strategies.pages import printable
        >>> printable("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def render(template: str, *, package: str = "strategies", **context: Any) -> str:
    """Returns a template filled in. Whatever text is put into it is escaped: markup and control characters are shown.

    Args:
        template: Name of a file in `templates/` of the package, or of this one.
        package: The package that the template belongs to.
        **context: What the template speaks of.

    Example:
        >>> from strategies.pages import render
        >>> "&lt;b&gt;" in render("result.html", title="<b>", sentence="", charts=[], rows=[], confusion=None)
        True
    """
    return _environment(package).get_template(template).render(**context)


@cache
def _environment(package: str) -> jinja2.Environment:
    import jinja2

    packages = dict.fromkeys((package, "strategies"))
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
        >>> from strategies.pages import share
        >>> share(0.9134), share(None)
        ('91.3%', '–')
    """
    return "–" if value is None else f"{value:.1%}"


def data_uri(jpeg: str) -> Markup:
    """Returns a picture, a JPEG in base64, as an address that holds it whole.

    Example:
        >>> from strategies.pages import data_uri
        >>> print(data_uri("/9j/4AAQ"))
        data:image/jpeg;base64,/9j/4AAQ
    """
    from markupsafe import Markup

    return Markup("data:image/jpeg;base64,{}").format(jpeg)


def result_html(result: TrainingResult) -> str:
    """Returns what a training reached, as a fragment for a notebook."""
    from strategies.charts import confusion_matrix, learning_charts, reliability_chart

    test, head = result.test, result.head
    rows: list[tuple[Any, ...]] = [("majority class", test.majority_accuracy, None, None, None)]
    if head is not None and result.plan.recipe != "head_only":
        rows.append(("head alone", head.accuracy, head.low, head.high, head.seconds))
    rows.append((result.plan.recipe, test.accuracy, test.low, test.high, result.seconds))
    return render(
        "result.html",
        title=f"{result.plan.recipe}: test accuracy {share(test.accuracy)}",
        sentence=f"95 % interval {share(test.low)} to {share(test.high)}, {test.num_images:,} images that training "
        f"never saw; {result.plan.backbone} at {result.plan.image_size} px, {result.seconds:.0f} s.",
        charts=[*learning_charts(result.history.to_dict("records")), reliability_chart(test.to_dict()["reliability"])],
        rows=rows,
        confusion=confusion_matrix(list(test.per_class), test.confusion),
    )
