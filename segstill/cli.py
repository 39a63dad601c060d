"""The command line: parse, call, show."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from .build import build_recipe, find, load
from .data import DATASETS, examine, open_dataset
from .demo import run_demo
from .evaluate import evaluate
from .flags import take_arguments
from .losses import LOSSES
from .models import MODELS
from .progress import Watcher
from .recipe import DataSpec, Recipe, to_json
from .recipes import RECIPES
from .report import RunView, write_report
from .train import Diverged, train

out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True, soft_wrap=True)
SETTINGS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
DataRoot = Annotated[str | None, tyro.conf.arg(name="data.root")]


@dataclass(frozen=True)
class TrainOptions:
    """Train the student of a recipe."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    run: Path | None = None
    """Folder to write; runs/<recipe> without it."""
    resume: bool = False
    """Continue the run that is in the folder."""


def _train(args: list[str]) -> None:
    """RECIPE [--field value ...]: train the student of a recipe"""
    if not args or args[0] in ("-h", "--help"):
        out.print(
            "segstill train RECIPE [--field value ...]: segstill train RECIPE --help shows every field; recipes are"
        )
        _list([])
        return
    recipe, rest = take_arguments(build_recipe(args[0]), args[1:])
    options = _parse(TrainOptions, rest, "train " + args[0], default=TrainOptions(recipe))
    recipe = options.recipe
    run = options.run or Path("runs") / (recipe.name + (f"-seed{recipe.seed}" if recipe.seed else ""))
    with Watcher(out) as watcher:
        scores = train(recipe, run, resume=options.resume, watch=watcher, say=watcher.say)
    if os.environ.get("RANK", "0") == "0":  # one of several processes speaks
        out.print(f"{run}: val mIoU {scores['miou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}")


@dataclass(frozen=True)
class EvaluateOptions:
    """Score a trained student."""

    run: tyro.conf.Positional[Path]
    """A run folder (its best checkpoint) or a checkpoint file."""
    split: str = "val"
    """Which images: val, test or train."""
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


def _evaluate(args: list[str]) -> None:
    """RUN [--split test] [--json]: score a trained student"""
    options = _parse(EvaluateOptions, args, "evaluate")
    saved = load(options.run)
    if saved.recipe is None:
        raise ValueError(
            f"{saved.file} does not say which data it was trained on: give a run or a checkpoint of segstill"
        )
    data = dataclasses.replace(saved.recipe.data, root=options.data_root or saved.recipe.data.root)
    teacher = options.teacher or saved.recipe.teacher
    if teacher and not options.teacher and not Path(teacher).exists():
        err.print(f"the teacher {teacher} is not there any more: no agreement with it")
        teacher = None
    scores = evaluate(
        saved.model,
        open_dataset(data, options.split),
        longest_side=data.longest_side,
        scales=options.scales,
        flip=options.flip,
        teacher=load(teacher, saved.recipe.teacher_model, classes=len(saved.classes), say=err.print).model
        if teacher
        else None,
        workers=options.workers,
    )
    if options.json:
        print(json.dumps(scores))
        return
    table = Table("score", "value", title=f"{options.run}, {options.split}")
    for name, value in scores.items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:.4f}")
    for name, value in scores["per_class_iou"].items():
        table.add_row(f"IoU {name}", "absent" if value is None else f"{value:.4f}")
    out.print(table)


@dataclass(frozen=True)
class ListOptions:
    """Show the recipes, models, losses and data sets that there are."""


def _list(args: list[str]) -> None:
    """what there is: recipes, models, losses, data sets"""
    _parse(ListOptions, args, "list")
    table = Table("recipe", "data", "student", "terms", "epochs", title="recipes")
    for name, make in RECIPES.items():
        recipe = make()
        student = " ".join([recipe.student.name, *(str(recipe.student.args[k]) for k in recipe.student.args)])
        table.add_row(name, recipe.data.name, student, " + ".join(recipe.terms), str(recipe.epochs))
    out.print(table)
    for what, names in (("models", MODELS), ("losses", LOSSES), ("data sets", DATASETS)):
        out.print(f"{what}: {', '.join(names)}")


@dataclass(frozen=True)
class ShowOptions:
    """Show a recipe as data."""

    recipe: tyro.conf.Positional[str]
    """Name of a recipe, or a .json file."""


