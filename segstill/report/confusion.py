"""The confusion matrix: a heat map with the names of its classes, legible with two of them and with many."""

from collections.abc import Sequence
from html import escape

import matplotlib
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from .figures import MUTED, STYLE, new_figure, to_svg
from .sections import chart, remark
from .table import number, percent
from .view import PageView

MOST_NUMBERED = 25
"""Classes up to which every cell holds its number."""
COMMON = 12
"""Confusions listed in words."""
COLOURS = "viridis"
LIGHTEST_UNDER_WHITE = 0.18
"""Luminance up to which white stands out better than black; either has a contrast of at least 4.5 on its side."""


def confusion(page: PageView) -> str:
    """A heat map per run, and its most common confusions in words; that of `page.worst_run` is open."""
    parts = []
    for index, run in enumerate(page.runs):
        if run.name not in page.confusion:
            continue
        drawn = _one(page.confusion[run.name], page.classes, run.name, f"confusion-{index}")
        opened = " open" if run.name == page.worst_run or len(page.confusion) == 1 else ""
        parts.append(f"<details{opened}><summary>{escape(run.name)}</summary>{drawn}</details>" if drawn else "")
    if not any(parts):
        return ""
    words = (
        "Of the pixels of a true class (a row), how many per cent are predicted as each class (a column). The diagonal "
        "is what is right. Classes that neither truth nor prediction holds are left out."
    )
    return remark(words) + "".join(parts)


def _one(counts: NDArray[np.integer], classes: Sequence[str], name: str, anchor: str) -> str:
    there = (counts.sum(0) + counts.sum(1)) > 0
    if not there.any():
        return ""
    kept = counts[np.ix_(there, there)].astype(float)
    names = [each for each, occurs in zip(classes, there, strict=True) if occurs]
    rows = kept.sum(1, keepdims=True)
    shares = np.divide(kept, rows, out=np.full_like(kept, np.nan), where=rows > 0)
    right = ", ".join(f"{each} {number(percent(float(share)), 0)} %" for each, share in _right(names, shares)[:40])
    alt = f"Confusion matrix of {name}. Right of each class: {right}"
    svg, width = matrix(shares, names, name=anchor)
    label = escape(f"Confusion matrix of {name}")
    figure = chart(svg, alt)
    region = (
        f'<div class="scroll matrix" role="region" aria-label="{label}" tabindex="0" style="--width: {width}px">'
        f"{figure}</div>"
    )
    return region + _common(kept, shares, names)


def _right(names: Sequence[str], shares: NDArray[np.floating]) -> list[tuple[str, float]]:
    return [(each, share) for each, share in zip(names, shares.diagonal(), strict=True) if np.isfinite(share)]


def _common(counts: NDArray[np.floating], shares: NDArray[np.floating], names: Sequence[str]) -> str:
    """The confusions that cost the most pixels, in words."""
    off = counts.copy()
    np.fill_diagonal(off, 0)
    order = [divmod(int(place), len(names)) for place in np.argsort(-off, axis=None, kind="stable")[:COMMON]]
    rows = [
        f'<tr><th scope="row">{escape(names[true])}</th><td>{escape(names[said])}</td>'
        f"<td>{number(percent(float(shares[true, said])), 1)}</td>"
        f"<td>{number(percent(float(off[true, said] / counts.sum())), 2)}</td></tr>"
        for true, said in order
        if off[true, said] > 0
    ]
    if not rows:
        return remark("Nothing is confused.")
    heads = ("True class", "taken for", "% of that class", "% of all pixels")
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        '<div class="scroll" role="region" aria-label="Most common confusions" tabindex="0">'
        f'<table class="scores common"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def matrix(shares: NDArray[np.floating], names: Sequence[str], *, name: str) -> tuple[str, int]:
    """Draw a confusion matrix whose rows add up to 1.

    Args:
        shares: (K, K) in [0, 1]; rows of NaN stay empty.
        names: K names, all of them written.
        name: unique among the figures of a page.

    Returns:
        The figure, and the width in CSS pixels at which its letters have the size that they were drawn in.
    """
    count = len(names)
    numbered = count <= MOST_NUMBERED
    cell = 34 if numbered else 13
    labels = 20 + 6.2 * max(min(len(each), 18) for each in names)
    side = cell * count + labels + 40
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = new_figure((side, side))
        palette = colormaps[COLOURS]  # what is not finite stays transparent
        axes.imshow(shares, cmap=palette, vmin=0, vmax=1, interpolation="none")
        axes.spines[:].set_visible(False)
        size = 11 if numbered else 10
        text = {"fontsize": size, "parse_math": False}
        short = [each if len(each) <= 18 else each[:17] + "…" for each in names]
        axes.set_xticks(range(count), short, rotation=90, **text)
        axes.set_yticks(range(count), short, **text)
        axes.set_xlabel("predicted class", color=MUTED, fontsize=size)
        axes.set_ylabel("true class", color=MUTED, fontsize=size)
        if numbered:
            for (row, column), share in np.ndenumerate(shares):
                if np.isfinite(share) and share >= 0.005:
                    colour = "white" if _luminance(np.asarray(palette(share))) <= LIGHTEST_UNDER_WHITE else "black"
                    said = f"{100 * share:.0f}"
                    axes.text(column, row, said, ha="center", va="center", fontsize=10, color=colour)
        return to_svg(figure, name), round(side)


def _luminance(colour: NDArray[np.floating]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3].tolist()]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
