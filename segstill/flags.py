"""Flags of a recipe that its type does not name: arguments of models, losses, data, and the teacher's network."""

import dataclasses
import json
from typing import Any

from .recipe import ModelSpec, Recipe


def take_arguments(recipe: Recipe, args: list[str]) -> tuple[Recipe, list[str]]:
    """Apply every `--PART.args.NAME VALUE...` to the recipe and return it with the flags that are left.

    Values are read as JSON where they are JSON (8, 0.5, true) and as text elsewhere; several make a tuple.  PART is
    data, student, teacher-model or terms.NAME.

    Raises:
        ValueError: a part that the recipe does not have, or no value.
    """
    if recipe.teacher_model is None and any(arg.startswith("--teacher-model.") for arg in args):
        recipe = dataclasses.replace(recipe, teacher_model=ModelSpec(name=""))
    left: list[str] = []
    index = 0
    while index < len(args):
        flag, _, joined = args[index].partition("=")
        index += 1
        if not (flag.startswith("--") and ".args." in flag):
            left.append(args[index - 1])
            continue
        values = [joined] if joined else []
        while index < len(args) and not args[index].startswith("--") and not joined:
            values.append(args[index])
            index += 1
        if not values:
            raise ValueError(f"{flag} has no value: write {flag} VALUE")
        read = [_read(value) for value in values]
        path = [part.replace("-", "_") for part in flag[2:].split(".")]
        recipe = _replaced(recipe, path, read[0] if len(read) == 1 else tuple(read), flag)
    return recipe, left


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
