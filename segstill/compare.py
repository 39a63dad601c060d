"""The honest referee: the same student, data, schedule and seeds for every method, and what each gain costs.

    segstill compare camvid_small_student camvid_small_kd camvid_small_attnfd --seeds 3 --teacher RUN --data.root DIR

Runs every recipe with every seed, each in a process of its own, so that one that fails or runs out of memory does not
take the others along; what is done already is not run again.  The student alone is always among them.  The last
checkpoint is scored, never the best one: nothing is chosen on the images that are scored.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from .build import load, load_teacher, teacher_file
from .checkpoint import read_about, sha256, write
from .data import open_dataset
from .environment import check_teacher
from .evaluate import evaluate_on
from .footing import OF_THE_TEACHER, check_equal_footing, in_equal_time, is_alone, with_baseline
from .recipe import DataSpec, Recipe, to_json
from .run import read_log, read_recipe
from .verdict import Budget, Comparison, Result, paired_interval


def compare(
    recipes: Sequence[Recipe],
    out: Path,
    *,
    seeds: int = 3,
    budget: Budget = "steps",
    split: str,
    published: dict[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> Comparison:
    """Run what is missing and compare.

    Args:
        recipes: methods for one student; they must agree in everything but their terms and their teacher.
        out: folder of the runs; it may hold some of them already.
        seeds: 0, 1, ... up to this many, the same for every method.
        budget: "steps" gives every method the epochs of its recipe; "seconds" gives every method the wall-clock time
            that the student alone needs for its epochs, by steps timed beforehand.
        split: which images are scored.
        published: recipe name -> what its authors report.
        say: is told what happens.

    Raises:
        ValueError: recipes on unequal footing, or a run of another recipe in `out`.
        KeyboardInterrupt: interrupted; the same command continues.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}, expected at least 1: pass --seeds 3")
    recipes = with_baseline(recipes)
    check_equal_footing(recipes)
    taught = next((recipe for recipe in recipes if not is_alone(recipe)), None)
    file = teacher_file(taught) if taught else None
    digest = sha256(file) if file else None
    # First, because a teacher that is not there would show only after the student alone was trained.
    teacher = _score_teacher(taught, digest, out, split, say) if taught else {}
    top = teacher.get("miou")
    if budget == "seconds":
        recipes = in_equal_time(recipes, out, say)
    runs = [
        (dataclasses.replace(recipe, seed=seed), _folder(out, recipe, seed))
        for seed in range(seeds)
        for recipe in recipes
    ]
    for recipe, folder in runs:
        _check_same(recipe, folder)
        if taught and not is_alone(recipe):
            _check_same_teacher(folder, file, digest, say)
    failures: dict[str, list[str]] = {recipe.name: [] for recipe in recipes}
    rows: dict[str, dict[int, Path]] = {recipe.name: {} for recipe in recipes}
    mious: dict[str, dict[int, float]] = {recipe.name: {} for recipe in recipes}
    parameters: dict[str, int | None] = {}
    for number, (recipe, folder) in enumerate(runs, start=1):
        say(f"[{number} of {len(runs)}] {recipe.name}, seed {recipe.seed}")
        try:
            _run(recipe, folder)
            scores = _score(folder, split, say)
            mious[recipe.name][recipe.seed] = scores["miou"]
            parameters[recipe.name] = scores.get("parameters")
            rows[recipe.name][recipe.seed] = folder
        except (_RunError, OSError, ValueError, RuntimeError) as problem:
            failures[recipe.name].append(f"seed {recipe.seed}: {problem}")
            say(f"  failed, the others go on: {problem}")
    baseline = mious[recipes[0].name]
    results = [
        dataclasses.replace(
            _result(recipe, rows[recipe.name], mious[recipe.name], baseline, top),
            parameters=parameters.get(recipe.name),
            published=(published or {}).get(recipe.name, ""),
            failures=tuple(failures[recipe.name]),
        )
        for recipe in recipes
    ]
    environments = [json.loads((f / "env.json").read_text()) for folders in rows.values() for f in folders.values()]
    return Comparison(
        data=recipes[0].data.name,
        split=split,
        budget=budget,
        results=tuple(results),
        teacher=_named(taught) if taught else None,
        teacher_miou=top,
        teacher_parameters=teacher.get("parameters"),
        environment=(environments[0] if environments else {}) | ({"teacher_sha256": digest} if digest else {}),
    )


def _folder(out: Path, recipe: Recipe, seed: int) -> Path:
    return out / f"{recipe.name}-seed{seed}"


def _named(recipe: Recipe) -> str | None:
    """What to call the teacher of a recipe."""
    return recipe.teacher or (recipe.teacher_model and recipe.teacher_model.name)


class _RunError(Exception):
    """A run that ended without result; the message is the last sentence that it said."""


