"""Turn runs of classifiers into a page: tags, maps, and the seeds that they lead to, before and after refinement."""

import dataclasses
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..arithmetic import nearest, resized
from ..build import load
from ..cost import measure_cost
from ..data import Part, open_dataset, open_tagged
from ..data.dataset import SegmentationDataset
from ..data.transforms import shrink
from ..evaluate import evaluate_tags, find_devices
from ..localise import evaluate_seeds
from ..metrics import Scores
from ..models import Classifier
from ..recipe import Recipe
from ..run import read_log, read_recipe
from ..seeding import SeedSpec, as_trained, class_maps, mask_of_size, refined
from .collect import environment_of
from .seeds_page import Guess, SeedExample, SeedPage, SeedRun, Shown, write_seed_page
from .sheet import contact_sheet

SHEET, SMALL, LARGE = 48, 256, 640
"""Pictures on the contact sheet; longest sides of these, and of the examples."""


class _Group(NamedTuple):
    """Runs that differ in their seed only; the first one stands for all in pictures."""

    name: str
    folders: tuple[Path, ...]
    recipe: Recipe
    spec: SeedSpec


def write_seed_report(
    runs: Sequence[Path],
    out: Path,
    *,
    split: str = "train",
    scored: int = 64,
    examples: int = 6,
    root: str | None = None,
    title: str = "",
    spec: SeedSpec | None = None,
    say: Callable[[str], None] = print,
) -> SeedPage:
    """Score classifiers and write a page about them.

    Tags are scored on the val split by the best checkpoint, seeds on `split` by the last one, as they are made.  The
    background factor is that with which a run was trained, unless `spec` has one.  Runs that differ in their seed only
    become one row.

    Args:
        runs: run folders of classifiers.
        out: the page.
        split: whose images seeds are made for.
        scored: images of it that are scored, evenly spread, where they have true masks.
        examples: images shown, evenly spread over those.
        root: folder of the data set, where it is no longer where the recipe says.
        title: of the page; the data set's name without it.
        spec: how seeds are made before refinement; None is `SeedSpec()`.  PAR refines what is shown beside them.
        say: is told what happens.

    Returns:
        What the page shows.

    Raises:
        ValueError: no run, a run that is no classifier, or runs of other data.
        FileNotFoundError: a run or its data is not there.
    """
    groups = _groups(runs, spec or SeedSpec())
    data = dataclasses.replace(groups[0].recipe.data, root=root or groups[0].recipe.data.root)
    whole = open_tagged(data, split)
    for group in groups:
        if group.recipe.data.name != data.name or load(group.folders[0]).classes != whole.classes:
            raise ValueError(
                f"{group.name} was trained on {group.recipe.data.name}, {groups[0].name} on {data.name} with "
                f"{len(whole.classes)} classes: report runs of the same data together"
            )
    tagged = _spread(whole, scored)
    truth = _truth_of(tagged, lambda: open_dataset(data, split), say)
    views = []
    for group in groups:
        say(f"scoring {group.name}: tags of val, seeds of {len(tagged)} {split} images")
        views.append(_view(group, dataclasses.replace(group.recipe.data, root=data.root), tagged, truth))
    count = min(examples, len(tagged))
    command = ["segstill", "report", *map(str, runs), "--out", out.name, "--split", split, "--examples", str(examples)]
    command += ["--data.root", root] if root else []
    page = SeedPage(
        title=title or f"segstill on {data.name}: masks from image labels",
        classes=whole.classes,
        palette=whole.palette,
        runs=tuple(views),
        guesses=guesses(tagged, truth) if truth else (),
        images=f"{len(tagged)} {split} images",
        examples=tuple(_example(groups, tagged, truth, place * len(tagged) // count) for place in range(count)),
        sheet=_sheet(groups[-1], tagged, truth),
        sheet_of=groups[-1].name,
        environment=environment_of(
            groups[-1].folders[0], f"{data.name}: tags of val, seeds of {len(tagged)} {split} images"
        ),
        commands=(shlex.join(command),),
    )
    say("drawing")
    write_seed_page(out, page)
    return page


def guesses(tagged: SegmentationDataset, truth: SegmentationDataset) -> tuple[Guess, ...]:
    """Score masks that look at no pixel, the better first.

    Everything background; and every image all of that of its tags whose class covers, where it is tagged, the most of
    an image on average.  The latter takes the order of the classes from the true masks: a real guess cannot be better.

    Args:
        tagged: images with tags.
        truth: the same images with masks.
    """
    classes = len(tagged.classes)
    areas, times = torch.zeros(2, classes, dtype=torch.float64)
    both = [(tagged.tags(index), truth[index][1]) for index in range(len(tagged))]
    for tags, mask in both:
        if tags is not None and mask is not None:
            areas += torch.bincount(mask[mask < classes].flatten().long(), minlength=classes) / mask.numel()
            times[1:] += tags
    size = areas / times.clamp(min=1)
    scores = {name: Scores(classes) for name in ("all background", "largest class everywhere")}
    for tags, mask in both:
        if tags is not None and mask is not None:
            largest = int((size[1:] * tags).argmax()) + 1 if tags.any() else 0
            for kind, score in zip((0, largest), scores.values(), strict=True):
                score.update(torch.full_like(mask, kind)[None], mask[None])
    found: list[Guess] = []
    for name, score in scores.items():
        miou = score.result(tagged.classes)["miou"]
        assert isinstance(miou, float)
        found.append(Guess(name, miou))
    return tuple(sorted(found, key=lambda guess: -guess.miou))


def _groups(runs: Sequence[Path], spec: SeedSpec) -> list[_Group]:
    if not runs:
        raise ValueError("no run is given: segstill report RUN...")
    recipes = {folder: read_recipe(folder) for folder in runs}
    same: dict[str, list[Path]] = {}
    for folder, recipe in recipes.items():
        same.setdefault(str(dataclasses.replace(recipe, seed=0)), []).append(folder)
    groups = []
    for folders in same.values():
        recipe = recipes[folders[0]]
        name = folders[0].name if len(folders) == 1 else recipe.name
        groups.append(_Group(name, tuple(folders), recipe, as_trained(recipe, spec)))
    return groups


def _spread(whole: SegmentationDataset, count: int) -> SegmentationDataset:
    count = min(count, len(whole))
    return Part(whole, [place * len(whole) // count for place in range(count)])


def _truth_of(
    tagged: SegmentationDataset, open_masks: Callable[[], SegmentationDataset], say: Callable[[str], None]
) -> SegmentationDataset | None:
    """Return the images of `tagged` with their masks, in its order; None where one has none."""
    try:
        whole = open_masks()
    except (FileNotFoundError, ValueError) as error:
        say(f"seeds are shown and not scored: {error}")
        return None
    places = {whole.name(index): index for index in range(len(whole))}
    names = [tagged.name(index) for index in range(len(tagged))]
    if not places.keys() >= set(names):
        say("seeds are shown and not scored: some of the images have no true mask")
        return None
    return Part(whole, [places[name] for name in names])


def classifier(folder: Path) -> Classifier:
    """Load the last checkpoint of a run, whose maps are looked at; the best one is the best at telling tags."""
    model = load(folder / "last.safetensors").model
    if not isinstance(model, Classifier):
        raise ValueError(
            f"{folder} holds a network that predicts {model.predicts}, expected a classifier: leave it out"
        )
    return model


def _view(group: _Group, data: Any, tagged: SegmentationDataset, truth: SegmentationDataset | None) -> SeedRun:
    reading = {"longest_side": data.longest_side, "short_side": data.short_side, "workers": data.workers}
    val = open_tagged(data, "val")
    found = []
    for folder in group.folders:
        scores = evaluate_tags(load(folder).model, val, **reading)
        if truth is not None:
            device = next(load(folder).model.parameters()).device
            scores |= evaluate_seeds(
                classifier(folder).to(device),
                tagged,
                truth,
                group.spec,
                longest_side=data.longest_side,
                short_side=data.short_side,
            )
        found.append(scores)
    model = classifier(group.folders[0])
    image = _looked_at(tagged[0][0], group)
    cost = measure_cost(model, (image.shape[1], image.shape[2]))
    return SeedRun(
        name=group.name,
        scores={name: tuple(scores[name] for scores in found) for name in found[0]},
        seeds=len(found),
        fused=model.net.fusion is not None,
        parameters=cost.parameters,
        milliseconds=cost.milliseconds,
        log=read_log(group.folders[0]),
        command=json.loads((group.folders[0] / "env.json").read_text())["command"],
    )


@torch.no_grad()
def _sheet(group: _Group, tagged: SegmentationDataset, truth: SegmentationDataset | None) -> bytes:
    """Return many small masks that a classifier leads to, beside the true ones."""
    model = classifier(group.folders[0]).to(find_devices().device).eval()
    device = next(model.parameters()).device
    shown, made, names, truths = [], [], [], []
    count = min(SHEET, len(tagged))
    for index in (place * len(tagged) // count for place in range(count)):
        full, tags = tagged[index][0], tagged.tags(index)
        assert tags is not None
        image = _looked_at(full, group)[None].to(device)
        views = class_maps(model, image, tags[None].to(device), group.spec)
        picture = shrink(full, SMALL)
        size = (picture.shape[1], picture.shape[2])
        shown.append(picture.permute(1, 2, 0).contiguous().numpy())
        made.append(mask_of_size(refined(image, views, group.spec)[0], size).cpu().numpy())
        names.append(tagged.name(index))
        mask = truth[index][1] if truth else None
        truths.append(None if mask is None else nearest(mask, size).numpy())
    return contact_sheet(shown, made, names, tagged.palette, truths=truths)


def _looked_at(image: Tensor, group: _Group) -> Tensor:
    """Return an image as the classifier saw those of its training."""
    return shrink(image, group.recipe.data.longest_side, group.recipe.data.short_side)


@torch.no_grad()
def _example(
    groups: Sequence[_Group], tagged: SegmentationDataset, truth: SegmentationDataset | None, index: int
) -> SeedExample:
    full, tags = tagged[index][0], tagged.tags(index)
    assert tags is not None
    picture, mask = shrink(full, LARGE), truth[index][1] if truth else None
    size = (picture.shape[1], picture.shape[2])
    shown: dict[str, Shown] = {}
    for group in groups:
        model, image = classifier(group.folders[0]).eval(), _looked_at(full, group)[None]
        views = class_maps(model, image, tags[None], group.spec)
        by_pixels = dataclasses.replace(group.spec, refine=("par",))
        before, after = (mask_of_size(each[0], size) for each in (views.maps, refined(image, views, by_pixels)))
        shown[group.name] = Shown(
            resized(views.maps[:, 1:].amax(1, keepdim=True), size)[0, 0].numpy(),
            before.numpy().astype(np.uint8),
            after.numpy().astype(np.uint8),
        )
    names = [name for name, tag in zip(tagged.classes[1:], tags.tolist(), strict=True) if tag]
    return SeedExample(
        name=f"{tagged.name(index)}: {', '.join(names)}",
        image=picture.permute(1, 2, 0).contiguous().numpy(),
        truth=None if mask is None else nearest(mask, size).numpy(),
        shown=shown,
    )
