"""What a page about classifiers shows: tags, maps of classes, and seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..checkpoint import write
from . import sections
from .images import IGNORE, as_it_is, attention_map, class_mask, photograph
from .page import document
from .table import number, percent
from .view import Mask, PageView, RunView


class Guess(NamedTuple):
    """Masks that look at no pixel."""

    name: str
    miou: float


class Shown(NamedTuple):
    """What a run made of an image."""

    heat: NDArray[np.floating]
    """(H, W) in [0, 1]: the strongest class map."""
    before: Mask
    after: Mask
    """Seeds before and after refinement by pixels."""


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """Runs of one recipe: a row, a curve, a column of pictures."""

    name: str
    scores: Mapping[str, tuple[Any, ...]]
    """Score name -> one value per run, as `evaluate_tags` and `evaluate_seeds` give them."""
    seeds: int
    fused: bool
    """Whether it has a background of its own, as V2."""
    parameters: int
    milliseconds: float
    log: Sequence[Mapping[str, Any]] = ()
    command: str = ""

    def score(self, name: str) -> tuple[float, float | None] | None:
        """Return mean and standard deviation (None of a single run) of a score; None where it was not scored."""
        values = self.scores.get(name)
        if not values:
            return None
        return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None

    def per_class(self, kind: str) -> dict[str, float | None]:
        """Return `per_class_ap` or `per_class_iou`: the mean over runs, None for a class that one of them lacks."""
        results = self.scores.get(kind, ())
        names = results[0] if results else ()
        values = {name: [result[name] for result in results] for name in names}
        return {name: None if None in found else statistics.mean(found) for name, found in values.items()}


@dataclass(frozen=True, kw_only=True)
class SeedExample:
    """One image, with what every run made of it; all of one size."""

    name: str
    image: NDArray[np.uint8]
    truth: Mask | None
    shown: Mapping[str, Shown]


@dataclass(frozen=True, kw_only=True)
class SeedPage:
    """Everything on the page."""

    title: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    runs: tuple[SeedRun, ...]
    guesses: tuple[Guess, ...] = ()
    """The better first; none where there are no true masks."""
    images: str
    """Which images' seeds are scored."""
    examples: tuple[SeedExample, ...] = ()
    sheet: bytes | None = None
    """A JPEG of many small masks, and of the true ones beside them."""
    sheet_of: str = ""
    """The run that made them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()


COLUMNS = {
    "class_wise_map": ("Class-wise mAP", "%"),
    "image_wise_map": ("Image-wise mAP", "%"),
    "seed_miou": ("Seed mIoU", "%"),
    "label_free_miou": ("threshold without masks", "mIoU %"),
    "oracle_miou": ("best threshold, tuned on the masks", "mIoU %"),
    "seed_precision": ("Precision", "%"),
    "seed_recall": ("Recall", "%"),
    "pointing_game": ("Pointing", "%"),
    "box_localisation": ("Boxes", "%"),
    "seconds_per_image": ("Time", "s per image"),
}
"""Score -> heading and unit."""
TIMES = {"seconds_per_image": (1, 2)}
"""Factor and decimals of what is no share."""


def write_seed_page(path: Path, page: SeedPage) -> None:
    """Write the page; a file that is already there is replaced only once the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, render(page).encode())


def render(page: SeedPage) -> str:
    """Return the page as HTML."""
    lines = PageView(
        title=page.title,
        classes=page.classes,
        palette=page.palette,
        runs=tuple(
            RunView(
                name=run.name, role="distilled", scores={}, parameters=run.parameters, log=run.log, command=run.command
            )
            for run in page.runs
        ),
        environment=page.environment,
        commands=page.commands,
    )
    parts = {
        "scores": ("Scores", _scores(page)),
        "training": ("Training", sections.training(lines)),
        "classes": ("Every class", _classes(page)),
        "examples": ("Maps and seeds", _examples(page)),
        "sheet": ("Masks of many images", _sheet(page)),
        "repeat": ("Repeat it", sections.repeat(lines)),
    }
    return document(page.title, summary(page), {key: part for key, part in parts.items() if part[1]})


def _sheet(page: SeedPage) -> str:
    if page.sheet is None:
        return ""
    alt = f"Many images under the masks that {page.sheet_of} leads to, with their names below"
    words = f"Masks of {page.sheet_of}, in the colours of their classes over the dimmed images"
    words += ", each followed by its true mask." if page.guesses else "."
    return sections.cell([(as_it_is(page.sheet), alt)], "", words)


