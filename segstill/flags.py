"""Flags of a recipe that its type does not name: arguments of models, losses, data, the teacher's network, tables."""

import dataclasses
import json
from typing import Any, TypeVar

from .chain_recipe import Chain
from .recipe import ModelSpec, Recipe

Kind = TypeVar("Kind", Recipe, Chain)

TABLES = {"--pairs.": ("pairs", 2), "--class-map.": ("class_map", 1)}
"""Flags that add to a table of the recipe, the table, and how many values they take; what follows the dot is a key as
it stands, spaces and all (`--class-map.'traffic light' light`)."""


def take_arguments(recipe: Kind, args: list[str]) -> tuple[Kind, list[str]]:
    """Apply every `--PART.args.NAME VALUE...` to the recipe (or the chain) and return it with the flags that are left.

    Values are read as JSON where they are JSON (8, 0.5, true) and as text elsewhere; several make a tuple.  PART is
    data, student, teacher-model or terms.NAME, in a chain behind the name of the stage.  `--pairs.NAME STUDENT TEACHER`
    and `--class-map.TEACHERS STUDENTS` add to those tables.

    Raises:
        ValueError: a part that the recipe does not have, no value, or another number of values than a table takes.
    """
    if isinstance(recipe, Recipe) and not recipe.teacher_model and any(a.startswith("--teacher-model.") for a in args):
        recipe = dataclasses.replace(recipe, teacher_model=ModelSpec(name=""))
    left: list[str] = []
    index = 0
    while index < len(args):
        flag, _, joined = args[index].partition("=")
        index += 1
        table = next((start for start in TABLES if flag.startswith(start)), None)
        if not table and not (flag.startswith("--") and ".args." in flag):
            left.append(args[index - 1])
            continue
        values = [joined] if joined else []
        while index < len(args) and not args[index].startswith("--") and not joined:
            values.append(args[index])
            index += 1
        if table:
            recipe = _entered(recipe, flag, values, *TABLES[table], key=flag.removeprefix(table))
            continue
        if not values:
            raise ValueError(f"{flag} has no value: write {flag} VALUE")
        read = [_read(value) for value in values]
        path = [part.replace("-", "_") for part in flag[2:].split(".")]
        recipe = _replaced(recipe, path, read[0] if len(read) == 1 else tuple(read), flag)
    return recipe, left


def _entered(recipe: Any, flag: str, values: list[str], table: str, count: int, *, key: str) -> Any:
    if len(values) != count or not key:
        wanted = "STUDENT_TAP TEACHER_TAP" if count == 2 else "STUDENTS_CLASS"
        raise ValueError(f"{flag} has the values {values}, expected {count}: write {flag} {wanted}")
    new = values[0] if count == 1 else tuple(values)
    return dataclasses.replace(recipe, **{table: getattr(recipe, table) | {key: new}})


def _replaced(value: Any, path: list[str], new: Any, flag: str) -> Any:
    name, *rest = path
    if isinstance(value, dict):
        if rest and name not in value:
            raise ValueError(f"{flag}: there is no {name!r} here, expected one of {sorted(value)}")
        if isinstance(value.get(name), (list, tuple)) and not isinstance(new, tuple):
            new = (new,)  # one item of what is a list
        return value | {name: _replaced(value[name], rest, new, flag) if rest else new}
    fields = {field.name for field in dataclasses.fields(value)}
    if name not in fields:
        raise ValueError(f"{flag}: there is no {name!r} here, expected one of {sorted(fields)}")
    return dataclasses.replace(value, **{name: _replaced(getattr(value, name), rest, new, flag)})


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
