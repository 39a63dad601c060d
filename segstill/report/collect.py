"""Turn run folders into what a page shows: score them, measure their cost, and let them look at some images."""

import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..build import Saved, build_learner, load, load_teacher
from ..checkpoint import read_state
from ..cost import measure_cost
from ..data import open_dataset
from ..data.dataset import SegmentationDataset
from ..data.transforms import shrink
from ..evaluate import evaluate, predict
from ..learner import Learner
from ..losses import AttnFD, inter_class_similarity
from ..recipe import Recipe
from ..run import read_log, read_recipe
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
    split: str = "test",
    examples: int = 6,
    root: str | None = None,
    title: str = "",
    say: Callable[[str], None] = print,
) -> tuple[RunView, ...]:
    """Score runs on a split and write a page about them.

    Runs that differ in their seed only become one row, with mean and standard deviation.  The teacher that runs name is
    added when it is not among them.

    Args:
        runs: run folders.
        out: the page.
        split: which images are scored and shown.
        examples: images shown, evenly spread over the split.
        root: folder of the data set, where it is no longer where the recipe says.
        title: of the page; the data set's name without it.
        say: is told what happens.

    Returns:
        The rows of the page's table.

    Raises:
        ValueError: no run, or runs of other data.
        FileNotFoundError: a run that is not there or has no checkpoint.
    """
    rows, teacher_folder = _rows(runs)
    spec = dataclasses.replace(rows[0].recipe.data, root=root or rows[0].recipe.data.root)
    dataset = open_dataset(spec, split)
    for row in rows:
        if row.saved.classes != dataset.classes or row.recipe.data.name != spec.name:
            raise ValueError(
                f"{row.name} was trained on {row.recipe.data.name} with {len(row.saved.classes)} classes, "
                f"{rows[0].name} on {spec.name} with {len(dataset.classes)}: report runs of the same data together"
            )
    views = []
    teacher = next((row.saved.model for row in rows if row.folders[0] == teacher_folder), None)
    for row in rows:
        say(f"scoring {row.name} on {split}")
        views.append(_view(row, dataset, teacher if row.recipe.teacher else None, teacher_folder))
    views = _with_gaps(views)
    chosen = [number * len(dataset) // examples for number in range(min(examples, len(dataset)))]
    say("drawing")
    page = PageView(
        title=title or f"segstill on {spec.name}, {split} split",
        classes=dataset.classes,
        palette=dataset.palette,
        runs=tuple(views),
        examples=_examples(rows, dataset, chosen, teacher_folder),
        similarity={row.name: _similarity(row, dataset) for row in rows},
        similarity_meaning=(
            "Entry (i, j) is the divergence KL(p_i || p_j) in nats of the maps of two classes, mean over "
            f"{min(SIMILARITY_IMAGES, len(dataset))} images: the larger, the better the network tells the two apart."
        ),
        environment=_environment(rows, dataset, split),
        commands=(f"segstill report {' '.join(str(run) for run in runs)} --out {out.name} --split {split}",),
    )
    write_page(out, page)
    return tuple(views)


def _rows(runs: Sequence[Path]) -> tuple[list[_Row], Path | None]:
    """Group runs by recipe without seed, in the order given, the teacher first."""
    if not runs:
        raise ValueError("no run is given: segstill report RUN...")
    recipes = {folder: read_recipe(folder) for folder in map(Path, runs)}
    named = [Path(recipe.teacher) for recipe in recipes.values() if recipe.teacher]
    teacher = next((folder for folder in named if (folder / "recipe.json").is_file()), None)
    if teacher:
        recipes = {teacher: read_recipe(teacher)} | {
            f: r for f, r in recipes.items() if f.resolve() != teacher.resolve()
        }
    groups: dict[str, list[Path]] = {}
    for folder, recipe in recipes.items():
        key = str(folder) if folder == teacher else str(dataclasses.replace(recipe, seed=0))
        groups.setdefault(key, []).append(folder)
    rows = []
    for folders in groups.values():
        name = folders[0].name if len(folders) == 1 else recipes[folders[0]].name
        rows.append(_Row(name, tuple(folders), recipes[folders[0]], load(folders[0])))
    return rows, teacher


def _view(
    row: _Row, dataset: SegmentationDataset, teacher: torch.nn.Module | None, teacher_folder: Path | None
) -> RunView:
    data = row.recipe.data
    all_scores, seconds = [], []
    for folder in row.folders:
        model = row.saved.model if folder == row.folders[0] else load(folder).model
        all_scores.append(
            evaluate(model, dataset, longest_side=data.longest_side, teacher=teacher, workers=data.workers)
        )
        if (folder / "metrics.json").is_file():
            seconds.append(json.loads((folder / "metrics.json").read_text())["seconds_per_epoch"])
    mious = [scores["miou"] for scores in all_scores]
    size = shrink(dataset[0][0], data.longest_side).shape[1:]
    cost = measure_cost(row.saved.model, (size[0], size[1]))
    role = "teacher" if row.folders[0] == teacher_folder else "distilled" if row.recipe.teacher else "baseline"
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


@torch.no_grad()
def _examples(
    rows: Sequence[_Row], dataset: SegmentationDataset, chosen: Sequence[int], teacher_folder: Path | None
) -> tuple[ExampleView, ...]:
    learners = {row.name: learner for row in rows if (learner := _attention_learner(row))}
    teacher_name = next((row.name for row in rows if row.folders[0] == teacher_folder), None)
    views = []
    for index in chosen:
        image, mask = dataset[index]
        size = (image.shape[1], image.shape[2])
        predictions, attention = {}, {}
        for row in rows:
            small = shrink(image, row.recipe.data.longest_side)[None].to(_device(row))
            prediction = predict(row.saved.model, small, size).argmax(1)[0]
            predictions[row.name] = prediction.cpu().numpy().astype(np.uint8)
            if row.name in learners:
                student, teacher = learners[row.name].attention_maps(small)
                attention[row.name] = student
                if teacher_name:
                    attention[teacher_name] = teacher
        truth = None if mask is None else np.asarray(mask)
        picture = image.permute(1, 2, 0).contiguous().numpy()
        views.append(
            ExampleView(
                name=dataset.name(index), image=picture, truth=truth, predictions=predictions, attention=attention
            )
        )
    return tuple(views)


class _Attention:
    """What the attention of a trained AttnFD loss looks at, in its finest tap."""

    def __init__(self, learner: Learner, loss: AttnFD):
        self.learner, self.loss = learner, loss

    def attention_maps(self, image: torch.Tensor) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        maps = self.loss.attention(*self.learner.features(image))
        student, teacher = maps[self.loss.taps[-1]]
        return student[0, 0].cpu().numpy(), teacher[0, 0].cpu().numpy()


def _attention_learner(row: _Row) -> _Attention | None:
    """Rebuild the learner of a run that was taught by AttnFD, if its teacher is still there."""
    kinds = {term.loss or name: term for name, term in row.recipe.terms.items()}
    state, teacher = row.folders[0] / "state.pt", row.recipe.teacher
    if "attnfd" not in kinds or not state.is_file() or not teacher or not Path(teacher).exists():
        return None
    guest = load_teacher(row.recipe, row.saved.classes, say=lambda _: None)
    learner = build_learner(load(row.folders[0]).model, row.recipe.terms, guest)
    learner.load_state_dict(read_state(state)["learner"])
    learner.to(_device(row)).eval()
    return next(_Attention(learner, loss) for loss in learner.losses.values() if isinstance(loss, AttnFD))


@torch.no_grad()
def _similarity(row: _Row, dataset: SegmentationDataset) -> NDArray[np.floating]:
    count = min(SIMILARITY_IMAGES, len(dataset))
    matrices = []
    for number in range(count):
        image, _ = dataset[number * len(dataset) // count]
        logits = row.saved.model(shrink(image, row.recipe.data.longest_side)[None].to(_device(row)))
        matrices.append(inter_class_similarity(logits.float())[0])
    return torch.stack(matrices).mean(0).cpu().numpy()


def _environment(rows: Sequence[_Row], dataset: SegmentationDataset, split: str) -> dict[str, str]:
    facts = json.loads((rows[-1].folders[0] / "env.json").read_text())
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    device = ", ".join(facts["gpus"]) or f"CPU, {facts['cpu_threads']} threads, {facts['cpu_capability']}"
    return {
        "data": f"{rows[0].recipe.data.name}, {len(dataset)} {split} images, scored at the label's full size",
        "device": device,
        "date": facts["date"],
        "python": facts["python"],
        "versions": versions,
    }


def _device(row: _Row) -> torch.device:
    return next(row.saved.model.parameters()).device
