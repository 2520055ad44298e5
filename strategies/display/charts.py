"""Charts as data: positions and texts, which a template draws as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH, HEIGHT = 420, 290
LETTER = 5.8  # mean width of a letter in a note, in units of the drawing
LEFT, RIGHT, BOTTOM = 48, 14, 44
TOP, TOP_WITH_NOTES = 26, 50
MOST_CLASSES = 20  # in a confusion matrix; a larger one cannot be read


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What the axis shows, with the unit.
        low: Value at the start of the axis.
        high: Value at the end of the axis.
        ticks: Pairs of a value and its text.
        log: Whether the axis is logarithmic.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def place(self, value: float) -> float:
        """Returns the position of a value on the axis, 0 to 1. A value beyond an end is placed at that end.

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
    """Points of a chart that belong together.

    Attributes:
        name: Name in the legend.
        points: Pairs `(x, y)`.
        style: 1 to 4: sets color, dashes and shape, so that series differ without color too.
        line: Whether a line joins the points.
        bars: The interval `(low, high)` of each point; empty for none.
        labels: A text beside each point; empty for none.
        sizes: Size of each point, relative to the usual size; empty for the usual size.
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
    """A line across the chart at a value of one axis, with a label.

    Attributes:
        axis: `"x"` or `"y"`.
        value: Value on that axis.
        label: The text.
    """

    axis: str
    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of lines and points.

    Attributes:
        title: The heading.
        text: What the chart shows, in words, for screen readers.
        x: The horizontal axis.
        y: The vertical axis.
        series: The points and lines.
        marks: Marked values of the axes.
        diagonal: Whether to draw the line on which both axes have the same value.
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
        """The upper edge of the plot area; labels of marks are above it."""
        return TOP_WITH_NOTES if any(mark.axis == "x" for mark in self.marks) else TOP

    def x_at(self, value: float) -> float:
        """Returns the horizontal position of a value of the x axis, in units of the drawing."""
        return round(LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT), 1)

    def y_at(self, value: float) -> float:
        """Returns the vertical position of a value of the y axis."""
        return round(HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - self.top - BOTTOM), 1)

    def path(self, series: Series) -> str:
        """Returns the line through a series."""
        return " ".join(f"{self.x_at(x)},{self.y_at(y)}" for x, y in series.points)

    def label_x(self, mark: Mark) -> float:
        """Returns the horizontal center of a mark's label: above the mark, but inside the plot area."""
        half = LETTER * len(mark.label) / 2
        return round(max(LEFT + half, min(WIDTH - RIGHT - half, self.x_at(mark.value))), 1)

    @property
    def frame(self) -> dict[str, int]:
        """The size of the drawing and the edges of the plot area."""
        return {
            "width": WIDTH,
            "height": HEIGHT,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "top": self.top,
            "bottom": HEIGHT - BOTTOM,
        }


def steps_of(low: float, high: float, most: int = 6) -> list[float]:
    """Returns equally spaced round values between two ends, in at most `most` steps.

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
    """Returns an axis of fractions, shown as percentages.

    Args:
        label: What the axis shows.
        values: Values that the axis must include, with some room on both sides.
        whole: Whether the axis goes from 0 to 1 instead.
    """
    low, high = (0.0, 1.0) if whole else (min(values), max(values))
    room = 0.0 if whole else max(0.02, 0.06 * (high - low))
    low, high = max(0.0, low - room), min(1.0, high + room)
    if high >= 1:
        high = 1.0 if whole else 1.0 + 0.04 * (1 - low)  # so that a point at 100% does not touch the edge
    return Axis(
        label=label,
        low=low,
        high=high,
        ticks=[(percent / 100, f"{percent:g}%") for percent in steps_of(100 * low, 100 * min(high, 1.0))],
    )


def learning_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Returns charts of accuracy and loss over the steps of all phases, with a mark where each phase of steps starts.

    Args:
        history: Rows of `history.csv`, as text or as numbers.

    Returns:
        Two charts, or none if no phase has steps: a head that is solved exactly has no steps.
    """
    rows, starts, before, last = [], [], 0, 0
    for number, row in enumerate(history):
        step = int(float(row["step"]))
        if number == 0 or row["phase"] != history[number - 1]["phase"]:
            before += last
            starts.append((before, str(row["phase"])))
        last = step
        rows.append({"x": before + step, **{name: _number(row.get(name)) for name in _CURVES}})
    if not rows or not (end := rows[-1]["x"]):
        return []
    steps = Axis(
        label="steps, all phases", low=0, high=end, ticks=[(step, f"{step:,.0f}") for step in steps_of(0, end, most=5)]
    )
    ends = [*(start for start, _ in starts[1:]), end]
    marks = [
        Mark(axis="x", value=start, label=name)
        for (start, name), stop in zip(starts, ends, strict=True)
        if stop > start
    ]
    charts = [_learning_chart(metric, rows, steps, marks) for metric in ("accuracy", "loss")]
    return [chart for chart in charts if chart is not None]


