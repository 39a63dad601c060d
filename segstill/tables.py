"""Rows as tables for the terminal."""

from collections.abc import Callable, Sequence

from rich.table import Column, Table

from .chain import Reached, duration
from .export import Shipment
from .probe import Pair, Row
from .report import METHOD_COLUMNS, RunView, SeedPage, table_rows
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


SEEDS = {
    "class_wise_map": "class-wise mAP %",
    "seed_miou": "seed mIoU %",
    "label_free_miou": "threshold without masks",
    "oracle_miou": "best threshold (tuned on masks)",
    "pointing_game": "pointing %",
}


def seeds(page: SeedPage) -> Table:
    """Return what classifiers and their seeds scored, and what a guess scores."""
    table = Table("run", *_right(*SEEDS.values(), "runs"), title=f"seeds of {page.images}" if page.guesses else None)
    for guess in page.guesses:
        cells = [f"{100 * guess.miou:.1f}" if name == "seed_miou" else "" for name in SEEDS]
        table.add_row(f"guess: {guess.name}", *cells, "")
    for run in page.runs:
        found = [run.score(name) for name in SEEDS]
        cells = [
            "" if score is None else f"{100 * score[0]:.1f}" + _shown(score[1] and 100 * score[1], " ± {:.1f}")
            for score in found
        ]
        table.add_row(run.name, *cells, str(run.seeds))
    return table


def methods(comparison: Comparison) -> Table:
    """Return a comparison of methods: what the page's table holds, where it holds something."""
    rows = table_rows(comparison)
    filled = [index for index in range(len(METHOD_COLUMNS)) if any(row.cells[index] for row in rows)]
    headings = [f"{heading}\n{unit}" for heading, unit, _ in METHOD_COLUMNS]
    table = Table(Column("method", no_wrap=True), *_right(*(headings[index] for index in filled)))
    for row in rows:
        named = f"{row.name} ({row.role})" if row.role else row.name
        table.add_row(named, *(row.cells[index] for index in filled))
    return table


def stages(rows: Sequence[Reached]) -> Table:
    """Return what the stages of a chain reached."""
    table = Table("stage", "measured", *_right("%", "% of the student\non true masks", "parameters M", "time"))
    for row in rows:
        table.add_row(
            row.stage,
            row.measure,
            _shown(row.value and 100 * row.value, "{:.1f}"),
            _shown(row.share and 100 * row.share, "{:.0f}"),
            _shown(row.parameters and row.parameters / 1e6, "{:.2f}"),
            duration(row.seconds),
        )
    return table


def shipment(written: Shipment) -> Table:
    """Return what was shipped: size, score and time of the network and of each file."""
    time = f"ms, {written.image[1]} x {written.image[0]}, {written.threads} thread" + "s" * (written.threads > 1)
    table = Table("", "file", *_right("MB", "mIoU %", f"p50\n{time}", "p95\nms"))
    for row in written.rows:
        cells = f"{row.megabytes:.2f}", _shown(row.miou and 100 * row.miou, "{:.2f}")
        table.add_row(row.name, str(row.file or ""), *cells, *(f"{value:.1f}" for value in row.latency))
    return table
