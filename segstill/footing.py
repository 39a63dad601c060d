"""What makes a comparison of recipes fair: a student alone among them, one schedule or one time, one teacher."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from .checkpoint import write
from .cost import measure_step
from .recipe import Recipe, TermSpec, to_json
from .recipes import METHODS

MAY_DIFFER = {"name", "terms", "seed", "pairs"}
"""Fields in which compared recipes may differ."""
OF_THE_TEACHER = {"teacher", "teacher_model", "teacher_classes", "teacher_scale", "class_map"}
"""Fields that recipes with a teacher must share; the student alone has none."""


def with_baseline(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Return the recipes with that of the student alone in front, made from the first where none of them is it."""
    if not recipes:
        raise ValueError("no recipe is given, expected at least one: segstill compare RECIPE...")
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise ValueError(f"recipes are named {names}, expected each name once")
    alone = [recipe for recipe in recipes if is_alone(recipe)]
    if len(alone) > 1:
        raise ValueError(f"{[recipe.name for recipe in alone]} all train the student alone, expected one of them")
    if alone:  # a teacher that all were given is not its
        others = [recipe for recipe in recipes if recipe is not alone[0]]
        return [dataclasses.replace(alone[0], teacher=None, teacher_model=None), *others]
    first = recipes[0]
    method = next((m for m in sorted(METHODS, key=len, reverse=True) if first.name.endswith(f"_{m}")), "")
    stem = first.name.removesuffix(f"_{method}")
    terms = {"cross_entropy": TermSpec()}
    return [
        dataclasses.replace(first, name=f"{stem}_student", terms=terms, teacher=None, teacher_model=None),
        *recipes,
    ]


def check_equal_footing(recipes: Sequence[Recipe]) -> None:
    """Raise ValueError where recipes differ in more than what they compare."""
    for recipe in recipes[1:]:
        _check_equal(recipes[0], recipe, MAY_DIFFER | OF_THE_TEACHER)
    taught = [recipe for recipe in recipes if not is_alone(recipe)]
    for recipe in taught[1:]:
        _check_equal(taught[0], recipe, MAY_DIFFER)


def unequal(one: Recipe, other: Recipe, but: set[str]) -> str:
    """Say in which fields two recipes differ, those of `but` aside; empty where in none."""
    fields = [field.name for field in dataclasses.fields(one) if field.name not in but]
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in fields]
    return "; ".join(f"{name}: {mine} and {its}" for name, mine, its in pairs if mine != its)


def _check_equal(one: Recipe, other: Recipe, but: set[str]) -> None:
    if differences := unequal(one, other, but):
        raise ValueError(
            f"{one.name} and {other.name} are not on equal footing ({differences}), expected recipes that differ in "
            "their terms only, with one teacher: give the same flags to all, or choose other recipes"
        )


def in_equal_time(recipes: Sequence[Recipe], out: Path, say: Callable[[str], None]) -> list[Recipe]:
    """Give every recipe the epochs that fit into the time of the first; what was measured stays as it is."""
    file = out / "seconds-per-step.json"
    seconds: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
    # Under what they do, not only their names: other flags take other times.
    keys = [to_json(dataclasses.replace(recipe, seed=0, epochs=1)) for recipe in recipes]
    for key, recipe in zip(keys, recipes, strict=True):
        if key not in seconds:
            say(f"timing a step of {recipe.name}")
            seconds[key] = measure_step(recipe)
            out.mkdir(parents=True, exist_ok=True)
            write(file, json.dumps(seconds, indent=2))
    times = [seconds[key] for key in keys]
    return [
        dataclasses.replace(recipe, epochs=max(1, round(recipes[0].epochs * times[0] / time)))
        for recipe, time in zip(recipes, times, strict=True)
    ]


def is_alone(recipe: Recipe) -> bool:
    """Tell whether a recipe trains the student without a teacher."""
    return set(recipe.terms) == {"cross_entropy"}
