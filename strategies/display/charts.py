"""Charts as data: what stands where, for a template that draws it as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH, HEIGHT = 420, 290
LETTER = 5.8  # width of a letter of a note, in units of the drawing
LEFT, RIGHT, BOTTOM = 48, 14, 44
TOP, TOP_WITH_NOTES = 26, 50
MOST_CLASSES = 20  # in a picture of the confusion; a wider one cannot be read


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What it measures, with its unit.
        low: Value at its start, `high` at its end.
        ticks: Pairs of a value and its text.
        log: Whether equal factors are equal lengths.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def place(self, value: float) -> float:
        """Returns where on the axis a value lies, 0 to 1; what lies beyond an end lies on it.

        Example:
            >>> from strategies.display.charts import Axis
            >>> Axis(label="images", low=1, high=100, ticks=[], log=True).place(10)
            0.5
        """
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together; `style` 1 to 4 sets colour, dash and shape, so that no colour is needed.

    Attributes:
        name: For the legend.
        points: Pairs `(x, y)`.
        line: Whether they are joined.
        bars: The interval `(low, high)` of each point, or none.
        labels: A text beside each point, or none.
        sizes: How large each point is, 1 as usual, or none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: int = 1
    line: bool = True
    bars: Sequence[tuple[float, float]] = ()
    labels: Sequence[str] = ()
    sizes: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A line across the chart at a value of one axis, with a text."""

    axis: str
    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of lines and points.

    Attributes:
        title: Its heading.
        text: What it shows, in words: for those who cannot see it.
        diagonal: Whether the line on which both axes are equal is drawn.
    """

    title: str
    text: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    marks: Sequence[Mark] = field(default_factory=tuple)
    diagonal: bool = False

    @property
    def top(self) -> int:
        """The upper edge of the plane; texts of marks stand above it."""
        return TOP_WITH_NOTES if any(mark.axis == "x" for mark in self.marks) else TOP

    def across(self, value: float) -> float:
        """Returns the horizontal position of a value of the x axis, in units of the drawing."""
        return round(LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT), 1)

    def down(self, value: float) -> float:
        """Returns the vertical position of a value of the y axis."""
        return round(HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - self.top - BOTTOM), 1)

    def path(self, series: Series) -> str:
        """Returns the line through a series."""
        return " ".join(f"{self.across(x)},{self.down(y)}" for x, y in series.points)

    def beside(self, mark: Mark) -> float:
        """Returns where the middle of a mark's text stands above the plane: over the mark, as far as there is room."""
        half = LETTER * len(mark.label) / 2
        return round(max(LEFT + half, min(WIDTH - RIGHT - half, self.across(mark.value))), 1)

    @property
    def frame(self) -> dict[str, int]:
        """The drawing's size and the edges of its plane."""
        return {
            "width": WIDTH,
            "height": HEIGHT,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "top": self.top,
            "bottom": HEIGHT - BOTTOM,
        }


def steps_of(low: float, high: float, most: int = 6) -> list[float]:
    """Returns round values between two ends, at most so many.

    Example:
        >>> from strategies.display.charts import steps_of
        >>> steps_of(0.63, 0.97)
        [0.7, 0.8, 0.9]
    """
    span = max(high - low, 1e-9)
    size = 10.0 ** math.floor(math.log10(span / most))
    step = next(size * factor for factor in (1, 2, 5, 10, 20) if span / (size * factor) <= most)
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, digits) for number in range(first, last + 1)]


def share_axis(label: str, values: Sequence[float], *, whole: bool = False) -> Axis:
    """Returns an axis of fractions shown in per cent: from below the lowest value to above the highest, or 0 to 1."""
    low, high = (0.0, 1.0) if whole else (min(values), max(values))
    room = 0.0 if whole else max(0.02, 0.06 * (high - low))
    low, high = max(0.0, low - room), min(1.0, high + room)
    if high >= 1:
        high = 1.0 if whole else 1.0 + 0.04 * (1 - low)  # so that a mark at 100 % stands free of the edge
    return Axis(
        label=label,
        low=low,
        high=high,
        ticks=[(one / 100, f"{one:g}%") for one in steps_of(100 * low, 100 * min(high, 1.0))],
    )


