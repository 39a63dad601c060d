"""The verbs that run: demo, train, evaluate, report, compare."""

import dataclasses
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from ..affinities import evaluate_affinities
from ..build import build_recipe, load, load_teacher
from ..compare import compare
from ..data import choose_split, open_dataset
from ..demo import order, run_chain_demo, run_weak_demo
from ..demo import run_demo as run_main_demo
from ..environment import environment
from ..evaluate import evaluate, headline
from ..flags import take_arguments
from ..models import CLASSIFIERS, AffinityNet
from ..progress import Watcher
from ..recipe import Recipe
from ..recipes import PUBLISHED
from ..report import write_comparison, write_report, write_seed_report
from ..run import read_recipe
from ..seeding import SeedSpec
from ..tables import comparison, methods, seeds, stages
from ..train import train
from ..verdict import Budget
from .console import NOTHING, DataRoot, err, out, parse
from .looking import run_list
from .weak import evaluate_masks, score_classifier


@dataclass(frozen=True)
class TrainOptions:
    """Train the student of a recipe."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    run: Path | None = None
    """Folder to write; runs/<recipe> without it."""
    resume: bool = False
    """Continue the run that is in the folder."""


def run_train(args: list[str]) -> None:
    """RECIPE [--field value ...]: train the student of a recipe"""
    if not args or args[0] in ("-h", "--help"):
        out.print(
            "segstill train RECIPE [--field value ...]: segstill train RECIPE --help shows every field; recipes are"
        )
        run_list([])
        return
    recipe, rest = take_arguments(build_recipe(args[0]), args[1:])
    options = parse(TrainOptions, rest, "train " + args[0], default=TrainOptions(recipe))
    recipe = options.recipe
    run = options.run or Path("runs") / (recipe.name + (f"-seed{recipe.seed}" if recipe.seed else ""))
    with Watcher(out) as watcher:
        scores = train(recipe, run, resume=options.resume, watch=watcher, say=watcher.say)
    if os.environ.get("RANK", "0") == "0":  # one of several processes speaks
        out.print(f"{run}: val {headline(scores)}")


SWEPT = (
    "label_free_miou and oracle_miou sweep a threshold over the class maps, without the map of the background; the "
    "oracle is tuned on the masks. They count a class that neither masks nor seeds hold as IoU 0, as published "
    "evaluators do; seed_miou and fixed_miou leave it out of the mean."
)


@dataclass(frozen=True)
class EvaluateOptions:
    """Score a trained student."""

    run: tyro.conf.Positional[Path]
    """A run folder (its best checkpoint) or a checkpoint file."""
    split: str | None = None
    """Which images: val, test or train; without it val, or test where the data has no val split."""
    json: bool = False
    """Print one JSON object and nothing else."""
    scales: tuple[float, ...] = (1.0,)
    """Average over enlarged or shrunk images."""
    flip: bool = False
    """Average with the mirrored image."""
    teacher: str | None = None
    """A run folder or checkpoint to measure the agreement with; the recipe's own without it."""
    data_root: DataRoot = None
    """Folder of the data set; the recipe's own without it."""
    workers: int = 2
    """Processes that read images."""
    seeds: bool = False
    """Of a classifier: score the masks that its maps lead to, not its tags."""
    maps: SeedSpec = dataclasses.field(default_factory=SeedSpec)
    """Of a classifier with --seeds: how the maps are made and turned into masks."""
    affinity: Path | None = None
    """Of a classifier with --seeds: run of an affinity network, along which the random walk goes."""


def run_evaluate(args: list[str]) -> None:
    """RUN|MASKS [--split test] [--json]: score a student, a classifier, its seeds, or a folder of masks"""
    given, args = take_arguments(NOTHING, args)
    options = parse(EvaluateOptions, args, "evaluate")
    if (options.run / "seeds.json").is_file():
        _show_scores(evaluate_masks(options.run, given.data.args, options.data_root), str(options.run), options.json)
        return
    saved = load(options.run)
    if saved.recipe is None:
        raise ValueError(
            f"{saved.file} does not say which data it was trained on: give a run or a checkpoint of segstill"
        )
    data = saved.recipe.data
    data = dataclasses.replace(data, root=options.data_root or data.root, args=data.args | given.data.args)
    split = options.split or choose_split(data, "val", "test", say=err.print)
    if options.seeds or saved.model.predicts == "tags":
        spec = options.maps if options.seeds else None
        scores = score_classifier(options.run, data, split, spec, options.workers, options.affinity)
        _show_scores(scores, f"{options.run}, {split}", options.json)
        return
    if isinstance(saved.model, AffinityNet):
        reading = {"longest_side": data.longest_side, "short_side": data.short_side, "workers": options.workers}
        scores = evaluate_affinities(saved.model, open_dataset(data, split), **reading)
        _show_scores(scores, f"{options.run}, {split}", options.json)
        return
    teacher = options.teacher or saved.recipe.teacher
    if teacher and not options.teacher and not Path(teacher).exists():
        err.print(f"the teacher {teacher} is not there any more: no agreement with it")
        teacher = None
    scores = evaluate(
        saved.model,
        open_dataset(data, split),
        longest_side=data.longest_side,
        short_side=data.short_side,
        scales=options.scales,
        flip=options.flip,
        teacher=load_teacher(dataclasses.replace(saved.recipe, teacher=teacher), saved.classes, say=err.print),
        workers=options.workers,
    )
    _show_scores(scores, f"{options.run}, {split}", options.json)


