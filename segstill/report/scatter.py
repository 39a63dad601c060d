"""Gain or accuracy against cost as SVG: marks that are told apart by their colour, their shape and their name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Affine2D, Bbox, BboxBase

from .figures import MUTED, PAGE, STYLE, new_figure, sentinel, series_colour, to_svg

SHAPES = "os^Dv"
"""As matplotlib calls them.  Five shares no divisor with eight colours: the two together repeat after 40 series."""
LETTERS = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C", Outline.CLOSEPOLY: "Z"}
"""What matplotlib calls a part of an outline -> what SVG does."""
MARK, GAP = 7.5, 6.0
"""Size of a mark and distance of its name from its centre, in units of the drawing."""
BESIDE = (
    (GAP, 0, "left", "center"),
    (-GAP, 0, "right", "center"),
    (0, GAP, "center", "bottom"),
    (0, -GAP, "center", "top"),
    (GAP, GAP, "left", "bottom"),
    (GAP, -GAP, "left", "top"),
    (-GAP, GAP, "right", "bottom"),
    (-GAP, -GAP, "right", "top"),
)
"""Where a name may stand, best first: how far from the centre of its mark, and which part of it stands there."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One mark with a vertical bar."""

    x: float
    y: float
    low: float
    high: float
    series: int
    """Which colour and shape."""
    label: str
    """Written beside the mark, where there is room."""
    size: float = MARK
    """Diameter of the mark in units of the drawing."""


def mark(series: int) -> str:
    """Return the mark of a series as an SVG element, for a legend."""
    style = MarkerStyle(SHAPES[series % len(SHAPES)])
    outline = style.get_path().transformed(style.get_transform() + Affine2D().scale(1, -1))  # SVG counts downwards
    steps = []
    for values, code in outline.iter_segments():
        letter = LETTERS[code]
        steps.append(letter if letter == "Z" else letter + " ".join(f"{value:.3g}" for value in values))
    return (
        '<svg class="mark" viewBox="-.75 -.75 1.5 1.5" aria-hidden="true" focusable="false">'
        f'<path d="{"".join(steps)}" fill="{series_colour(series)}"/></svg>'
    )


def scatter(points: Sequence[Point], *, name: str, x_label: str, y_label: str) -> str:
    """Draw marks with bars and a line at 0; bars do not stretch the vertical axis beyond three times the marks.

    Args:
        points: at least one.
        name: unique among the figures of a page.
        x_label: with the unit.
        y_label: with the unit.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure((760, 420))
        axes.axhline(0, color=MUTED, linewidth=1)
        for point in points:
            axes.plot([point.x, point.x], [point.low, point.high], color=sentinel(point.series), linewidth=1.4)
        for point in points:  # above all bars, each with a rim that sets it off from those below
            shape = SHAPES[point.series % len(SHAPES)]
            colour: dict[str, Any] = {"markerfacecolor": sentinel(point.series), "markeredgecolor": PAGE}
            axes.plot([point.x], [point.y], marker=shape, markersize=MARK, markeredgewidth=1, zorder=2.5, **colour)
        reach = 3 * max(0.5, *(abs(point.y) for point in points))
        low, high = min(0.0, *(point.low for point in points)), max(0.0, *(point.high for point in points))
        edge = 0.08 * (high - low) or 1.0  # where no method changes anything
        axes.set_ylim(max(low - edge, -reach), min(high + edge, reach))
        axes.set_xlabel(x_label)
        axes.set_title(y_label, loc="left", fontsize=11, color=MUTED)
        axes.margins(x=0.08)
        _write_names(figure, axes, points)
        return to_svg(figure, name)


def sized_scatter(points: Sequence[Point], *, name: str, x_label: str, y_label: str) -> str:
    """Draw marks of the sizes that they have, with room around them; times on a logarithmic axis.

    Args:
        points: at least one, without bars; x is above 0.
        name: unique among the figures of a page.
        x_label: with the unit.
        y_label: with the unit.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure((420, 300))  # letters stay legible on a phone
        for point in sorted(points, key=lambda point: -point.size):  # the small ones stay in sight
            shape = SHAPES[point.series % len(SHAPES)]
            colour: dict[str, Any] = {"markerfacecolor": sentinel(point.series), "markeredgecolor": PAGE}
            axes.plot([point.x], [point.y], marker=shape, markersize=point.size, markeredgewidth=1, **colour)
        axes.set_xscale("log")
        low, high = min(point.x for point in points), max(point.x for point in points)
        axes.set_xlim(low / 2.5, high * 2.5)  # room for names beside the marks
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        least, most = min(point.y for point in points), max(point.y for point in points)
        edge = max(0.25 * (most - least), 2.0)
        axes.set_ylim(max(least - edge, -edge / 2), most + edge)
        axes.set_xlabel(x_label)
        axes.set_title(y_label, loc="left", fontsize=11, color=MUTED)
        _write_names(figure, axes, points)
        return to_svg(figure, name)


def _write_names(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write every name that finds a place beside its mark, where it covers no mark and no other name."""
    figure.draw_without_rendering()  # from now on the axes stay where they are
    centres = axes.transData.transform([(point.x, point.y) for point in points])
    halves = [point.size / 2 for point in points]
    taken = [Bbox.from_extents(*(c - half), *(c + half)) for c, half in zip(centres, halves, strict=True)]
    ends = [axes.transData.transform([(point.x, point.low), (point.x, point.high)]) for point in points]
    bars = [Bbox(end) for end in ends]
    for point in points:
        text = axes.annotate(
            point.label,
            (point.x, point.y),
            (0, 0),
            textcoords="offset points",
            color=sentinel(point.series),
            fontsize=10,
            parse_math=False,
        )
        text.set_in_layout(False)
        # Across a bar is better than not at all: the page draws letters with a rim.
        for obstacles in ([*taken, *bars], taken):
            if box := _place(text, obstacles, axes.bbox, (point.size - MARK) / 2):
                taken.append(box)
                break
        else:
            text.remove()


def _place(text: Annotation, obstacles: Sequence[Bbox], inside: BboxBase, further: float) -> Bbox | None:
    """Move a name to the best place that is free and return what it covers there; None where none is free.

    Args:
        text: the name.
        obstacles: what it must not cover.
        inside: where it must stay.
        further: units by which its mark reaches further than a small one.
    """
    for across, up, horizontal, vertical in BESIDE:
        away = (across + further * (across > 0) - further * (across < 0), up + further * (up > 0) - further * (up < 0))
        text.set(position=away, horizontalalignment=horizontal, verticalalignment=vertical)
        box = text.get_window_extent()
        within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        if within and not box.count_overlaps(obstacles):
            return box
    return None