def learning_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Returns accuracy and loss over the steps of all phases, a line between one phase and the next.

    Args:
        history: Rows of `history.csv`, as text or as numbers.

    Returns:
        Two charts, or none where there is a single row: a head that is solved exactly has no course.
    """
    rows, starts, before, last = [], [], 0, 0
    for number, row in enumerate(history):
        step = int(float(row["step"]))
        if number == 0 or row["phase"] != history[number - 1]["phase"]:
            before += last
            starts.append((before, str(row["phase"])))
        last = step
        rows.append({"x": before + step, **{name: _number(row.get(name)) for name in _CURVES}})
    if len(rows) < 2:
        return []
    end = max(rows[-1]["x"] or 1, 1)
    steps = Axis(
        label="steps, all phases", low=0, high=end, ticks=[(one, f"{one:,.0f}") for one in steps_of(0, end, most=5)]
    )
    marks = [Mark(axis="x", value=start, label=name) for start, name in starts]
    return [chart for what in ("accuracy", "loss") if (chart := _learning(what, rows, steps, marks)) is not None]


_CURVES = ("accuracy", "val_accuracy", "loss", "val_loss")


def _learning(what: str, rows: Sequence[Mapping[str, Any]], steps: Axis, marks: Sequence[Mark]) -> Chart | None:
    series = [
        Series(name=name, points=points, style=style)
        for style, name, column in ((1, "training", what), (2, "validation", f"val_{what}"))
        if (points := [(row["x"], row[column]) for row in rows if row[column] is not None])
    ]
    values = [value for one in series for _, value in one.points]
    if not values:
        return None
    if what == "accuracy":
        axis = share_axis("accuracy", values)
    else:
        high = 1.05 * max(values) or 1.0
        axis = Axis(label="loss", low=0, high=high, ticks=[(one, f"{one:g}") for one in steps_of(0, high)])
    ends = "; ".join(f"{one.name} from {one.points[0][1]:.3f} to {one.points[-1][1]:.3f}" for one in series)
    return Chart(title=what.capitalize(), text=f"{what} by step: {ends}", x=steps, y=axis, series=series, marks=marks)


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return None if math.isnan(float(value)) else float(value)


def reliability_chart(reliability: Mapping[str, Any]) -> Chart:
    """Returns accuracy by stated probability, beside the diagonal on which probabilities can be taken at their word."""
    bins = reliability["bins"]
    most = max(row["num_images"] for row in bins)
    plane = [(one / 5, f"{one * 20}%") for one in range(6)]
    return Chart(
        title="Reliability",
        text="accuracy by mean probability: "
        + "; ".join(f"{row['confidence']:.0%} stated, {row['accuracy']:.0%} right" for row in bins),
        x=Axis(label="mean probability of the answer", low=0, high=1, ticks=plane),
        y=Axis(label="share that is right", low=0, high=1.04, ticks=plane),
        series=[
            Series(
                name="images with such a probability",
                points=[(row["confidence"], row["accuracy"]) for row in bins],
                line=False,
                labels=[f"{row['num_images']:,}" for row in bins],
                sizes=[1 + 1.5 * math.sqrt(row["num_images"] / most) for row in bins],
            )
        ],
        diagonal=True,
    )


def confusion_matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Returns the confusion as rows to be shown: the classes with the most errors where there are many.

    Returns:
        `names`; `rows` of cells `{"count", "strength"}`, the strength being the share of the class, 0 to 1; and
        `left_out`, how many classes are not shown.

    Example:
        >>> from strategies.display.charts import confusion_matrix
        >>> confusion_matrix(["cat", "dog"], [[3, 1], [0, 4]])["rows"][0]
        [{'count': 3, 'strength': 0.75}, {'count': 1, 'strength': 0.25}]
    """
    size = len(names)
    wrong = [sum(counts[one]) + sum(row[one] for row in counts) - 2 * counts[one][one] for one in range(size)]
    worst = sorted(range(size), key=lambda one: (-wrong[one], one))[:MOST_CLASSES]
    shown = sorted(worst)
    return {
        "names": [names[one] for one in shown],
        "rows": [
            [
                {"count": counts[one][other], "strength": round(counts[one][other] / max(1, sum(counts[one])), 3)}
                for other in shown
            ]
            for one in shown
        ],
        "left_out": size - len(shown),
    }
