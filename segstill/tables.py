"""Rows as tables for the terminal."""

from collections.abc import Callable, Sequence

from rich.table import Column, Table

from .export import Shipment
from .probe import Pair, Row
from .report import METHOD_COLUMNS, RunView
from .verdict import Comparison


def comparison(rows: Sequence[RunView]) -> Table:
    """Return what runs scored and cost."""
    table = Table("run", *(Column(name, justify="right") for name in COLUMNS))
    for row in rows:
        table.add_row(row.name, *(cell(row) for cell in COLUMNS.values()))
    return table


def _shown(value: float | None, pattern: str) -> str:
    return "" if value is None else pattern.format(value)


COLUMNS: dict[str, Callable[[RunView], str]] = {
    "mIoU %": lambda row: (
        f"{100 * row.scores['miou']:.1f}" + _shown(row.miou_deviation and 100 * row.miou_deviation, " ± {:.1f}")
    ),
    "pixel accuracy %": lambda row: f"{100 * row.scores['pixel_accuracy']:.1f}",
    "parameters M": lambda row: f"{row.parameters / 1e6:.2f}",
    "GMACs": lambda row: _shown(row.gmacs, "{:.2f}"),
    "ms per image": lambda row: _shown(row.milliseconds, "{:.1f}"),
    "gap closed %": lambda row: _shown(row.gap_closed and 100 * row.gap_closed, "{:.0f}"),
    "s per epoch": lambda row: _shown(row.seconds_per_epoch, "{:.1f}"),
    "seeds": lambda row: str(row.seeds),
}


def features(rows: Sequence[Row], title: str) -> Table:
    """Return the features of a network."""
    table = Table("tap", "module", "layout", *_right("channels", "stride"), "before activation", title=title)
    for row in rows:
        layout = f"{row.layout} after {row.prefix} tokens" if row.prefix else row.layout
        before = f"{row.name}_pre" if row.before else ""
        table.add_row(row.name, row.path, layout, str(row.channels), f"{row.stride:g}", before)
    return table


def pairs(found: Sequence[Pair]) -> Table:
    """Return which features may be matched, and the flags that pair those of different names."""
    table = Table("for losses", "student", "teacher", *_right("channels", "strides"), "flag", title="pairs")
    for pair in found:
        mine, theirs = pair.student, pair.teacher
        table.add_row(
            pair.name,
            mine.name or mine.path,
            theirs.name or theirs.path,
            f"{mine.channels} : {theirs.channels}",
            f"{mine.stride:g} : {theirs.stride:g}",
            pair.flag or "none needed",
        )
    return table


def _right(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]


def methods(comparison: Comparison) -> Table:
    """Return a comparison of methods: what the page's table holds, where it holds something."""
    rows = {result.name: [cell(result, comparison) for _, _, cell in METHOD_COLUMNS] for result in comparison.results}
    filled = [index for index in range(len(METHOD_COLUMNS)) if any(cells[index] for cells in rows.values())]
    headings = [f"{heading}\n{unit}" for heading, unit, _ in METHOD_COLUMNS]
    table = Table(Column("method", no_wrap=True), *_right(*(headings[index] for index in filled)))
    for name, cells in rows.items():
        table.add_row(name, *(cells[index] for index in filled))
    return table


def shipment(written: Shipment) -> Table:
    """Return what was shipped: size, score and time of the network and of each file."""
    time = f"ms, {written.image[1]} x {written.image[0]}, {written.threads} thread" + "s" * (written.threads > 1)
    table = Table("", "file", *_right("MB", "mIoU %", f"p50\n{time}", "p95\nms"))
    for row in written.rows:
        cells = f"{row.megabytes:.2f}", _shown(row.miou and 100 * row.miou, "{:.2f}")
        table.add_row(row.name, str(row.file or ""), *cells, *(f"{value:.1f}" for value in row.latency))
    return table
