"""Gather what the page about a chain shows."""

import dataclasses
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from ..arithmetic import resized
from ..data.pictures import read_mask
from ..data.transforms import shrink
from ..evaluate import find_devices
from ..recipe import Recipe, SeedSpec, to_json
from ..report.story import SeedView, StageRow, StoryView, with_commands, write_story
from ..report.view import PageView, RunView
from ..run import environment
from ..seed_masks import load_classifier
from ..seeding import as_trained, class_maps, mask_of_size
from .commands import commands
from .contents import masks_in
from .masks import seldom
from .setting import Setting
from .shipping import measure_shipped
from .stages import Record
from .summary import reached


def draw_story(out: Path, page: PageView, *, setting: Setting, state: Record, split: str, examples: int) -> None:
    """Write the page of a chain.

    Args:
        out: the file.
        page: its networks, scored, with predictions.
        setting: the chain.
        state: what the state file says of the stages that are done.
        split: which images the networks were scored on.
        examples: images shown on their way from tags to masks.
    """
    scores = scores_of(setting, page.runs)
    report = {"seconds": 0.0, "result": {"scores": scores, "split": split}}
    rows = [
        StageRow(row.stage, row.measure, row.value, row.share, _time(row.seconds))
        for row in reached({**state, "report": report})
    ]
    seeds = ()
    sheet = setting.out / "masks" / "overlays.jpg"
    if setting.chain.seeds and setting.begins_with_tags:
        spec = as_trained(setting.classifier_recipe, setting.chain.seeds)
        seeds = _seeds(setting, spec, state["masks"]["result"]["true_masks"], examples)
    if setting.chain.export and setting.chain.export.format == "onnx":
        versions = ", ".join(f"{name} {version(name)}" for name in ("onnx", "onnxscript", "onnxruntime"))
        page = dataclasses.replace(page, environment={**page.environment, "exported with": versions})
    shipped, meaning = measure_shipped(setting, split, {name: found["miou"] for name, found in scores.items()})
    again = (environment()["command"], *commands(setting, split, examples, reference="reference" in state))
    story = StoryView(
        page=with_commands(page, again),
        stages=rows,
        facts=_facts(setting, state),
        shipped=shipped,
        shipped_meaning=meaning,
        seeds=seeds,
        sheet=sheet.read_bytes() if sheet.is_file() else None,
        recipe=to_json(setting.chain),
        compared_with=next(filter(None, (entry["result"].get("compared_with") for entry in state.values())), None),
    )
    write_story(out, story)


def scores_of(setting: Setting, runs: Sequence[RunView]) -> Record:
    """Return what the networks of a page reached, by the names of their stages; those that were given keep theirs."""
    names = {setting.student.name: "student"} | {run.name: "teacher" for run in runs if run.role == "teacher"}
    return {names.get(run.name, run.name): {"miou": run.scores["miou"], "parameters": run.parameters} for run in runs}


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


@torch.no_grad()
def _seeds(setting: Setting, spec: SeedSpec, true: list[str], examples: int) -> tuple[SeedView, ...]:
    dataset, truth = setting.tagged("train"), setting.truth("train")
    places = {} if truth is None else {truth.name(index): index for index in range(len(truth))}
    names = [dataset.name(index) for index in range(len(dataset))]
    made = [index for index, name in enumerate(names) if (setting.out / "masks" / f"{name}.png").is_file()]
    device = find_devices().device
    model = load_classifier(setting.classifier)[1].eval().to(device)
    views = []
    for number in range(min(examples, len(made))):
        index = made[number * len(made) // min(examples, len(made))]
        image, tags = dataset[index][0], dataset.tags(index)
        if tags is None:
            continue
        seen = shrink(image, setting.data.longest_side, setting.data.short_side)
        look = class_maps(model, seen[None].to(device), tags[None].to(device), spec)
        size = (image.shape[1], image.shape[2])
        before = mask_of_size(look.maps[0], size).cpu().numpy() if spec.refine else None
        shown = [number for number, value in enumerate(tags.tolist(), start=1) if value]
        maps = {dataset.classes[label]: resized(look.maps[:, [label]], size)[0, 0].cpu().numpy() for label in shown}
        place = places.get(names[index])
        mask = None if truth is None or place is None else truth[place][1]
        views.append(
            SeedView(
                name=names[index],
                tags=tuple(dataset.classes[label] for label in shown),
                image=image.permute(1, 2, 0).contiguous().numpy(),
                maps=maps,
                before=before,
                made=read_mask(setting.out / "masks" / f"{names[index]}.png", dataset.classes).numpy(),
                true=names[index] in true,
                truth=None if mask is None else mask.numpy(),
            )
        )
    return tuple(views)


def _facts(setting: Setting, state: Record) -> dict[str, str]:
    chain, data = setting.chain, setting.data
    train = setting.tagged("train") if setting.begins_with_tags else None
    facts = {"chain": chain.name, "data": data.name + (f", {Path(data.root).name}" if data.root else "")}
    if train is not None:
        facts["labels"] = f"tags of {len(train)} training images, no mask of them"
        if chain.data.masks:
            true = len(state["masks"]["result"]["true_masks"])
            facts["labels"] = f"tags of {len(train)} training images, and true masks of {true} of them"
        facts["classifier"] = _network(chain.classifier)
        assert chain.seeds is not None
        scales = ", ".join(f"{scale:g}" for scale in chain.seeds.scales)
        facts["seed masks"] = f"scales {scales}; refined by {', '.join(chain.seeds.refine) or 'nothing'}"
        if rare := seldom(state["masks"]["result"].get("shown", {})):
            facts["tagged, but hardly in a mask"] = f"{rare} of the images tagged with it"
        if chain.affinity:
            facts["affinities"] = _network(chain.affinity)
    elif setting.given.masks:
        facts["labels"] = f"{len(masks_in(Path(setting.given.masks)))} masks of one's own"
    elif not setting.given.student and (own := setting.truth("train")):
        facts["labels"] = f"true masks of {len(own)} training images"
    if not setting.given.student:
        facts["teacher"] = setting.given.teacher or _network(chain.teacher)
    if chain.student and not setting.given.student:
        terms = " + ".join(f"{term.weight:g} {name}" for name, term in chain.student.terms.items())
        facts["student"] = f"{_network(chain.student)}; {terms}"
        if chain.data.unlabelled:
            facts["unlabelled"] = f"images of {Path(chain.data.unlabelled).name}, which the teacher answers for"
    truth = {split: setting.truth(split) for split in ("val", "test")}
    facts["scored on"] = ", ".join(
        f"{len(each)} {split} images with true masks" for split, each in truth.items() if each
    )
    facts["scored on"] = facts["scored on"] or "no true masks: scores tell the agreement with seed masks only"
    for name in ("classifier", "masks", "teacher", "student"):
        if place := getattr(setting.given, name):
            facts[name] = f"given: {Path(place).name}"
    return facts


def _network(recipe: Recipe | None) -> str:
    if recipe is None:
        return "none"
    args = ", ".join(f"{name} {value}" for name, value in recipe.student.args.items())
    return f"{recipe.student.name} ({args}), {recipe.epochs} epochs" if args else f"{recipe.student.name}"
