"""Gain against cost: twenty methods are told apart, and no name covers another or a mark."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segstill.report.scatter import MARK, Point, mark, scatter

LABELS = {"x_label": "cost", "y_label": "gain"}


def points(places, label="method {}"):
    return [
        Point(x=x, y=y, low=y - 0.2, high=y + 0.2, series=number, label=label.format(number))
        for number, (x, y) in enumerate(places)
    ]


@pytest.fixture
def drawn(monkeypatch):
    """Draw and return the axes before they become text: marks by shape and colour, and names with their places."""

    def draw(given):
        kept: list[Figure] = []
        monkeypatch.setattr("segstill.report.scatter.to_svg", lambda figure, name: kept.append(figure) or name)
        scatter(given, name="a", **LABELS)
        FigureCanvasAgg(kept[0]).draw()
        return kept[0].axes[0]

    return draw


def corners(box):
    return box.x0, box.y0, box.x1, box.y1


def overlap(one, other):
    (left, low, right, high), (left_2, low_2, right_2, high_2) = corners(one), corners(other)
    return left < right_2 and left_2 < right and low < high_2 and low_2 < high


CROWDS = {
    "a grid": [(x, y) for x in range(5) for y in range(4)],
    "one place": [(1, 1)] * 20,
    "a row": [(1 + number / 200, 0.5) for number in range(20)],
    "chance": [tuple(place) for place in np.random.default_rng(0).random((20, 2))],
    "nearly all alike and one far off": [*[(1.05 + number / 500, number / 10) for number in range(19)], (4, -2)],
}


@pytest.mark.parametrize("places", CROWDS.values(), ids=CROWDS)
def test_no_name_covers_a_name_or_a_mark_or_leaves_the_chart(places, drawn):
    axes = drawn(points(places))
    names = [text.get_window_extent() for text in axes.texts]
    assert names
    for one, other in itertools.combinations(names, 2):
        assert not overlap(one, other)
    for (x, y), box in itertools.product(axes.transData.transform(places), names):
        inside = box.x0 - MARK / 2 < x < box.x1 + MARK / 2 and box.y0 - MARK / 2 < y < box.y1 + MARK / 2
        assert not inside
    left, low, right, high = corners(axes.bbox)
    assert all(left <= box.x0 and box.x1 <= right and low <= box.y0 and box.y1 <= high for box in names)


def test_every_name_that_has_room_is_written(drawn):
    axes = drawn(points(CROWDS["a grid"]))
    assert {text.get_text() for text in axes.texts} == {f"method {number}" for number in range(20)}


def test_twenty_series_differ_in_colour_or_shape_in_the_chart_and_in_the_legend(drawn):
    axes = drawn(points(CROWDS["chance"]))
    marks = {(line.get_markerfacecolor(), line.get_marker()) for line in axes.lines if line.get_marker() != "None"}
    assert len(marks) == 20
    assert len({mark(series) for series in range(40)}) == 40
    assert mark(40) == mark(0)


def outline(path):
    """The points of an outline, moved and scaled to a unit square, whatever its units."""
    drawn = np.array(re.findall(r"-?[\d.]+(?:e-?\d+)?", path), float).reshape(-1, 2)
    drawn -= drawn.min(0)
    return drawn / drawn.max()


@pytest.mark.parametrize("series", range(10))
def test_the_legend_shows_the_colour_and_the_outline_of_the_chart(series):
    svg = scatter([Point(x=1, y=1, low=0, high=2, series=series, label="")], name="a", **LABELS)
    shown = re.search(
        rf'<path id="[^"]*" d="([^"]*)"[^>]*/> </defs> <g[^>]*> <use[^>]*fill: var\(--series-{series % 8}\)', svg
    )
    legend = re.search(rf'<path d="([^"]*)" fill="var\(--series-{series % 8}\)"', mark(series))
    np.testing.assert_allclose(outline(legend[1]), outline(shown[1]), atol=0.02)


def test_names_are_text_and_not_mark_up():
    svg = scatter(points([(1, 1), (2, 2)], label="a < b & $c$ {}"), name="a", **LABELS)
    assert svg.count("a &lt; b &amp; $c$") == 2


def test_methods_that_change_nothing_are_drawn_around_zero(drawn):
    low, high = drawn([Point(x=1, y=0, low=0, high=0, series=0, label="kd")]).get_ylim()
    assert low < 0 < high
