"""The parts of the page, each a piece of HTML, or nothing where there is no data for it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from .figures import SERIES, Curve, curves, heat_map, series_colour, shared_limits
from .images import ERROR, IGNORE, Picture, attention_map, class_mask, error_map, errors, photograph
from .table import COLUMNS, best_of, number, percent, role_of
from .view import ExampleView, PageView, RunView

MOST_COLUMNS = 8
MOST_SMALL = 3
VALIDATION = {"miou": "mIoU", "class_wise_map": "class-wise mAP"}
"""What an evaluation scores, of masks or of tags, and what to call it."""


def training(page: PageView) -> str:
    """Curves of loss and of the validation score over all runs, then the terms of every run that has several."""
    losses, found, last = [], [], []
    kind, called = next(
        (each for each in VALIDATION.items() if any(each[0] in line for run in page.runs for line in run.log)),
        ("miou", "mIoU"),
    )
    for series, run in enumerate(page.runs):
        if points := _points(run, "step", lambda line: line.get("total")):
            losses.append(Curve(*points, series))
        if points := _points(run, "evaluation", lambda line: percent(line.get(kind))):
            found.append(Curve(*points, series))
            last.append(f"{run.name} {number(points[1][-1], 1)} %")
    drawn = []
    if found:
        svg = curves(found, name="validation", x_label="epoch", y_label=f"Validation {called}, %")
        drawn.append(chart(svg, f"Validation {called} over the epochs. Last values: " + ", ".join(last)))
    if losses:
        svg = curves(losses, name="training-loss", x_label="epoch", y_label="Training loss, sum of all terms")
        note = "The terms differ between runs: compare the course of these curves, not their height."
        drawn.append(chart(svg, "Training loss over the epochs", note if len(losses) > 1 else ""))
    if not drawn:
        return ""
    names = dict.fromkeys(name for run in page.runs for name in _term_names(run))
    colours = {name: series + 2 for series, name in enumerate(names)}  # one colour per term on the whole page
    terms = [figure for index, run in enumerate(page.runs) if (figure := _terms(run, index, colours))]
    heading = "<h3>Terms of the loss, weighted, as they enter the sum</h3>" if terms else ""
    return f'{_run_legend(page)}<div class="charts">{"".join(drawn)}</div>{heading}{small(terms)}'


def classes(page: PageView) -> str:
    """Bars of every class's IoU, one per run."""
    cells = []
    for name, colour in zip(page.classes, page.palette, strict=True):
        values = [percent((run.scores.get("per_class_iou") or {}).get(name)) for run in page.runs]
        if all(value is None for value in values):
            continue
        students = [value for value, run in zip(values, page.runs, strict=True) if run.role != "teacher"]
        best = best_of(students, COLUMNS[0])
        bars = []
        for series, (run, value) in enumerate(zip(page.runs, values, strict=True)):
            text = number(value, 1)
            top = " top" if run.role != "teacher" and text == best else ""
            bars.append(
                f'<li><span class="hidden">{escape(run.name)} </span><span class="track" '
                f'style="--colour: {series_colour(series)}; --share: {value or 0:.1f}%"><span></span></span>'
                f'<span class="number{top}">{text}</span></li>'
            )
        swatch = f'<span class="swatch" style="--colour: rgb{colour}"></span>'
        cells.append(f"<div><h3>{swatch}{escape(name)}</h3><ul>{''.join(bars)}</ul></div>")
    return f'{_run_legend(page)}<div class="bars">{"".join(cells)}</div>' if cells else ""


def examples(page: PageView) -> str:
    """Every image with its truth, then every run's prediction above the pixels that it gets wrong."""
    shown = [example for example in page.examples if example.predictions]
    if not shown:
        return ""
    items = [(f"rgb{colour}", name, "") for name, colour in zip(page.classes, page.palette, strict=True)]
    labelled = [example.truth for example in shown if example.truth is not None]
    if any((truth == IGNORE).any() for truth in labelled):
        items.append(("", "not labelled", "stripes"))
    if labelled:
        items.append((f"rgb{ERROR}", "wrong, in the error maps", ""))
    return legend(items) + "".join(_example(example, page) for example in shown)


def similarity(page: PageView) -> str:
    """The class similarities of every run on one colour scale."""
    if not page.similarity:
        return ""
    limits = shared_limits(page.similarity)
    teacher = next((page.similarity.get(run.name) for run in page.runs if run.role == "teacher"), None)
    figures = []
    for index, run in enumerate(page.runs):
        if run.name not in page.similarity:
            continue
        matrix = page.similarity[run.name]
        svg = heat_map(matrix, page.classes, name=f"similarity-{index}", limits=limits)
        note = role_of(run)
        if teacher is not None and run.role != "teacher":
            both = np.isfinite(matrix) & np.isfinite(teacher)
            if both.any():
                note = f"differs from the teacher by {np.abs(matrix[both] - teacher[both]).mean():.3g} on average"
        figures.append(chart(svg, f"Similarity of the classes according to {run.name}", note, run.name))
    return remark(page.similarity_meaning) + small(figures)


def attention(page: PageView) -> str:
    """Where the attention of every run lies, over the image."""
    strips = []
    for example in page.examples:
        if example.attention:
            cells = [cell([(photograph(example.image), f"Image {example.name}")], "image")]
            for run in page.runs:
                if run.name in example.attention:
                    picture = attention_map(example.image, example.attention[run.name])
                    cells.append(cell([(picture, f"Attention of {run.name} on {example.name}")], run.name))
            strips.append(strip(example.name, cells))
    if not strips:
        return ""
    legend = '<ul class="legend"><li>low <span class="swatch heat"></span> high, each map over its own range</li></ul>'
    return remark(page.attention_meaning) + legend + "".join(strips)


