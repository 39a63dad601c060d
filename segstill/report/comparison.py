"""The pages of a comparison: table, gain against cost, CSV and JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import NamedTuple

from ..checkpoint import write
from ..verdict import Comparison, Result
from .page import document
from .scatter import Point, mark, scatter
from .table import number, percent

Cell = Callable[[Result, Comparison], str]


class Row(NamedTuple):
    """One line of the table."""

    name: str
    role: str
    """What it is beside a method: "teacher", "student alone", or nothing."""
    cells: tuple[str, ...]
    """In the order of `COLUMNS`; empty where nothing is known."""


def write_comparison(out: Path, comparison: Comparison) -> None:
    """Write compare.html, compare.csv and compare.json into a folder; files that are there are replaced whole."""
    out.mkdir(parents=True, exist_ok=True)
    write(out / "compare.json", as_json(comparison))
    write(out / "compare.csv", as_csv(comparison))
    write(out / "compare.html", render(comparison))


def as_json(comparison: Comparison) -> str:
    """Return everything that is known, with what the rows derive from it."""
    whole = dataclasses.asdict(comparison)
    for row, result in zip(whole["results"], comparison.results, strict=True):
        row |= {"mean": result.mean, "deviation": result.deviation, "verdict": result.verdict}
    return json.dumps(whole, indent=2)


def as_csv(comparison: Comparison) -> str:
    """Return the table: the teacher, the student alone, and one row per method."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["method", "role", *(heading for heading, _, _ in COLUMNS)])
    for row in table_rows(comparison):
        writer.writerow([row.name, row.role, *row.cells])
    return buffer.getvalue()


def table_rows(comparison: Comparison) -> list[Row]:
    """Return the lines of the table, that of the teacher first where there is one."""
    rows = [
        Row(
            result.name,
            "student alone" if result.baseline else "",
            tuple(cell(result, comparison) for _, _, cell in COLUMNS),
        )
        for result in comparison.results
    ]
    if comparison.teacher is None:
        return rows
    known = {
        "mIoU": _shown(percent(comparison.teacher_miou), 1),
        "Parameters": _millions(comparison.teacher_parameters),
    }
    cells = tuple(known.get(heading, "") for heading, _, _ in COLUMNS)
    return [Row(Path(comparison.teacher).name, "teacher", cells), *rows]


def render(comparison: Comparison) -> str:
    """Return the page as HTML."""
    head = "".join(f'<th scope="col">{heading}<small>{unit}</small></th>' for heading, unit, _ in COLUMNS)
    body = "".join(
        f'<tr><th scope="row">{escape(row.name)}{_marked(row.role)}</th>'
        + "".join(f"<td>{escape(cell) or '–'}</td>" for cell in row.cells)
        + "</tr>"
        for row in table_rows(comparison)
    )
    table = (
        '<div class="scroll" role="region" aria-label="Methods" tabindex="0"><table class="scores">'
        f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="note">{escape(" ".join(NOTES))}</p>'
    )
    parts = {"methods": ("Methods", table), "cost": ("Gain against cost", _chart(comparison))}
    if failed := [f"{result.name}, {failure}" for result in comparison.results for failure in result.failures]:
        items = "".join(f"<li>{escape(line)}</li>" for line in failed)
        parts["failed"] = ("Runs that failed", f"<ul>{items}</ul>")
    environment = comparison.environment
    rows = "".join(
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(str(value))}</td></tr>'
        for key, value in environment.items()
        if key != "command"
    )
    command = f'<pre tabindex="0"><code>{escape(comparison.command)}</code></pre>' if comparison.command else ""
    parts["repeat"] = ("Repeat it", f'{command}<table class="plain"><tbody>{rows}</tbody></table>')
    return document(f"Comparison on {comparison.data}, {comparison.split} split", summarise(comparison), parts)


def summarise(comparison: Comparison) -> str:
    """Say in plain words what the comparison shows."""
    said = []
    alone = comparison.results[0]
    if comparison.teacher_miou is not None:
        said.append(f"The teacher reaches {100 * comparison.teacher_miou:.1f} % mIoU.")
    if alone.mean is not None:
        said.append(f"The student alone reaches {100 * alone.mean:.1f} %.")
    for verdict, words in (
        ("better", "better than the student alone beyond noise"),
        ("worse", "worse than the student alone beyond noise"),
        ("within noise", "not told apart from the student alone by these seeds"),
    ):
        if names := [result.name for result in comparison.results if result.verdict == verdict]:
            said.append(f"{', '.join(names)}: {words}.")
    if any(result.verdict.startswith("one seed") for result in comparison.results):
        said.append("With one seed no difference can be told from noise.")
    equal = "optimiser steps" if comparison.budget == "steps" else "wall-clock time"
    said.append(f"Every method had the same {equal}, data, seeds and student.")
    return " ".join(said)


