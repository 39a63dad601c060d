"""What all verbs share: where they print, and how they read their flags."""

import contextlib
import io
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ..recipe import DataSpec, ModelSpec, Recipe
from ..seed_files import Written

out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True, soft_wrap=True)
SETTINGS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
NOTHING = Recipe(name="", data=DataSpec(name=""), student=ModelSpec(name=""))
"""Takes the arguments of a data set where there is no recipe yet."""
DataRoot = Annotated[str | None, tyro.conf.arg(name="data.root")]


def tell_written(written: Written, folder: Path, inputs: str) -> int:
    """Say what a job wrote into a folder and which of its `inputs` it left out; return the exit status."""
    for name, problem in written.left_out.items():
        err.print(f"left out {name}: {problem}", style="yellow", markup=False, highlight=False)
    rate = f", {written.masks / written.seconds:.1f} images/s" if written.masks else ""
    out.print(
        f"wrote {written.masks} masks into {folder}{rate}; {written.there_already} were there already, "
        f"{len(written.left_out)} {inputs} were left out",
        highlight=False,
    )
    return 1 if written.left_out else 0


def parse(kind: Any, args: list[str], verb: str, **settings: Any) -> Any:
    """Read flags into a dataclass; print the help, or what is wrong, and exit where there is nothing to run.

    Raises:
        ValueError: what the dataclass itself says of its values; tyro would print it in a frame, with names of classes.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            read = tyro.cli(kind, args=args, prog=f"segstill {verb}", config=SETTINGS, **settings)
    except SystemExit as left:
        if problem := _refused(left):
            raise ValueError(problem) from left
        sys.stderr.write(said.getvalue())
        raise
    sys.stderr.write(said.getvalue())
    return read


def _refused(error: BaseException | None) -> str | None:
    """Return what a dataclass said before tyro exited, with flags as this command calls them; None where none did."""
    stage = ""
    while error:
        if isinstance(where := getattr(error, "arg", None), str):  # "chain.student", whose flags are --student.epochs
            stage = where.partition(".")[2]
        checked = any(frame.name == "__post_init__" for frame in traceback.extract_tb(error.__traceback__))
        if isinstance(error, ValueError) and checked:
            return f"{stage}: {error}".replace("--", f"--{stage}.") if stage else str(error)
        error = error.__context__
    return None