def repeat(page: PageView) -> str:
    """The commands that repeat the runs and the page, and what the numbers depend on."""
    commands = [run.command for run in page.runs if run.command] + list(page.commands)
    parts = []
    if commands:
        parts.append(f'<pre tabindex="0"><code>{escape(chr(10).join(dict.fromkeys(commands)))}</code></pre>')
    if page.environment:
        rows = (f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in page.environment.items())
        parts.append(f'<table class="plain"><tbody>{"".join(rows)}</tbody></table>')
    return "".join(parts)


def _term_names(run: RunView) -> list[str]:
    return list(
        dict.fromkeys(name for line in run.log if line.get("kind") == "step" for name in line.get("losses", ()))
    )


def _terms(run: RunView, index: int, colours: Mapping[str, int]) -> str:
    lines = []
    for name in _term_names(run):
        if points := _points(run, "step", lambda line, name=name: line.get("losses", {}).get(name)):
            lines.append((name, Curve(*points, colours[name])))
    if len(lines) < 2:
        return ""
    svg = curves([c for _, c in lines], name=f"terms-{index}", x_label="epoch", y_label="", size=(320, 190))
    drawn = legend([(series_colour(curve.series), name, _dashes(curve.series)) for name, curve in lines])
    return chart(drawn + svg, f"Terms of the loss of {run.name} over the epochs", name=run.name)


def _example(example: ExampleView, page: PageView) -> str:
    first = [(photograph(example.image), f"Image {example.name}")]
    if example.truth is not None:
        first.append((class_mask(example.truth, page.palette), f"True classes of {example.name}"))
    cells = [cell(first, "image" if example.truth is None else "image, truth")]
    for run in page.runs:
        if run.name not in example.predictions:
            continue
        prediction, note = example.predictions[run.name], ""
        pictures = [(class_mask(prediction, page.palette), f"Classes predicted by {run.name} for {example.name}")]
        if example.truth is not None:
            labelled = max(int((example.truth != IGNORE).sum()), 1)
            wrong = f"{number(100 * errors(prediction, example.truth).sum() / labelled, 1)} %"
            alt = f"Where {run.name} is wrong on {example.name}: {wrong} of the labelled pixels"
            pictures.append((error_map(example.image, prediction, example.truth), alt))
            note = f"{wrong} wrong"
        cells.append(cell(pictures, run.name, note))
    return strip(example.name, cells)


def strip(name: str, cells: Sequence[str]) -> str:
    """Lay the cells about one image side by side, its name above them."""
    rows = math.ceil(len(cells) / MOST_COLUMNS)
    columns = math.ceil(len(cells) / rows)  # no lone picture in a last row
    return (
        f'<div class="example"><h3>{escape(name)}</h3>'
        f'<div class="strip" style="--columns: {columns}">{"".join(cells)}</div></div>'
    )


def cell(pictures: Sequence[tuple[Picture, str]], name: str, note: str = "") -> str:
    """Draw pictures, each with what it shows in words for screen readers, one below the other."""
    shown = "".join(
        f'<button type="button" class="zoom"><img src="{picture.uri}" alt="{escape(alt)}" width="{picture.width}" '
        f'height="{picture.height}" loading="lazy" decoding="async"></button>'
        for picture, alt in pictures
    )
    told = [f"<b>{escape(name)}</b>" if name else "", escape(note)]
    return f"<figure>{shown}<figcaption>{'<br>'.join(filter(None, told))}</figcaption></figure>"


def small(figures: Sequence[str]) -> str:
    """Lay small figures out in rows of about equal length."""
    if not figures:
        return ""
    columns = math.ceil(len(figures) / math.ceil(len(figures) / MOST_SMALL))
    return f'<div class="small" style="--columns: {columns}">{"".join(figures)}</div>'


def remark(text: str) -> str:
    """Write a paragraph in small type; nothing for no text."""
    return f'<p class="note">{escape(text)}</p>' if text else ""


def chart(svg: str, alt: str, note: str = "", name: str = "") -> str:
    """Wrap a figure.  The drawing itself is hidden from screen readers, which get the sentence instead."""
    name = f'<p class="name">{escape(name)}</p>' if name else ""
    note = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    return f'<figure>{name}<span class="hidden">{escape(alt)}</span>{svg}{note}</figure>'


def _run_legend(page: PageView) -> str:
    return legend([(series_colour(index), run.name, _dashes(index)) for index, run in enumerate(page.runs)])


def legend(items: Iterable[tuple[str, str, str]]) -> str:
    """Draw (colour, label, further style) as a row of swatches."""
    swatches = "".join(
        f'<li><span class="swatch {kind}" style="--colour: {colour}"></span>{escape(label)}</li>'
        for colour, label, kind in items
    )
    return f'<ul class="legend">{swatches}</ul>'


def _dashes(series: int) -> str:
    return "dashed" if series >= SERIES else ""


def _points(run: RunView, kind: str, read: Callable[[Any], float | None]) -> tuple[list[float], list[float]] | None:
    """Return epochs and values of the log lines of a kind, finite ones only; None where there are none."""
    found = [(line["epoch"], read(line)) for line in run.log if line.get("kind") == kind]
    found = [(float(epoch), float(value)) for epoch, value in found if value is not None and math.isfinite(value)]
    return ([epoch for epoch, _ in found], [value for _, value in found]) if found else None
