"""Recipes and chains in files: JSON as `segstill show` writes it, or Python with a function that returns one."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from .chain_recipe import Chain
from .recipe import Recipe, from_json, read

SUFFIXES = (".json", ".py")


def read_recipe_file(name: str) -> Recipe:
    """Return the recipe in a `.json` file, or what `recipe()` in a `.py` file returns.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no recipe.
    """
    if name.endswith(".json"):
        return from_json(_there(name).read_text())
    return _called(_there(name), "recipe", Recipe, "segstill chain")


def read_chain_file(name: str) -> Chain:
    """Return the chain in a `.json` file, or what `chain()` in a `.py` file returns; raises as `read_recipe_file`."""
    if name.endswith(".json"):
        try:
            return read(Chain, json.loads(_there(name).read_text()), "chain")
        except json.JSONDecodeError as error:
            raise ValueError(f"{name} holds no chain, expected JSON: {error}") from error
    return _called(_there(name), "chain", Chain, "segstill train")


def _there(name: str) -> Path:
    if not Path(name).is_file():
        raise FileNotFoundError(f"there is no recipe file {name}; segstill list shows the recipes by name")
    return Path(name)


def _called(file: Path, function: str, kind: type[Any], other: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"segstill_recipe_{abs(hash(file.resolve()))}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is no file of Python, expected one with a function {function}()")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look there for their types
    try:
        spec.loader.exec_module(module)
        make = getattr(module, function, None)
        if not callable(make):
            raise ValueError(f"it has no function {function}(); if it has another, try {other}")
        made = make()
    except Exception as error:  # whatever the user's code raises
        raise ValueError(f"{file} could not be used as a recipe: {type(error).__name__}: {error}") from error
    if not isinstance(made, kind):
        raise ValueError(f"{function}() of {file} returned a {type(made).__name__}, expected a {kind.__name__}")
    return made
