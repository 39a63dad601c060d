"""Curves and heat maps as SVG that takes its colours and its font from the page, so it fits light and dark."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings, filterwarnings

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# matplotlib knows no CSS variables: it draws in colours that nobody else uses, which are then replaced.
MUTED, RULE, PAGE = "#010203", "#010204", "#010205"
VARIABLES = {MUTED: "var(--muted)", RULE: "var(--rule)", PAGE: "var(--page)"}
SERIES = 8
"""Colours of the page, --series-0 to --series-7; further series repeat them with dashes."""
POINTS = 140
"""Longer curves are averaged over this many stretches."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.solid_joinstyle": "round",
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    x: Sequence[float]
    y: Sequence[float]
    series: int
    """Which colour."""
    dashed: bool = False


def series_colour(series: int) -> str:
    """Return the CSS colour of a series."""
    return f"var(--series-{series % SERIES})"


def curves(
    lines: Sequence[Curve], *, name: str, x_label: str, y_label: str, size: tuple[float, float] = (400, 255)
) -> str:
    """Draw lines on common axes.

    Args:
        lines: at least one, each with at least one point.
        name: unique among the figures of a page.
        x_label: with the unit.
        y_label: with the unit.
        size: width and height in CSS pixels before the page scales it.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = new_figure(size)
        for line in lines:
            x, y = _thinned(np.asarray(line.x, float), np.asarray(line.y, float))
            alone = "o" if len(x) == 1 else None
            dashes = (4, 2) if line.dashed or line.series >= SERIES else (None, None)
            axes.plot(x, y, color=sentinel(line.series), marker=alone, markersize=4, dashes=dashes)
        axes.set_xlabel(x_label)
        axes.set_title(y_label, loc="left", fontsize=11, color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.02)
        return to_svg(figure, name)


def heat_map(matrix: NDArray[np.floating], labels: Sequence[str], *, name: str, limits: tuple[float, float]) -> str:
    """Draw a (K, K) matrix with the labels of its rows and columns.

    Args:
        matrix: (K, K); entries that are not finite stay empty.
        labels: K names, drawn while they are legible.
        name: unique among the figures of a page.
        limits: values of the darkest and of the brightest colour, to be shared by figures that are compared.
    """
    low, high = limits
    norm = Normalize(low, high if high > low else low + 1)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = new_figure((380, 350))
        # One embedded pixel per entry; the browser enlarges it without smoothing.
        shown = axes.imshow(matrix, cmap="viridis", norm=norm, interpolation="none")
        axes.spines[:].set_visible(False)
        step = max(1, -(-len(labels) // 40))
        places = range(0, len(labels), step)
        text = {"fontsize": min(10.0, max(4.5, 210 / len(labels))), "parse_math": False}
        axes.set_xticks(list(places), [_short(labels[place]) for place in places], rotation=90, **text)
        axes.set_yticks(list(places), [_short(labels[place]) for place in places], **text)
        bar = figure.colorbar(shown, ax=axes, fraction=0.045, pad=0.03)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.yaxis.set_major_locator(MaxNLocator(4))
        return to_svg(figure, name)


def shared_limits(matrices: Mapping[str, NDArray[np.floating]]) -> tuple[float, float]:
    """Return the smallest and the largest finite entry; (0, 1) where there is none."""
    values = np.concatenate([matrix[np.isfinite(matrix)].ravel() for matrix in matrices.values()])
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def new_figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return a figure of that many units of SVG, which its pixels are, and axes that show what lies behind them."""
    figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72, layout="constrained")  # SVG has 72 units per inch
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def sentinel(series: int) -> str:
    """Return what matplotlib draws a series in, which `to_svg` replaces by the colour of the page."""
    return f"#0103{series % SERIES:02x}"


def _short(label: str) -> str:
    return label if len(label) <= 14 else label[:13] + "…"


def _thinned(x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    if len(x) <= 2 * POINTS:
        return x, y
    stretches = zip(np.array_split(x, POINTS), np.array_split(y, POINTS), strict=True)
    means = np.array([(a.mean(), b.mean()) for a, b in stretches])
    return means[:, 0], means[:, 1]


def to_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element for use inside HTML."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), catch_warnings():
        # The page's font draws the text, so what matplotlib's own font lacks does not matter.
        filterwarnings("ignore", message="Glyph")
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = (
        re.sub(r"\s(xmlns(:xlink)?|version|width|height)=\"[^\"]*\"", "", svg[: svg.index(">")]) + svg[svg.index(">") :]
    )
    # A style element would reach the whole page.
    svg = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>| transform=\"rotate\(-0 [^\"]*\"", "", svg, flags=re.S
    )
    svg = re.sub(r"<g id=\"[^\"]*\"", "<g", svg)  # these repeat from figure to figure
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r" d=\"[^\"]*\"", lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("xlink:href", "href")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    for series in range(SERIES):
        svg = svg.replace(sentinel(series), series_colour(series))
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1).strip()