def _chart(comparison: Comparison) -> str:
    alone = comparison.results[0]
    floor = alone.ms_per_step
    family = alone.name.removesuffix("student") if alone.name.endswith("_student") else ""
    points, legend = [], []
    for series, result in enumerate(comparison.results[1:]):
        if not result.differences or not result.ms_per_step or not floor:
            continue
        gain = 100 * sum(result.differences) / len(result.differences)
        low, high = (100 * end for end in result.interval) if result.interval else (gain, gain)
        cost, label = result.ms_per_step / floor, result.name.removeprefix(family)
        points.append(Point(x=cost, y=gain, low=low, high=high, series=series, label=label))
        legend.append(f"<li>{mark(series)}{escape(result.name)}</li>")
    if not points:
        return ""
    svg = scatter(
        points, name="gain-cost", x_label="time of a step, times that of the student alone", y_label="Gain, mIoU points"
    )
    words = "; ".join(f"{r.name}: {_gain(r, comparison)}" for r in comparison.results[1:] if r.differences)
    return (
        f'<ul class="legend">{"".join(legend)}</ul><div class="charts wide"><figure>'
        f'<span class="hidden">{escape(words)}</span>{svg}'
        "<figcaption>Bars: 95 % confidence interval of the paired difference; it may leave the chart. A mark whose "
        "name finds no room beside it is told by its colour and shape."
        "</figcaption></figure></div>"
    )


def _marked(role: str) -> str:
    return f'<span class="role">{role}</span>' if role else ""


def _shown(value: float | None, decimals: int) -> str:
    return "" if value is None else number(value, decimals)


def _millions(parameters: int | None) -> str:
    return "" if parameters is None else number(parameters / 1e6, 2)


def _miou(result: Result, _: Comparison) -> str:
    deviation = "" if result.deviation is None else f" ± {number(percent(result.deviation), 1)}"
    return _shown(percent(result.mean), 1) + deviation


def _gain(result: Result, _: Comparison) -> str:
    if not result.differences:
        return ""
    gain = f"{100 * sum(result.differences) / len(result.differences):+.1f}".replace("-", "−")
    if result.interval is None:
        return gain
    return gain + " [{}, {}]".format(*(f"{100 * end:+.1f}".replace("-", "−") for end in result.interval))


def _relative(result: Result, comparison: Comparison) -> str:
    floor = comparison.results[0].ms_per_step
    return _shown(result.ms_per_step / floor, 2) if result.ms_per_step and floor else ""


COLUMNS: tuple[tuple[str, str, Cell], ...] = (
    ("mIoU", "%", _miou),
    ("Seeds", "done", lambda result, _: str(len(result.mious)) + (", some failed" if result.failures else "")),
    ("Gain", "points, 95 % interval", _gain),
    ("Verdict", "at 95 %", lambda result, _: result.verdict),
    ("Gap closed", "%", lambda result, _: _shown(percent(result.gap_closed), 0)),
    ("Parameters", "million", lambda result, _: _millions(result.parameters)),
    ("Epochs", "of training", lambda result, _: str(result.epochs)),
    ("Step", "ms", lambda result, _: _shown(result.ms_per_step, 0)),
    ("Cost of a step", "times student alone", _relative),
    ("Memory", "MB at most", lambda result, _: _shown(result.memory_mb, 0)),
    ("Device time", "hours", lambda result, _: _shown(result.hours, 2)),
    ("Published", "other set-up", lambda result, _: result.published),
)
"""Heading, unit and content of the table's columns, on the page, in the terminal and in the CSV file."""
NOTES = (
    "mIoU: last checkpoint, mean and standard deviation over seeds.",
    "Gain: mean of the differences to the student alone with the same seed, with Student's 95 % confidence interval; "
    "within noise means that the interval holds 0.",
    "Of twenty methods that do nothing, one is called better or worse by chance.",
    "Memory: on a GPU, what a training step holds at most, without the checks before the first one and without "
    "evaluations; on a CPU, what the whole process has held at most, with both.",
    "Gap closed: the gain as a share of the teacher's lead over the student alone.",
    "Published numbers come from the methods' authors, with their own set-up, and are not to be compared with ours.",
)