def _check_same(recipe: Recipe, folder: Path) -> None:
    if (folder / "recipe.json").is_file() and (before := read_recipe(folder)) != recipe:
        other = [f.name for f in dataclasses.fields(recipe) if getattr(before, f.name) != getattr(recipe, f.name)]
        raise ValueError(f"{folder} holds a run with other {other}: give the same flags, or another --out")


def _check_same_teacher(folder: Path, teacher: Path | None, digest: str | None, say: Callable[[str], None]) -> None:
    done = (folder / "metrics.json").is_file()
    if (folder / "env.json").is_file() and not check_teacher(folder, teacher, digest) and digest and done:
        say(
            f"{folder.name} is taken as done, though it does not say which teacher it had: it is older than that record"
        )


def _run(recipe: Recipe, folder: Path) -> None:
    """Train in a process of its own, unless it is done; _RunError says what went wrong."""
    if (folder / "metrics.json").is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.parent / f"{folder.name}.json"
    write(file, to_json(recipe))
    command = [sys.executable, "-m", "segstill", "train", str(file), "--run", str(folder)]
    if (folder / "recipe.json").is_file():
        command.append("--resume")
    said = folder.parent / f"{folder.name}.stderr"
    with said.open("w") as errors:
        child = subprocess.Popen(command, stderr=errors)
        try:
            code = child.wait()
        except KeyboardInterrupt:  # it got the signal too, and saves
            child.wait()
            code = 130
    if code == 130:
        raise KeyboardInterrupt("stopped: the same command continues where it was")
    lines = said.read_text().strip().splitlines()
    if code:
        told = [line.removeprefix("segstill: ") for line in lines if line.startswith("segstill: ")]
        raise _RunError((told or lines or [f"exit code {code}"])[-1])
    said.unlink()


def _score(folder: Path, split: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the scores and the parameters of the last checkpoint of a run; they are kept beside it."""
    checkpoint, data = folder / "last.safetensors", read_recipe(folder).data
    return _kept(
        folder / f"scores-{split}.json",
        {"step": read_about(checkpoint)["step"]},
        lambda: _measure(load(checkpoint).model, data, split),
        partial(say, f"scoring {folder.name} on {split}"),
    )


def _score_teacher(
    recipe: Recipe, digest: str | None, out: Path, split: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the scores and the parameters of the teacher as the student sees it: in its classes, at its size."""
    of = {name: dataclasses.asdict(recipe)[name] for name in sorted(OF_THE_TEACHER)} | {"sha256": digest}

    def scores() -> dict[str, Any]:
        teacher = load_teacher(recipe, open_dataset(recipe.data, split).classes, say)
        if teacher is None:
            raise ValueError(f"{recipe.name} has no teacher, expected a run or a file: pass --teacher RUN")
        return _measure(teacher, recipe.data, split)

    return _kept(out / f"teacher-{split}.json", of, scores, partial(say, "scoring the teacher"))


def _measure(model: nn.Module, data: DataSpec, split: str) -> dict[str, Any]:
    return evaluate_on(model, data, split) | {"parameters": sum(p.numel() for p in model.parameters())}


def _kept(
    file: Path, of: dict[str, Any], scores: Callable[[], dict[str, Any]], tell: Callable[[], None]
) -> dict[str, Any]:
    """Return what `file` holds, which is written (again) where it holds none or one of something else."""
    kept = json.loads(file.read_text()) if file.is_file() else {}
    of = json.loads(json.dumps(of))
    if {name: kept.get(name) for name in of} != of:
        tell()
        kept = of | scores()
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, json.dumps(kept, indent=2))
    return kept


def _result(
    recipe: Recipe,
    folders: dict[int, Path],
    mious: dict[int, float],
    baseline: dict[int, float],
    top: float | None,
) -> Result:
    differences = tuple(mious[seed] - baseline[seed] for seed in mious if seed in baseline)
    paired = [baseline[seed] for seed in mious if seed in baseline]
    floor = statistics.mean(paired) if paired else None
    gap = None
    alone = is_alone(recipe)
    if not alone and differences and top is not None and floor is not None and top > floor:
        gap = statistics.mean(differences) / (top - floor)
    steps = [line for f in folders.values() for line in read_log(f) if line["kind"] == "step"]
    memory = [line["memory_mb"] for line in steps if line["memory_mb"]]
    took = [json.loads((f / "metrics.json").read_text())["seconds"] for f in folders.values()]
    processes = [json.loads((f / "env.json").read_text()).get("processes", 1) for f in folders.values()]
    return Result(
        name=recipe.name,
        mious=mious,
        baseline=alone,
        differences=() if alone else differences,
        interval=None if alone else paired_interval(differences),
        gap_closed=gap,
        epochs=recipe.epochs,
        ms_per_step=1e3 * statistics.median(line["seconds"] for line in steps) if steps else None,
        memory_mb=max(memory) if memory else None,
        hours=sum(s * p for s, p in zip(took, processes, strict=True)) / 3600,
    )
