"""The main jobs on drawn scenes: a student taught by a teacher in three ways, and masks from tags in two."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .chain import Reached, reached, run_chain
from .recipe import Recipe
from .recipes import CHAINS, RECIPES
from .report import RunView, SeedPage, write_report, write_seed_report
from .run import read_recipe
from .seeding import SeedSpec
from .train import train

STUDENTS = ("demo_student", "demo_kd", "demo_aicsd", "demo_attnfd")
WEAK = ("demo_weak_v1", "demo_weak_v2")
SEEDS = SeedSpec(scales=(1.0,), source="is-cam", background_factor=0.5)
"""How seeds are made in the demo: the scenes are small."""
SCORED = 128
"""Scenes whose seeds are scored."""


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
    chain = dataclasses.replace(chain, **seeded)
    return reached(run_chain(chain, folder, watch=watch, say=say, count=count))


def run_weak_demo(
    folder: Path,
    *,
    seed: int = 0,
    seeds: int = 3,
    watch: Callable[[dict[str, Any]], None] = lambda record: None,
    say: Callable[[str], None] = print,
) -> SeedPage:
    """Train V1 and V2 on the tags of scenes, score their seeds on the masks, and write `report.html` into `folder`.

    Runs that are there and finished are not trained again; one that was interrupted continues.

    Args:
        folder: of the runs and the page.
        seed: of the first run of each.
        seeds: runs of each, with the seeds that follow; 1 or more.
        watch: is given every record of a log.
        say: is told what happens.

    Raises:
        FileExistsError: the folder holds something else.
        ValueError: it holds a demo of another version, or `seeds` is below 1.
    """
    if seeds < 1:
        raise ValueError(f"{seeds} seeds asked for, expected at least 1: pass --seeds 1")
    runs = []
    for name in WEAK:
        for number in range(seed, seed + seeds):
            runs.append(folder / f"{name}-seed{number}")
            _train_once(dataclasses.replace(RECIPES[name](), seed=number), runs[-1], watch, say)
    title = "segstill demo: masks from the tags of drawn scenes"
    return write_seed_report(runs, folder / "report.html", scored=SCORED, title=title, spec=SEEDS, say=say)


def order(page: SeedPage) -> str:
    """Say whether V2 > V1 > the best guess, seed by seed, and V1 with the threshold that the masks would choose too."""
    if not page.guesses or len(page.runs) != len(WEAK):
        return "There are no true masks to compare with."
    first, second = (run.scores["seed_miou"] for run in page.runs)
    tuned, guess = page.runs[0].scores["oracle_miou"], page.guesses[0]
    above = {
        "V2 is above V1": zip(second, first, strict=True),
        "above V1 at the threshold that is tuned on the masks": zip(second, tuned, strict=True),
        f"V1 is above the best guess ({guess.name})": ((value, guess.miou) for value in first),
    }
    told = [f"{what} in {sum(a > b for a, b in pairs)} of {len(first)} seeds" for what, pairs in above.items()]
    return f"{told[0]}, {told[1]}; {told[2]}."


def _train_once(recipe: Recipe, run: Path, watch: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> None:
    if (run / "metrics.json").is_file() and read_recipe(run) == recipe:
        say(f"{recipe.name}: already trained in {run}")
        return
    if (run / "recipe.json").is_file() and read_recipe(run) != recipe:
        raise ValueError(f"{run} holds a demo of another seed or version: remove {run.parent}, or choose another --out")
    train(recipe, run, resume=(run / "recipe.json").is_file(), watch=watch, say=say)
