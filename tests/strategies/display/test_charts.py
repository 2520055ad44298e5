"""Charts as data."""

import itertools

import pytest

from strategies.display.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Chart,
    Mark,
    Series,
    confusion_matrix,
    reliability_chart,
    share_axis,
    steps_of,
)


def _chart(*marks):
    axis = Axis(label="share", low=0, high=1, ticks=[(0, "0%"), (1, "100%")])
    series = Series(name="line", points=[(0, 0), (1, 1)])
    return Chart(title="A chart", text="a line", x=axis, y=axis, series=[series], marks=marks)


def test_values_beyond_an_axis_are_placed_at_its_ends():
    """So that nothing is drawn outside of the plot area."""
    axis = Axis(label="images", low=10, high=1_000, ticks=[], log=True)
    assert [axis.place(value) for value in (1, 10, 100, 1_000, 9_999)] == [0, 0, pytest.approx(0.5), 1, 1]


def test_points_lie_between_the_edges_of_the_plot_area():
    """The y axis points up, the coordinates of the drawing point down."""
    chart = _chart()
    assert (chart.x_at(0), chart.x_at(1)) == (LEFT, WIDTH - RIGHT)
    assert (chart.y_at(0), chart.y_at(1)) == (HEIGHT - BOTTOM, chart.top)
    assert chart.path(chart.series[0]) == f"{LEFT}.0,{HEIGHT - BOTTOM}.0 {WIDTH - RIGHT}.0,{chart.top}.0"


def test_the_label_of_a_mark_stays_inside_the_drawing():
    """A mark at an edge has its label moved inwards; labels need more room above the plot area."""
    first, last = Mark(axis="x", value=0, label="first phase"), Mark(axis="x", value=1, label="last phase")
    chart = _chart(first, last)
    assert chart.label_x(first) > chart.x_at(0)
    assert chart.label_x(last) < chart.x_at(1)
    assert chart.top > _chart(Mark(axis="y", value=0.5, label="half")).top == _chart().top


@pytest.mark.parametrize(("low", "high"), [(0.63, 0.97), (0, 1), (12, 12_345), (0, 0.004), (5, 5)])
def test_ticks_are_few_equally_spaced_and_within_the_ends(low, high):
    """At most six steps, so at most seven ticks."""
    ticks = steps_of(low, high)
    assert len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    steps = {round(later - tick, 9) for tick, later in itertools.pairwise(ticks)}
    assert len(steps) <= 1


def test_an_axis_of_shares_includes_its_values_and_stays_within_0_and_1():
    """Except for some room above 100%, so that a point there does not touch the edge."""
    axis = share_axis("accuracy", [0.7, 0.9])
    assert 0 <= axis.low < 0.7 < 0.9 < axis.high <= 1
    assert 1 < share_axis("accuracy", [0.5, 1.0]).high < 1.05
    whole = share_axis("accuracy", [0.7], whole=True)
    assert (whole.low, whole.high) == (0, 1)
    assert whole.ticks[-1] == (1, "100%")


def test_a_reliability_diagram_has_a_point_for_each_bin():
    """Its size grows with the number of images; the text names every point."""
    bins = [
        {"confidence": 0.55, "accuracy": 0.5, "num_images": 10},
        {"confidence": 0.95, "accuracy": 0.9, "num_images": 1_000},
    ]
    chart = reliability_chart({"bins": bins})
    (points,) = chart.series
    assert points.points == [(0.55, 0.5), (0.95, 0.9)]
    assert points.labels == ["10", "1,000"]
    assert points.sizes[0] < points.sizes[1] == 2.5
    assert "95% predicted, 90% correct" in chart.text
    assert chart.diagonal


def test_a_confusion_matrix_shows_the_share_of_the_true_class():
    """A class without images has shares of 0."""
    found = confusion_matrix(["cat", "dog", "owl"], [[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert [[cell["strength"] for cell in row] for row in found["rows"]] == [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]]
    assert (found["names"], found["left_out"]) == (["cat", "dog", "owl"], 0)