def _show(args: list[str]) -> None:
    """RECIPE: print a recipe as JSON"""
    print(to_json(build_recipe(_parse(ShowOptions, args, "show").recipe)))


@dataclass(frozen=True)
class CheckOptions:
    """Read every file of a data set and name every problem."""

    data: tyro.conf.Positional[str]
    """A data set of segstill list (with --data.root), or the folder of one: then it is `folder` if --data.classes are
    given, else the data set whose layout it has."""
    data_root: DataRoot = None
    """Folder of the data set."""
    data_classes: Annotated[tuple[str, ...], tyro.conf.arg(name="data.classes")] = ()
    """Class names in the order of the mask values, for the data set `folder`."""


def _check(args: list[str]) -> int:
    """DATA: read every file of a data set and name every problem"""
    options = _parse(CheckOptions, args, "check")
    if options.data in DATASETS:
        spec = DataSpec(name=options.data, root=options.data_root, classes=options.data_classes)
    elif Path(options.data).is_dir():
        spec = DataSpec(
            name="folder" if options.data_classes else "camvid", root=options.data, classes=options.data_classes
        )
    else:
        raise ValueError(f"{options.data} is no folder and no data set; expected a folder or one of {list(DATASETS)}")
    examination = examine(spec)
    for problem in examination.problems:
        colour = "red" if problem.severity == "error" else "yellow"
        out.print(
            Text(f"{problem.severity:8}", colour), f"{problem.file}: {problem.given}; {problem.remedy}", highlight=False
        )
    out.print(str(examination), highlight=False)
    return 2 if any(problem.severity == "error" for problem in examination.problems) else 0


@dataclass(frozen=True)
class ReportOptions:
    """Write one self-contained page about some runs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; the teacher they name is added."""
    out: Path = Path("report.html")
    """The page."""
    split: str = "test"
    """Which images are scored and shown."""
    examples: int = 6
    """Images shown."""
    data_root: DataRoot = None
    """Folder of the data set; the recipe's own without it."""


def _report(args: list[str]) -> None:
    """RUN...: write one self-contained page about some runs"""
    options = _parse(ReportOptions, args, "report")
    rows = write_report(
        options.runs, options.out, split=options.split, examples=options.examples, root=options.data_root, say=err.print
    )
    out.print(_comparison(rows))
    out.print(f"wrote {options.out}")


@dataclass(frozen=True)
class DemoOptions:
    """Draw scenes, train a teacher and four students, write a page."""

    out: Path = Path("segstill-demo")
    """Folder of the runs and the page; what is there already is not run again."""
    seed: int = 0


def _demo(args: list[str]) -> None:
    """the main job on drawn scenes: minutes, no data, no download"""
    options = _parse(DemoOptions, args, "demo")
    with Watcher(out) as watcher:
        rows = run_demo(options.out, seed=options.seed, watch=watcher, say=watcher.say)
    out.print(_comparison(rows))
    out.print(f"wrote {options.out / 'report.html'}")


def _comparison(rows: Sequence[RunView]) -> Table:
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


def _parse(kind: Any, args: list[str], verb: str, **settings: Any) -> Any:
    return tyro.cli(kind, args=args, prog=f"segstill {verb}", config=SETTINGS, **settings)


VERBS: dict[str, Callable[[list[str]], Any]] = {
    "demo": _demo,
    "list": _list,
    "show": _show,
    "check": _check,
    "train": _train,
    "evaluate": _evaluate,
    "report": _report,
}


def main(args: list[str] | None = None) -> None:
    """Run a verb; exit with 2 on the user's mistakes, 1 on a diverged run, 130 on Ctrl-C."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        out.print("segstill makes small semantic-segmentation networks good, and ships them.\n")
        for verb, run in VERBS.items():
            out.print(f"  segstill {verb:9} {run.__doc__}", highlight=False, markup=False)
        sys.exit(0 if args else 2)
    if args[0] in ("-V", "--version"):
        print(version("segstill"))
        return
    try:
        code = find(VERBS, args[0], "verb")(args[1:])
    except (ValueError, OSError, Diverged, KeyboardInterrupt) as error:
        if os.environ.get("SEGSTILL_TRACEBACK"):
            raise
        err.print(f"segstill: {error}", style="red", markup=False, highlight=False)
        sys.exit({Diverged: 1, KeyboardInterrupt: 130}.get(type(error), 2))
    sys.exit(code or 0)
