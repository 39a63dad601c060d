"""The page about a chain: what went in, what every stage made of it, and how to do it again."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..batch import IGNORE
from ..checkpoint import write
from . import sections
from .confusion import confusion
from .fitting import fewer_worst, fit, left_out
from .images import as_it_is, attention_map, class_mask, photograph
from .page import document, summarise
from .sections import cell, legend, remark, strip
from .shipped import shipped
from .table import number, percent, scores
from .view import Mask, PageView, ShippedView
from .worst import worst

MOST_MAPS = 3
"""Class maps shown of one image."""
ORDER = (
    "The least bad of the worst images go first, then the sheet of many masks, then training images and predictions, "
    "the last of them first, then the rest of the worst images."
)
"""In which order pictures are left out."""
COMPARED = ("scores", "classes", "confusion", "examples", "worst", "shipped")
"""Sections that hold answers against masks."""
NO_TRUTH = "There are no true masks. What is called truth here is {}, and where both differ, either may be wrong."


@dataclass(frozen=True)
class StageRow:
    """A row of the first table."""

    stage: str
    measure: str
    value: float | None
    """A share in [0, 1]."""
    share: float | None
    """Of the student on true masks."""
    seconds: str


@dataclass(frozen=True, kw_only=True)
class SeedView:
    """One training image on its way to a mask."""

    name: str
    tags: tuple[str, ...]
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    maps: Mapping[str, NDArray[np.floating]]
    """Class -> (H, W) map of the classifier, in [0, 1]."""
    before: Mask | None
    """What the maps say before they are refined; None where nothing refines them."""
    made: Mask
    """The mask that the teacher learns from."""
    true: bool = False
    """Whether it is a true one, which took the place of seeds."""
    truth: Mask | None = None


@dataclass(frozen=True, kw_only=True)
class StoryView:
    """A chain; `page` holds its networks."""

    page: PageView
    stages: Sequence[StageRow]
    facts: Mapping[str, str]
    """What went in, in words."""
    seeds: Sequence[SeedView] = ()
    sheet: bytes | None = None
    """A JPEG of many masks over their images."""
    shipped: Sequence[ShippedView] = ()
    """The networks, and the exported files."""
    shipped_meaning: str = ""
    """What their size, accuracy and latency were measured on."""
    recipe: str = ""
    """The chain as JSON."""
    compared_with: str | None = None
    """The masks that networks were scored on, in words, where there are no true ones."""


def write_story(path: Path, story: StoryView) -> None:
    """Write the page; pictures are left out (see `ORDER`) until it is below 10 MB."""
    most = max(len(story.page.examples), len(story.seeds))
    plans = [
        (10, True, most),
        (10, False, most),
        *((10, False, most * share // 4) for share in (3, 2, 1)),
        (0, False, 0),
    ]
    text = fit(story, (partial(_fewer, worst=w, sheet=s, images=i) for w, s, i in plans), render_story)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text)


def render_story(story: StoryView) -> str:
    """Return the page as HTML."""
    story = dataclasses.replace(story, page=story.page.titled())
    page = story.page
    parts = {
        "reached": ("What every stage reached", _stages(story.stages)),
        "given": ("What went in", _facts(story.facts)),
        "seeds": ("From tags to masks", _seeds(story)),
        "sheet": ("Masks of many images", _sheet(story.sheet)),
        "scores": ("Networks", scores(page)),
        "training": ("Training", sections.training(page)),
        "classes": ("IoU of every class, %", sections.classes(page)),
        "confusion": ("Confusion of classes", confusion(page)),
        "examples": ("Predictions", sections.examples(page)),
        "worst": ("Worst images", worst(page)),
        "shipped": ("Size, accuracy, latency", shipped(story.shipped, story.shipped_meaning)),
        "repeat": ("Repeat it", sections.repeat(page) + _recipe(story.recipe)),
    }
    if story.compared_with:
        told = remark(NO_TRUTH.format(story.compared_with))
        parts |= {key: (parts[key][0], parts[key][1] and told + parts[key][1]) for key in COMPARED}
    shown = {key: part for key, part in parts.items() if part[1]}
    return document(page.title, page.summary or summary(story), shown, note=left_out(page, ORDER))


def _fewer(story: StoryView, *, worst: int, sheet: bool, images: int) -> StoryView:
    """Return the story with fewer pictures, which says so.

    Args:
        story: all of it.
        worst: worst images that stay, at most.
        sheet: whether the sheet of many masks stays.
        images: predictions, and training images, that stay, at most.
    """
    page = fewer_worst(story.page, worst)
    said = list(page.left_out)
    if story.sheet and not sheet:
        said.append("the sheet of many masks")
    for what, there in (("training images", len(story.seeds)), ("predictions", len(page.examples))):
        if there > images:
            said.append(f"{there - images} of the {there} {what}")
    page = dataclasses.replace(page, examples=page.examples[:images], left_out=tuple(said))
    return dataclasses.replace(
        story, page=page, sheet=story.sheet if sheet else None, seeds=tuple(story.seeds)[:images]
    )


def summary(story: StoryView) -> str:
    """Say in plain words what the chain reached."""
    by_stage = {row.stage: row for row in story.stages}
    named = {"seed masks": "the masks made from tags", "teacher": "the teacher", "student": "the student"}
    said = [
        f"{words} {100 * row.value:.1f} %"
        for stage, words in named.items()
        if (row := by_stage.get(stage)) and row.value is not None
    ]
    other = story.compared_with
    what = f"In mIoU with {other}, because there are no true ones" if other else "In mIoU"
    text = f"{what}: {', '.join(said)}." if said else summarise(story.page.runs)
    student, reference = by_stage.get("student"), by_stage.get("student on true masks")
    if student and reference and student.share is not None and reference.value is not None:
        text += (
            f" The same student on true masks alone reaches {100 * reference.value:.1f} %; "
            f"the chain's student has {100 * student.share:.0f} % of that."
        )
    return text


def _stages(rows: Sequence[StageRow]) -> str:
    shared = any(row.share is not None for row in rows)
    head = '<th scope="col">Stage</th><th scope="col">%</th>'  # numbers first: a phone shows these columns
    head += '<th scope="col">of the student<small>on true masks, %</small></th>' if shared else ""
    head += '<th scope="col" class="words">Measured</th><th scope="col">Time</th>'
    lines = []
    for row in rows:
        cells = [number(percent(row.value), 1)] + ([number(percent(row.share), 0)] if shared else [])
        columns = "".join(f"<td>{text}</td>" for text in cells)
        columns += f'<td class="words">{escape(row.measure)}</td><td>{row.seconds}</td>'
        lines.append(f'<tr><th scope="row">{escape(row.stage)}</th>{columns}</tr>')
    return (
        '<div class="scroll" role="region" aria-label="Stages" tabindex="0"><table class="scores stages">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in facts.items())
    return f'<table class="plain"><tbody>{rows}</tbody></table>' if facts else ""


def _seeds(story: StoryView) -> str:
    if not story.seeds:
        return ""
    palette, strips = story.page.palette, []
    for seed in story.seeds:
        tags = ", ".join(seed.tags) or "none"
        cells = [cell([(photograph(seed.image), f"Training image {seed.name}, with the tags {tags}")], "image", tags)]
        for name, heat in list(seed.maps.items())[:MOST_MAPS]:
            alt = f"Where the classifier sees {name} in {seed.name}"
            cells.append(cell([(attention_map(seed.image, heat), alt)], "class map", name))
        if seed.before is not None:
            alt = f"Seeds of {seed.name} before refinement"
            cells.append(cell([(class_mask(seed.before, palette), alt)], "seeds", "before refinement"))
        kind = "a true mask" if seed.true else "after refinement" if seed.before is not None else ""
        cells.append(
            cell([(class_mask(seed.made, palette), f"Mask of {seed.name} that is learned from")], "mask", kind)
        )
        if seed.truth is not None:
            alt = f"True classes of {seed.name}"
            cells.append(cell([(class_mask(seed.truth, palette), alt)], "truth", _overlap(seed)))
        strips.append(strip(seed.name, cells))
    words = (
        "Training images with the maps of the classifier for their tags (bright: it sees the class there), the mask "
        "that follows from them, and the true mask, where there is one, to compare with; striped: left open."
    )
    colours = zip(story.page.classes, palette, strict=True)
    return remark(words) + legend((f"rgb{colour}", name, "") for name, colour in colours) + "".join(strips)


def _overlap(seed: SeedView) -> str:
    """Say what mIoU the mask has where it says something, over the classes of both, and how much it leaves open."""
    assert seed.truth is not None
    labelled = seed.truth != IGNORE
    compared = labelled & (seed.made != IGNORE)
    made, truth = seed.made[compared], seed.truth[compared]
    shares = [
        ((made == label) & (truth == label)).sum() / ((made == label) | (truth == label)).sum()
        for label in np.union1d(made, truth)
    ]
    told = f"mIoU {100 * float(np.mean(shares)):.0f} %" if shares else "nothing to compare"
    left = 1 - compared.sum() / max(1, labelled.sum())
    return f"{told}, {100 * left:.0f} % left open" if left else told


def _sheet(sheet: bytes | None) -> str:
    if sheet is None:
        return ""
    alt = "Many training images, each under the mask that is learned from, with its name below"
    words = "Masks in the colours of their classes over the dimmed images; white is left open."
    return cell([(as_it_is(sheet), alt)], "", words)


def _recipe(recipe: str) -> str:
    if not recipe:
        return ""
    return (
        "<details><summary>The chain as data, with every value that was used</summary>"
        f'<pre tabindex="0"><code>{escape(recipe)}</code></pre></details>'
    )


def with_commands(page: PageView, commands: tuple[str, ...]) -> PageView:
    """Return the page with other commands, in place of those of its runs.

    No gap is closed here: the student alone learns from other masks than the distilled one.
    """
    runs = tuple(dataclasses.replace(run, command="", gap_closed=None) for run in page.runs)
    return dataclasses.replace(page, runs=runs, commands=commands)
