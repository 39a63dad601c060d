"""The main job on drawn scenes: a teacher, the student alone, and the student taught by three methods."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .chain import Reached, can_export, reached, run_chain
from .recipe import Recipe
from .recipes import CHAINS, RECIPES
from .report import RunView, write_report
from .run import read_recipe
from .train import train

STUDENTS = ("demo_student", "demo_kd", "demo_aicsd", "demo_attnfd")


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    watch: Callable[[dict[str, Any]], None] = lambda record: None,
    say: Callable[[str], None] = print,
) -> tuple[RunView, ...]:
    """Train teacher and students into `folder`, write `report.html` there, and return the rows of its table.

    Runs that are there and finished are not trained again; one that was interrupted continues.

    Raises:
        FileExistsError: the folder holds something else.
        ValueError: it holds a demo of another seed or version.
    """
    teacher = folder / "demo_teacher"
    _train_once(dataclasses.replace(RECIPES["demo_teacher"](), seed=seed), teacher, watch, say)
    runs = []
    for name in STUDENTS:
        recipe = dataclasses.replace(RECIPES[name](), seed=seed)
        if len(recipe.terms) > 1:
            recipe = dataclasses.replace(recipe, teacher=str(teacher))
        runs.append(folder / name)
        _train_once(recipe, folder / name, watch, say)
    return write_report(runs, folder / "report.html", title="segstill demo: drawn scenes", say=say)


def run_chain_demo(
    folder: Path,
    *,
    seed: int = 0,
    watch: Callable[[dict[str, Any]], None] = lambda record: None,
    say: Callable[[str], None] = print,
    count: Callable[[int, int], None] = lambda done, total: None,
) -> list[Reached]:
    """Run the whole chain on drawn scenes, from tags to a small student, and return what every stage reached.

    What is there and up to date is not done again.

    Raises:
        ValueError: the folder holds something else.
    """
    chain = CHAINS["demo"]()
    stages = {name: getattr(chain, name) for name in ("classifier", "teacher", "student", "reference")}
    seeded = {name: dataclasses.replace(recipe, seed=seed) for name, recipe in stages.items()}
    chain = dataclasses.replace(chain, **seeded, export=chain.export if can_export() else None)
    return reached(run_chain(chain, folder, watch=watch, say=say, count=count))


def _train_once(recipe: Recipe, run: Path, watch: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> None:
    if (run / "metrics.json").is_file() and read_recipe(run) == recipe:
        say(f"{recipe.name}: already trained in {run}")
        return
    if (run / "recipe.json").is_file() and read_recipe(run) != recipe:
        raise ValueError(f"{run} holds a demo of another seed or version: remove {run.parent}, or choose another --out")
    train(recipe, run, resume=(run / "recipe.json").is_file(), watch=watch, say=say)
