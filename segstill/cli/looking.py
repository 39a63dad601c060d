"""The verbs that look at what there is: list, show, taps, check."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from ..build import build_chain, build_recipe
from ..data import DATASETS, examine, recognise
from ..flags import take_arguments
from ..losses import LOSSES
from ..models import MODELS
from ..probe import build_to_look_at, list_taps, propose_pairs, recipe_to_look_at
from ..progress import counting
from ..recipe import ModelSpec, Recipe, TermSpec, to_json
from ..recipes import CHAINS, FAMILIES, METHODS, RECIPES, WEAK
from ..tables import features, pairs
from .console import NOTHING, DataRoot, err, out, parse


@dataclass(frozen=True)
class ListOptions:
    """Show the recipes, models, losses and data sets that there are."""


def run_list(args: list[str]) -> None:
    """what there is: recipes, models, losses, data sets"""
    parse(ListOptions, args, "list")
    families = Table("family", "data", "teacher", "student", "epochs", title="families of recipes")
    for name, family in FAMILIES.items():
        networks = [_network(recipe.student) for recipe in (family.teacher, family.student)]
        families.add_row(name, family.student.data.name, *networks, str(family.student.epochs))
    out.print(families)
    methods = Table("method", "terms and their weights", title="methods")
    methods.add_row("student", "cross_entropy: the student alone")
    for name, terms in METHODS.items():
        methods.add_row(name, " + ".join(_term(*term) for term in terms.items()))
    out.print(methods)
    out.print("a recipe is FAMILY_METHOD, such as camvid_small_attnfd; its teacher's is", ", ".join(_teachers()))
    out.print(f"weak supervision, from image-level labels: {', '.join(WEAK)}")
    out.print(f"chains, from tags or masks to an exported student (segstill chain): {', '.join(CHAINS)}")
    for what, names in (("models", MODELS), ("losses", LOSSES), ("data sets", DATASETS)):
        out.print(f"{what}: {', '.join(names)}")


def _network(spec: ModelSpec) -> str:
    return " ".join([spec.name, *(str(spec.args[name]) for name in spec.args)])


def _term(name: str, term: TermSpec) -> str:
    weight = "" if term.weight == 1 else f"{term.weight:g} "
    return f"{weight}{name}{'' if term.ramp == 'flat' else f' ({term.ramp})'}"


def _teachers() -> list[str]:
    return list(dict.fromkeys(family.teacher.name for family in FAMILIES.values()))


@dataclass(frozen=True)
class ShowOptions:
    """Show a recipe as data."""

    recipe: tyro.conf.Positional[str]
    """Name of a recipe or a chain, or a file of one."""


def run_show(args: list[str]) -> None:
    """RECIPE|CHAIN: what a recipe is, and the recipe as JSON"""
    name = parse(ShowOptions, args, "show").recipe
    recipe = build_chain(name) if name in CHAINS else build_recipe(name)
    if make := {**RECIPES, **CHAINS}.get(name):  # beside the data, so that the data can be read by a program
        err.print(make.__doc__, markup=False, highlight=False)
    print(to_json(recipe))


@dataclass(frozen=True)
class TapsOptions:
    """Show the features of a student, and those of its teacher that belong to them."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    every: bool = False
    """Show every module that returns a map."""


def run_taps(args: list[str]) -> None:
    """MODEL|RECIPE|RUN [--teacher ...]: the features that losses can read, and pairs of them"""
    if not args or args[0] in ("-h", "--help"):
        out.print(f"segstill taps MODEL|RECIPE|RUN [--field value ...], with the flags of train; models: {[*MODELS]}")
        return
    recipe, rest = take_arguments(recipe_to_look_at(args[0]), args[1:])
    options = parse(TapsOptions, rest, "taps " + args[0], default=TapsOptions(recipe))
    student, teacher = build_to_look_at(options.recipe)
    mine = list_taps(student, every=options.every)
    out.print(features(mine, f"student: {options.recipe.student.name}"))
    if teacher:
        theirs = list_taps(teacher, every=options.every)
        out.print(features(theirs, "teacher"))
        out.print(pairs(propose_pairs(mine, theirs, teacher_scale=options.recipe.teacher_scale)))


@dataclass(frozen=True)
class CheckOptions:
    """Read every file of a data set and name every problem."""

    data: tyro.conf.Positional[str]
    """A data set of segstill list (with --data.root, and --data.args.NAME VALUE where it takes arguments), or the
    folder of one: then it is `folder` if --data.classes are given, else the data set whose layout it has."""
    data_root: DataRoot = None
    """Folder of the data set."""
    data_classes: Annotated[tuple[str, ...], tyro.conf.arg(name="data.classes")] = ()
    """Class names in the order of the mask values, for the data set `folder`."""
    data_unlabelled: Annotated[str | None, tyro.conf.arg(name="data.unlabelled")] = None
    """Folder of further images without masks."""
    tags: bool = False
    """Check image-level tags in place of masks, for weak supervision; no mask is opened."""


def run_check(args: list[str]) -> int:
    """DATA: read every file of a data set and name every problem"""
    given, args = take_arguments(NOTHING, args)
    options = parse(CheckOptions, args, "check")
    name, root = options.data, options.data_root
    if name not in DATASETS:
        root = options.data
        if not Path(root).is_dir():
            raise ValueError(f"{root} is no folder and no data set; expected a folder or one of {list(DATASETS)}")
        name = "folder" if options.data_classes else recognise(root)
    spec = dataclasses.replace(
        given.data, name=name, root=root, classes=options.data_classes, unlabelled=options.data_unlabelled
    )
    with counting(err, "images read") as progress:
        examination = examine(spec, progress, tags=options.tags)
    for problem in examination.problems:
        colour = "red" if problem.severity == "error" else "yellow"
        out.print(
            Text(f"{problem.severity:8}", colour), f"{problem.file}: {problem.given}; {problem.remedy}", highlight=False
        )
    out.print(str(examination), highlight=False)
    return 2 if any(problem.severity == "error" for problem in examination.problems) else 0