_LARGEST = 1e15  # a training that diverged has larger losses, which no chart can show
_CURVES = ("accuracy", "val_accuracy", "loss", "val_loss")


def _learning_chart(metric: str, rows: Sequence[Mapping[str, Any]], steps: Axis, marks: Sequence[Mark]) -> Chart | None:
    series = [
        Series(name=name, points=points, style=style)
        for style, name, column in ((1, "training", metric), (2, "validation", f"val_{metric}"))
        if (points := [(row["x"], row[column]) for row in rows if row[column] is not None])
    ]
    values = [value for curve in series for _, value in curve.points]
    if not values:
        return None
    if metric == "accuracy":
        axis = share_axis("accuracy", values)
    else:
        high = 1.05 * max(values) or 1.0
        axis = Axis(label="loss", low=0, high=high, ticks=[(loss, f"{loss:g}") for loss in steps_of(0, high)])
    ends = "; ".join(f"{curve.name} from {curve.points[0][1]:.3f} to {curve.points[-1][1]:.3f}" for curve in series)
    text = f"{metric} by step: {ends}"
    return Chart(title=metric.capitalize(), text=text, x=steps, y=axis, series=series, marks=marks)


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value) if abs(float(value)) < _LARGEST else None


def reliability_chart(reliability: Mapping[str, Any]) -> Chart:
    """Returns a reliability diagram: accuracy by predicted probability. Calibrated probabilities lie on the diagonal.

    Args:
        reliability: The entry `reliability` of `metrics.json`.
    """
    bins = reliability["bins"]
    most = max(row["num_images"] for row in bins)
    ticks = [(fifth / 5, f"{fifth * 20}%") for fifth in range(6)]
    return Chart(
        title="Reliability",
        text="accuracy by mean probability: "
        + "; ".join(f"{row['confidence']:.0%} predicted, {row['accuracy']:.0%} correct" for row in bins),
        x=Axis(label="mean probability of the predicted class", low=0, high=1, ticks=ticks),
        y=Axis(label="share of correct predictions", low=0, high=1.04, ticks=ticks),
        series=[
            Series(
                name="images with a similar probability",
                points=[(row["confidence"], row["accuracy"]) for row in bins],
                line=False,
                labels=[f"{row['num_images']:,}" for row in bins],
                sizes=[1 + 1.5 * math.sqrt(row["num_images"] / most) for row in bins],
            )
        ],
        diagonal=True,
    )


def confusion_matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Returns a confusion matrix to show. With many classes, only those with the most errors are included.

    Args:
        names: The class names.
        counts: Number of images by true class (rows) and predicted class (columns).

    Returns:
        `names`, the classes shown; `rows` of cells `{"count", "strength"}`, where the strength is the share of the true
        class, 0 to 1; and `left_out`, the number of classes that are not shown.

    Example:
        >>> from strategies.display.charts import confusion_matrix
        >>> confusion_matrix(["cat", "dog"], [[3, 1], [0, 4]])["rows"][0]
        [{'count': 3, 'strength': 0.75}, {'count': 1, 'strength': 0.25}]
    """
    size = len(names)
    errors = [
        sum(counts[label]) + sum(row[label] for row in counts) - 2 * counts[label][label] for label in range(size)
    ]
    shown = sorted(sorted(range(size), key=lambda label: (-errors[label], label))[:MOST_CLASSES])
    return {
        "names": [names[label] for label in shown],
        "rows": [
            [{"count": row[predicted], "strength": round(row[predicted] / max(1, sum(row)), 3)} for predicted in shown]
            for row in (counts[label] for label in shown)
        ],
        "left_out": size - len(shown),
    }
