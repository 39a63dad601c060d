"""Turn run folders into what a page shows: score them, measure their cost, and let them look at some images."""

import dataclasses
import json
import shlex
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..build import Saved, load
from ..cost import measure_cost
from ..data import choose_split, open_dataset
from ..data.dataset import SegmentationDataset
from ..data.transforms import shrink
from ..evaluate import evaluate, predict
from ..losses import LOSSES, inter_class_similarity
from ..recipe import Recipe
from ..run import read_log, read_recipe
from .attention import Attention, find_attention
from .mistakes import Mistakes, worst_views
from .page import write_page
from .view import ExampleView, PageView, RunView

SIMILARITY_IMAGES = 16


class _Row(NamedTuple):
    """Runs that differ in their seed only; the first one stands for all in pictures."""

    name: str
    folders: tuple[Path, ...]
    recipe: Recipe
    saved: Saved


def write_report(
    runs: Sequence[Path],
    out: Path,
    *,
    split: str | None = None,
    examples: int = 6,
    root: str | None = None,
    title: str = "",
    titles: Mapping[Path, str] | None = None,
    say: Callable[[str], None] = print,
    draw: Callable[[Path, PageView], None] = write_page,
) -> tuple[RunView, ...]:
    """Score runs on a split and write a page about them.

    Runs that differ in their seed only become one row, with mean and standard deviation.  The teacher that runs name is
    added when it is not among them.

    Args:
        runs: run folders.
        out: the page.
        split: which images are scored and shown; None is test, or val where the data has no test split.
        examples: images shown, evenly spread over the split.
        root: folder of the data set, where it is no longer where the recipe says.
        title: of the page; the data set's name without it.
        titles: run folder -> what the page calls it, in the place of its name and of its role.
        say: is told what happens.
        draw: writes the page.

    Returns:
        The rows of the page's table.

    Raises:
        ValueError: no run, or runs of other data.
        FileNotFoundError: a run that is not there or has no checkpoint.
    """
    rows, teacher = _rows(runs)
    for row in rows:
        if row.saved.model.predicts != "masks":
            raise ValueError(
                f"{row.name} holds a network that predicts {row.saved.model.predicts}, expected one of masks: report "
                "classifiers by themselves, and score affinities with segstill evaluate"
            )
    spec = dataclasses.replace(rows[0].recipe.data, root=root or rows[0].recipe.data.root)
    split = split or choose_split(spec, "test", "val", say=say)
    dataset = open_dataset(spec, split)
    given = {run.resolve() for run in runs}
    if teacher and teacher.saved.classes != dataset.classes and teacher.folders[0].resolve() not in given:
        say(f"the teacher {teacher.folders[0]} knows other classes, so it has no row")
        teacher = None
    rows = [teacher, *rows] if teacher else rows
    for row in rows:
        if row.saved.classes != dataset.classes or row.recipe.data.name != spec.name:
            raise ValueError(
                f"{row.name} was trained on {row.recipe.data.name} with {len(row.saved.classes)} classes, "
                f"{rows[-1].name} on {spec.name} with {len(dataset.classes)}: report runs of the same data together"
            )
    views, mistakes = [], {row.name: Mistakes(len(dataset.classes)) for row in rows}
    for row in rows:
        say(f"scoring {row.name} on {split}")
        called = {folder.resolve(): words for folder, words in (titles or {}).items()}.get(row.folders[0].resolve(), "")
        views.append(dataclasses.replace(_view(row, dataset, teacher, mistakes[row.name]), title=called))
    views = _with_gaps(views)
    looked_at = rows[_of_interest(views)]
    attention = {row.name: found for row in rows if (found := _attention(row, teacher))}
    chosen = [number * len(dataset) // examples for number in range(min(examples, len(dataset)))]
    command = ["segstill", "report", *map(str, runs), "--out", out.name, "--split", split, "--examples", str(examples)]
    command += ["--data.root", root] if root else []
    say("drawing")
    data = looked_at.recipe.data
    page = PageView(
        title=title or f"segstill on {spec.name}, {split} split",
        classes=dataset.classes,
        palette=dataset.palette,
        runs=tuple(views),
        examples=_examples(rows, dataset, chosen, teacher, attention),
        similarity={row.name: _similarity(row, dataset) for row in rows},
        similarity_meaning=(
            "Entry (i, j) is the divergence KL(p_i || p_j) in nats of the maps of two classes, mean over "
            f"{min(SIMILARITY_IMAGES, len(dataset))} images: the larger, the better the network tells the two apart."
        ),
        confusion={name: found.confusion for name, found in mistakes.items()},
        worst=worst_views(
            looked_at.saved.model,
            dataset,
            mistakes[looked_at.name],
            longest_side=data.longest_side,
            short_side=data.short_side,
        ),
        worst_run=looked_at.name,
        attention_meaning=" ".join(f"{name}: {found.meaning}" for name, found in attention.items()),
        environment=environment_of(
            rows[-1].folders[0], f"{spec.name}, {len(dataset)} {split} images, scored at the label's full size"
        ),
        commands=(shlex.join(command),),
    )
    draw(out, page)
    return tuple(views)


def _rows(runs: Sequence[Path]) -> tuple[list[_Row], _Row | None]:
    """Group runs by recipe without seed, in the order given; return the teacher that they name by itself."""
    if not runs:
        raise ValueError("no run is given: segstill report RUN...")
    recipes = {folder: read_recipe(folder) for folder in runs}
    named = [Path(recipe.teacher) for recipe in recipes.values() if recipe.teacher]
    teacher = next((folder for folder in named if (folder / "recipe.json").is_file()), None)
    groups: dict[str, list[Path]] = {}
    for folder, recipe in recipes.items():
        if teacher is None or folder.resolve() != teacher.resolve():
            groups.setdefault(str(dataclasses.replace(recipe, seed=0)), []).append(folder)
    rows = []
    for folders in groups.values():
        name = folders[0].name if len(folders) == 1 else recipes[folders[0]].name
        rows.append(_Row(name, tuple(folders), recipes[folders[0]], load(folders[0])))
    return rows, _Row(teacher.name, (teacher,), read_recipe(teacher), load(teacher)) if teacher else None


def _view(row: _Row, dataset: SegmentationDataset, teacher: _Row | None, mistakes: Mistakes) -> RunView:
    data = row.recipe.data
    guest = teacher.saved.model if teacher and row is not teacher else None
    all_scores, seconds = [], []
    for folder in row.folders:
        model = row.saved.model if folder == row.folders[0] else load(folder).model
        scores = evaluate(
            model,
            dataset,
            longest_side=data.longest_side,
            short_side=data.short_side,
            teacher=guest,
            workers=data.workers,
            each=mistakes if folder == row.folders[0] else None,
        )
        all_scores.append(scores)
        if (folder / "metrics.json").is_file():
            seconds.append(json.loads((folder / "metrics.json").read_text())["seconds_per_epoch"])
    mious = [scores["miou"] for scores in all_scores]
    size = shrink(dataset[0][0], data.longest_side, data.short_side).shape[1:]
    cost = measure_cost(row.saved.model, (size[0], size[1]))
    taught = any(LOSSES[term.loss or name].needs_teacher for name, term in row.recipe.terms.items())
    role = "teacher" if row is teacher else "distilled" if taught else "baseline"
    command = json.loads((row.folders[0] / "env.json").read_text())["command"]
    return RunView(
        name=row.name,
        role=role,
        scores=_mean(all_scores),
        parameters=cost.parameters,
        gmacs=cost.gmacs,
        milliseconds=cost.milliseconds,
        seconds_per_epoch=statistics.mean(seconds) if seconds else None,
        seeds=len(mious),
        miou_deviation=statistics.stdev(mious) if len(mious) > 1 else None,
        log=read_log(row.folders[0]),
        command=command,
    )


def _of_interest(views: Sequence[RunView]) -> int:
    """Return the number of the run whose mistakes are shown: the best that was taught, else the best."""
    taught = [number for number, view in enumerate(views) if view.role == "distilled"]
    return max(taught or range(len(views)), key=lambda number: views[number].scores["miou"])


def _mean(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average scores over runs; a class or score that one of them does not have is None."""
    mean: dict[str, Any] = {}
    for name, first in results[0].items():
        values = [result[name] for result in results]
        if isinstance(first, dict):
            mean[name] = _mean(values)
        else:
            mean[name] = None if None in values else statistics.mean(values)
    return mean


def _with_gaps(views: list[RunView]) -> list[RunView]:
    miou = {role: [v.scores["miou"] for v in views if v.role == role] for role in ("teacher", "baseline")}
    if len(miou["teacher"]) != 1 or len(miou["baseline"]) != 1 or miou["teacher"] == miou["baseline"]:
        return views
    top, floor = miou["teacher"][0], miou["baseline"][0]
    return [
        dataclasses.replace(v, gap_closed=(v.scores["miou"] - floor) / (top - floor)) if v.role == "distilled" else v
        for v in views
    ]


def _attention(row: _Row, teacher: _Row | None) -> Attention | None:
    named = teacher and row.recipe.teacher and Path(row.recipe.teacher).resolve() == teacher.folders[0].resolve()
    return find_attention(row.saved, row.folders[0], teacher.saved.model if teacher and named else None)


@torch.no_grad()
def _examples(
    rows: Sequence[_Row],
    dataset: SegmentationDataset,
    chosen: Sequence[int],
    teacher: _Row | None,
    attention: Mapping[str, Attention],
) -> tuple[ExampleView, ...]:
    views = []
    for index in chosen:
        image, mask = dataset[index]
        size = (image.shape[1], image.shape[2])
        predictions, maps = {}, {}
        for row in rows:
            small = shrink(image, row.recipe.data.longest_side, row.recipe.data.short_side)[None].to(_device(row))
            prediction = predict(row.saved.model, small, size).argmax(1)[0]
            predictions[row.name] = prediction.cpu().numpy().astype(np.uint8)
            if row.name in attention:
                maps[row.name], theirs = attention[row.name].maps(small)
                if teacher:
                    maps[teacher.name] = theirs
        truth = None if mask is None else np.asarray(mask)
        picture = image.permute(1, 2, 0).contiguous().numpy()
        views.append(
            ExampleView(name=dataset.name(index), image=picture, truth=truth, predictions=predictions, attention=maps)
        )
    return tuple(views)


@torch.no_grad()
def _similarity(row: _Row, dataset: SegmentationDataset) -> NDArray[np.floating]:
    count = min(SIMILARITY_IMAGES, len(dataset))
    matrices = []
    for number in range(count):
        image, _ = dataset[number * len(dataset) // count]
        small = shrink(image, row.recipe.data.longest_side, row.recipe.data.short_side)
        logits = row.saved.model(small[None].to(_device(row)))
        matrices.append(inter_class_similarity(logits.float())[0])
    return torch.stack(matrices).mean(0).cpu().numpy()


def environment_of(run: Path, data: str) -> dict[str, str]:
    """Return what the numbers of a page depend on: that of a run, and what it was scored on in words."""
    facts = json.loads((run / "env.json").read_text())
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    device = ", ".join(facts["gpus"]) or f"CPU, {facts['cpu_threads']} threads, {facts['cpu_capability']}"
    return {"data": data, "device": device, "date": facts["date"], "python": facts["python"], "versions": versions}


def _device(row: _Row) -> torch.device:
    return next(row.saved.model.parameters()).device