def _show_scores(scores: dict[str, Any], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(scores))
        return
    table = Table("score", "value", title=title)
    for name, value in scores.items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    for kind in ("per_class_iou", "per_class_ap"):
        for name, value in scores.get(kind, {}).items():
            what = "IoU" if kind == "per_class_iou" else "AP"
            table.add_row(f"{what} {name}", "absent" if value is None else f"{value:.4f}")
    if "oracle_miou" in scores:
        table.caption = SWEPT
    out.print(table)


@dataclass(frozen=True)
class ReportOptions:
    """Write one self-contained page about some runs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; the teacher they name is added."""
    out: Path = Path("report.html")
    """The page."""
    split: str | None = None
    """Which images: test, val or train; without it test, or val where the data has no test split.  Of
    classifiers: those whose seeds are made; without it train."""
    examples: int = 6
    """Images shown."""
    data_root: DataRoot = None
    """Folder of the data set; the recipe's own without it."""


def run_report(args: list[str]) -> None:
    """RUN...: write one self-contained page about some runs"""
    options = parse(ReportOptions, args, "report")
    if options.runs and all(read_recipe(run).student.name in CLASSIFIERS for run in options.runs):
        shown = {"split": options.split or "train", "examples": options.examples, "root": options.data_root}
        out.print(seeds(write_seed_report(options.runs, options.out, **shown, say=err.print)))
        out.print(f"wrote {options.out}")
        return
    rows = write_report(
        options.runs, options.out, split=options.split, examples=options.examples, root=options.data_root, say=err.print
    )
    out.print(comparison(rows))
    out.print(f"wrote {options.out}")


@dataclass(frozen=True)
class DemoOptions:
    """Draw scenes, train a teacher and four students, write a page; or show another of the jobs on them."""

    out: Path | None = None
    """Folder of the runs and the page; what is there already is not run again.  segstill-demo without it."""
    seed: int = 0
    """Of the runs; the first one, with --weak."""
    chain: bool = False
    """From tags over a classifier, seed masks and a teacher to a small student; into segstill-demo-chain."""
    weak: bool = False
    """Train SWTformer V1 and V2 on tags alone, and score the seeds that they lead to; into segstill-demo-weak."""
    seeds: int = 3
    """With --weak: runs of each, with the seeds that follow."""


def run_demo(args: list[str]) -> None:
    """[--chain | --weak]: the main job, the chain, or masks from tags, on drawn scenes: minutes, no data"""
    options = parse(DemoOptions, args, "demo")
    if options.chain and options.weak:
        raise ValueError("--chain and --weak are two demos: pass one of them")
    kind = "-chain" if options.chain else "-weak" if options.weak else ""
    folder = options.out or Path("segstill-demo" + kind)
    with Watcher(out) as watcher:
        given = {"seed": options.seed, "watch": watcher, "say": watcher.say}
        if options.chain:
            told = [stages(run_chain_demo(folder, count=watcher.count, **given))]
        elif options.weak:
            page = run_weak_demo(folder, seeds=options.seeds, **given)
            told = [seeds(page), order(page)]
        else:
            told = [comparison(run_main_demo(folder, **given))]
    for one in told:
        out.print(one, highlight=False)
    out.print(f"wrote {folder / 'report.html'}")


@dataclass(frozen=True)
class CompareOptions:
    """Train a student by several methods with several seeds on equal footing, and say what is more than noise."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    seeds: int = 3
    """Every method runs with the seeds 0, 1, ... up to this many."""
    budget: Budget = "steps"
    """What is equal for every method: its steps, or its wall-clock time."""
    split: str | None = None
    """Which images are scored; without it test, or val where the data has no test split."""
    out: Path = Path("comparison")
    """Folder of the runs and of compare.html, .csv and .json; runs that are there and done are not run again."""


def run_compare(args: list[str]) -> int:
    """RECIPE... [--seeds 3] [--budget steps|seconds]: methods on equal footing, with their cost"""
    names = list(itertools.takewhile(lambda arg: not arg.startswith("-"), args))
    if not names:
        out.print(
            "segstill compare RECIPE... [--seeds N] [--budget steps|seconds] [--out DIR] and the flags of train, which "
            "hold for all recipes; segstill compare RECIPE --help shows every flag"
        )
        return 0 if args else 2
    options: list[CompareOptions] = []
    for name in names:
        recipe, rest = take_arguments(build_recipe(name), args[len(names) :])
        options.append(parse(CompareOptions, rest, f"compare {name}", default=CompareOptions(recipe)))
    first = options[0]
    split = first.split or choose_split(first.recipe.data, "test", "val", say=err.print)
    result = compare(
        [each.recipe for each in options],
        first.out,
        seeds=first.seeds,
        budget=first.budget,
        split=split,
        published=PUBLISHED,
        say=lambda sentence: out.print(sentence, markup=False, highlight=False),
    )
    result = dataclasses.replace(result, command=environment()["command"])
    write_comparison(first.out, result)
    out.print(methods(result))
    out.print(f"wrote {first.out / 'compare.html'}, compare.csv and compare.json")
    return 1 if any(row.failures for row in result.results) else 0
