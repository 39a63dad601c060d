"""Write one HTML page about some runs: everything inside it, nothing loaded from anywhere."""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path

from ..checkpoint import write
from . import sections
from .confusion import confusion
from .fitting import LARGEST, fewer_worst, fit, left_out
from .table import scores
from .view import PageView, RunView
from .worst import worst

HERE = Path(__file__).parent
SECTIONS = {
    "scores": ("Scores", scores),
    "training": ("Training", sections.training),
    "classes": ("IoU of every class, %", sections.classes),
    "confusion": ("Confusion of classes", confusion),
    "examples": ("Examples", sections.examples),
    "worst": ("Worst images", worst),
    "similarity": ("Similarity between classes", sections.similarity),
    "attention": ("Attention", sections.attention),
    "repeat": ("Repeat it", sections.repeat),
}


def write_page(path: Path, page: PageView) -> None:
    """Write the page; a file that is already there is replaced only once the new one is complete.

    Of the worst images as many are shown as keep it below 10 MB.

    Args:
        path: where to; its folder is created.
        page: what to show.

    Raises:
        ValueError: the page would be larger than 10 MB.
    """
    text = fit(page, (partial(fewer_worst, keep=keep) for keep in (10, 5, 0)), render)
    if len(text) > LARGEST:
        raise ValueError(
            f"the page has {len(text) / 1e6:.1f} MB with {len(page.examples)} examples and {len(page.runs)} runs, "
            f"expected at most {LARGEST / 1e6:.0f} MB: show fewer examples"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text)


def render(page: PageView) -> str:
    """Return the page as HTML."""
    page = page.titled()
    parts = {key: (heading, draw(page)) for key, (heading, draw) in SECTIONS.items()}
    shown = {key: part for key, part in parts.items() if part[1]}
    return document(page.title, page.summary or summarise(page.runs), shown, note=left_out(page))


def document(title: str, lead: str, parts: Mapping[str, tuple[str, str]], *, note: str = "") -> str:
    """Return a whole HTML document.

    Args:
        title: plain text.
        lead: the first paragraph, plain text.
        parts: anchor -> heading and HTML of a section.
        note: HTML below the first paragraph.
    """
    links = "".join(f'<li><a href="#{key}">{_short(heading)}</a></li>' for key, (heading, _) in parts.items())
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-heading"><h2 id="{key}-heading">{heading}</h2>{html}</section>'
        for key, (heading, html) in parts.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{(HERE / 'page.css').read_text('utf-8')}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{note}'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav></header><main>{body}</main>'
        "<footer>Written by segstill. The page is complete in itself and loads nothing.</footer>"
        '<dialog aria-label="Enlarged picture"><img alt=""><form method="dialog"><output></output>'
        '<span class="keys"><kbd>←</kbd> <kbd>→</kbd> next run, <kbd>↑</kbd> <kbd>↓</kbd> prediction and errors</span>'
        "<button>Close</button></form></dialog>"
        f"<script>{(HERE / 'page.js').read_text('utf-8')}</script></body></html>"
    )


def summarise(runs: Sequence[RunView]) -> str:
    """Say in plain words what the runs show."""
    first = {role: next((run for run in runs if run.role == role), None) for role in ("teacher", "baseline")}
    teacher, baseline = first["teacher"], first["baseline"]
    distilled = sorted((run for run in runs if run.role == "distilled"), key=_miou, reverse=True)
    said = []
    if teacher:
        said.append(f"{_named('The teacher', teacher)} reaches {_told(teacher)}.")
    if baseline:
        said.append(f"{_named('The student alone', baseline)} reaches {_told(baseline)}.")
    if distilled:
        best = distilled[0]
        which = "The distilled student" if len(distilled) == 1 else f"The best of {len(distilled)} distilled students"
        sentence = f"{_named(which, best)} reaches {_told(best)}"
        if baseline:
            gain = 100 * (_miou(best) - _miou(baseline))
            than = f"the {baseline.title or 'student alone'}"
            sentence += f", {abs(gain):.1f} points {'more' if gain >= 0 else 'less'} than {than}"
            if best.gap_closed is not None and gain >= 0:
                sentence += f", which closes {100 * best.gap_closed:.0f} % of the gap to the teacher"
        said.append(sentence + ".")
    seeds = {run.seeds for run in runs if run.role != "teacher"}
    if len(runs) > 1 and seeds == {1}:
        said.append("Every score comes from a single run, so small differences may be chance.")
    elif len(seeds) == 1 and seeds != {1}:
        said.append(f"Scores of students are means over {seeds.pop()} runs.")
    return " ".join(said)


def _named(role: str, run: RunView) -> str:
    """Name a run after its role, unless the role says it already, or its title says both."""
    if run.title:
        return f"The {run.title}"
    return role if run.name.lower() in role.lower().split() else f"{role}, {run.name},"


def _miou(run: RunView) -> float:
    return run.scores["miou"]


def _told(run: RunView) -> str:
    return f"{100 * _miou(run):.1f} % mIoU with {run.parameters / 1e6:.2f} million parameters"


def _short(heading: str) -> str:
    short = {
        "IoU of every class, %": "Classes",
        "Confusion of classes": "Confusion",
        "Similarity between classes": "Similarity",
        "What every stage reached": "Stages",
    }
    return short.get(heading, heading)
