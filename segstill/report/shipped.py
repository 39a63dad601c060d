"""Size, accuracy and latency of the networks and of the exported files, as a chart and as a table."""

import math
from collections.abc import Sequence
from html import escape

from .scatter import MARK, Point, mark, sized_scatter
from .sections import chart, remark
from .table import number, percent
from .view import ShippedView

LARGEST_MARK = 4 * MARK
"""Diameter of the mark of the largest network; the areas of the others are in proportion, down to a small mark."""


def shipped(views: Sequence[ShippedView], meaning: str) -> str:
    """A chart of accuracy over latency, marks as large as the files, and the numbers as a table.

    Args:
        views: networks and files, in the order of the table.
        meaning: what the numbers were measured on, in plain words.
    """
    if not views:
        return ""
    scored = [(series, view) for series, view in enumerate(views) if view.miou is not None]
    drawn = ""
    if scored:
        largest = max(view.megabytes for _, view in scored)
        points = [
            Point(
                x=view.milliseconds,
                y=100 * (view.miou or 0),
                low=100 * (view.miou or 0),
                high=100 * (view.miou or 0),
                series=series,
                label=view.name,
                size=max(MARK, LARGEST_MARK * math.sqrt(view.megabytes / largest)),
            )
            for series, view in scored
        ]
        svg = sized_scatter(points, name="shipped", x_label="time of one image, ms (log scale)", y_label="mIoU, %")
        alt = "; ".join(f"{view.name}: {_told(view)}" for _, view in scored)
        note = "A mark has the area of its file, unless it would be too small to see. Best is top left, and small."
        legend = "".join(f"<li>{mark(series)}{escape(view.name)}</li>" for series, view in scored)
        drawn = f'<ul class="legend">{legend}</ul><div class="charts named">{chart(svg, alt, note)}</div>'
    return remark(meaning) + drawn + _table(views)


def _table(views: Sequence[ShippedView]) -> str:
    heads = (("Size", "MB"), ("mIoU", "%"), ("Time", "ms, median"), ("Time", "ms, 95th percentile"))
    head = "".join(f'<th scope="col">{name}<small>{unit}</small></th>' for name, unit in heads)
    rows = "".join(
        f'<tr><th scope="row">{escape(view.name)}</th><td>{_size(view)}</td><td>{number(percent(view.miou), 1)}</td>'
        f"<td>{number(view.milliseconds, 2)}</td><td>{number(view.slow, 2)}</td></tr>"
        for view in views
    )
    return (
        '<div class="scroll" role="region" aria-label="Size, accuracy and latency" tabindex="0"><table class="scores">'
        f'<thead><tr><th scope="col">Network or file</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _size(view: ShippedView) -> str:
    return number(view.megabytes, 1 if view.megabytes >= 10 else 2)


def _told(view: ShippedView) -> str:
    return f"{_size(view)} MB, {number(percent(view.miou), 1)} % mIoU, {number(view.milliseconds, 1)} ms"
