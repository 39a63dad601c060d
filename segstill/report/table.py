"""The table of runs, and how the page writes numbers."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

from .view import PageView, RunView

ROLES = {"teacher": "teacher", "baseline": "student alone", "distilled": ""}

Pick = Callable[[Iterable[float]], float]


class Column(NamedTuple):
    """One kind of number; `best` picks the one to mark among the students."""

    label: str
    unit: str
    read: Callable[[RunView], float | None]
    decimals: int
    best: Pick


COLUMNS = (
    Column("mIoU", "%", lambda run: percent(run.scores.get("miou")), 1, max),
    Column("Pixel accuracy", "%", lambda run: percent(run.scores.get("pixel_accuracy")), 1, max),
    Column("Boundary F1", "%", lambda run: percent(run.scores.get("boundary_f1")), 1, max),
    Column("Agrees with teacher", "% of pixels", lambda run: percent(run.scores.get("teacher_agreement")), 1, max),
    Column("Gap closed", "%", lambda run: percent(run.gap_closed), 0, max),
    Column("Parameters", "million", lambda run: run.parameters / 1e6, 2, min),
    Column("GMACs", "per image", lambda run: run.gmacs, 2, min),
    Column("Time", "ms per image", lambda run: run.milliseconds, 1, min),
    Column("Training", "s per epoch", lambda run: run.seconds_per_epoch, 1, min),
)


def scores(page: PageView) -> str:
    """The table of runs, the best student of every column marked."""
    columns = [column for column in COLUMNS if any(column.read(run) is not None for run in page.runs)]
    students = [run for run in page.runs if run.role != "teacher"]
    best = {column.label: best_of([column.read(run) for run in students], column) for column in columns}
    if len({(run.parameters, run.gmacs) for run in students}) == 1:
        best["Time"] = None  # one network: any difference is noise of the clock
    head = "".join(f'<th scope="col">{column.label}<small>{column.unit}</small></th>' for column in columns)
    rows = []
    for run in page.runs:
        cells = []
        for column in columns:
            text = number(column.read(run), column.decimals)
            marked = run.role != "teacher" and text == best[column.label]
            if column.label == "mIoU" and run.miou_deviation is not None:
                text += f'<span class="deviation"> ± {number(percent(run.miou_deviation), 1)}</span>'
            if marked:
                text = f'<span class="best">{text}<span class="hidden"> best student</span></span>'
            cells.append(f"<td>{text}</td>")
        role = f'<span class="role">{role_of(run)}</span>' if role_of(run) else ""
        rows.append(f'<tr><th scope="row">{escape(run.name)}{role}</th>{"".join(cells)}</tr>')
    return (
        '<div class="scroll" role="region" aria-label="Scores of all runs" tabindex="0"><table class="scores">'
        f'<thead><tr><th scope="col">Run</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'<p class="note">{" ".join(_notes(page, marked=any(best.values())))}</p>'
    )


def _notes(page: PageView, *, marked: bool) -> list[str]:
    notes = ["Marked: the best student of a column."] if marked else []
    notes.append("mIoU: the mean over classes of intersection over union, counted over all pixels of the data set.")
    if any(run.gap_closed is not None for run in page.runs):
        notes.append("Gap closed: the gain over the student alone, as a share of the teacher's lead over it in mIoU.")
    if any(run.miou_deviation is not None for run in page.runs):
        notes.append(
            "±: standard deviation over runs that differ in their seed only; pictures and curves show the first."
        )
    return notes


def role_of(run: RunView) -> str:
    """Return what to write beside the name of a run; nothing where that says it."""
    return "" if run.title else ROLES[run.role]


def best_of(values: Sequence[float | None], column: Column) -> str | None:
    """Return the best value as it is written; None unless at least two are written differently."""
    known = [value for value in values if value is not None]
    if len({number(value, column.decimals) for value in known}) < 2:
        return None
    return number(column.best(known), column.decimals)


def percent(share: float | None) -> float | None:
    """Return a share in [0, 1] in per cent."""
    return None if share is None else 100 * share


def number(value: float | None, decimals: int) -> str:
    """Write a number with a real minus sign; a dash where there is none."""
    return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")