def summary(page: SeedPage) -> str:
    """Say in plain words what the runs show."""
    said = []
    for run in page.runs:
        seeds = run.score("seed_miou")
        told = f"{run.name} tells tags with {_told(run.score('class_wise_map'))} % class-wise mAP"
        said.append(told + (f"; its seeds have {_told(seeds)} % mIoU." if seeds else "."))
    if page.guesses:
        best = page.guesses[0]
        said.append(f"The best guess that looks at no pixel ({best.name}) has {number(percent(best.miou), 1)} %.")
    if all(run.seeds == 1 for run in page.runs):
        said.append("Every score comes from a single run, so small differences may be chance.")
    return " ".join(said)


def _told(score: tuple[float, float | None] | None, factor: float = 100, digits: int = 1) -> str:
    if score is None:
        return "–"
    mean, deviation = score
    told = f" ± {number(factor * deviation, digits)}" if deviation is not None else ""
    return number(factor * mean, digits) + told


def _scores(page: SeedPage) -> str:
    columns = [name for name in COLUMNS if any(run.score(name) for run in page.runs)]
    head = "".join(f'<th scope="col">{COLUMNS[name][0]}<small>{COLUMNS[name][1]}</small></th>' for name in columns)
    rows = []
    for guess in page.guesses:
        cells = [number(percent(guess.miou), 1) if name == "seed_miou" else "–" for name in columns]
        rows.append((f"guess: {guess.name}", cells))
    for run in page.runs:
        rows.append((run.name, [_told(run.score(name), *TIMES.get(name, ())) for name in columns]))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in rows
    )
    notes = ["mAP: average precision of the tags of the val split; per class over images, or per image over classes."]
    if page.guesses:
        notes.append(
            f"Seeds are those of {page.images}, before any refinement: with the map that V2 has of the background, or "
            "where the strongest class map of V1 is above 0.25.  The two columns beside it put a threshold on the class"
            " maps of either, and ignore V2's map of the background; they count a class that is nowhere as 0.  "
            "Pointing: the maximum of a map lies on its class.  Boxes: IoU of at least 0.5 around half the maximum."
        )
    if any(run.seeds > 1 for run in page.runs):
        notes.append("±: standard deviation over runs that differ in their seed only; pictures show the first.")
    return (
        '<div class="scroll" role="region" aria-label="Scores of all runs" tabindex="0"><table class="scores">'
        f'<thead><tr><th scope="col">Run</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="note">{" ".join(notes)}</p>'
    )


def _classes(page: SeedPage) -> str:
    head = "".join(
        f'<th scope="col">{escape(run.name)}<small>{unit}</small></th>'
        for unit in ("AP of the tag, %", "IoU of seeds, %")
        for run in page.runs
    )
    rows = []
    for name, colour in zip(page.classes, page.palette, strict=True):
        values = [run.per_class(kind).get(name) for kind in ("per_class_ap", "per_class_iou") for run in page.runs]
        cells = "".join(f"<td>{number(percent(value), 1)}</td>" for value in values)
        swatch = f'<span class="swatch" style="--colour: rgb{colour}"></span>'
        rows.append(f'<tr><th scope="row">{swatch} {escape(name)}</th>{cells}</tr>')
    return (
        '<div class="scroll" role="region" aria-label="Scores of every class" tabindex="0"><table class="scores">'
        f'<thead><tr><th scope="col">Class</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _examples(page: SeedPage) -> str:
    strips = []
    for example in page.examples:
        first = [(photograph(example.image), f"Image {example.name}")]
        if example.truth is not None:
            first.append((class_mask(example.truth, page.palette), f"True classes of {example.name}"))
        cells = [sections.cell(first, "image" if example.truth is None else "image, truth")]
        for run in page.runs:
            heat, before, after = example.shown[run.name]
            pictures = [
                (attention_map(example.image, heat), f"Strongest class map of {run.name} on {example.name}"),
                (class_mask(before, page.palette), f"Seeds of {run.name} on {example.name}"),
                (class_mask(after, page.palette), f"The same seeds, refined by pixels, on {example.name}"),
            ]
            cells.append(sections.cell(pictures, run.name, _right(example, before, after)))
        strips.append(sections.strip(example.name, cells))
    if not strips:
        return ""
    legend = [(f"rgb{colour}", name, "") for name, colour in zip(page.classes, page.palette, strict=True)]
    note = "From above: the strongest class map over its own range, the seeds, the seeds after refinement by pixels."
    return f'<p class="note">{note}</p>{sections.legend(legend)}{"".join(strips)}'


def _right(example: SeedExample, before: Mask, after: Mask) -> str:
    if example.truth is None:
        return ""
    known = example.truth != IGNORE
    shares = [100 * float((mask == example.truth)[known].mean()) for mask in (before, after)]
    return f"{number(shares[0], 1)} %, then {number(shares[1], 1)} % right"
