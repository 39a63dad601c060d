"""What all verbs share: where they print, and how they read their flags."""

import sys
from typing import Annotated, Any

import tyro
from rich.console import Console

from ..recipe import DataSpec, ModelSpec, Recipe

out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True, soft_wrap=True)
SETTINGS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
NOTHING = Recipe(name="", data=DataSpec(name=""), student=ModelSpec(name=""))
"""Takes the arguments of a data set where there is no recipe yet."""
DataRoot = Annotated[str | None, tyro.conf.arg(name="data.root")]


def parse(kind: Any, args: list[str], verb: str, **settings: Any) -> Any:
    """Read flags into a dataclass; print the help, or what is wrong, and exit where there is nothing to run."""
    return tyro.cli(kind, args=args, prog=f"segstill {verb}", config=SETTINGS, **settings)
