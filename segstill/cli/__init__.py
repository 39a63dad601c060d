"""The command line: parse, call, show."""

import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from ..build import find
from ..environment import keep_freed_memory
from ..train import Diverged
from .chaining import run_chain_verb
from .console import err, out
from .looking import run_check, run_list, run_show, run_taps
from .running import run_compare, run_demo, run_evaluate, run_report, run_train
from .shipping import run_export, run_predict
from .starting import run_init
from .trying import run_app
from .weak import run_seeds

VERBS: dict[str, Callable[[list[str]], Any]] = {
    "demo": run_demo,
    "init": run_init,
    "list": run_list,
    "show": run_show,
    "check": run_check,
    "taps": run_taps,
    "train": run_train,
    "seeds": run_seeds,
    "chain": run_chain_verb,
    "evaluate": run_evaluate,
    "export": run_export,
    "predict": run_predict,
    "app": run_app,
    "report": run_report,
    "compare": run_compare,
}


def main(args: list[str] | None = None) -> None:
    """Run a verb; exit with 2 on the user's mistakes, 1 on a diverged run, 130 on Ctrl-C."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        out.print("segstill makes small semantic-segmentation networks good, and ships them.\n")
        for verb, run in VERBS.items():
            out.print(f"  segstill {verb:9} {run.__doc__}", highlight=False, markup=False)
        sys.exit(0 if args else 2)
    if args[0] in ("-V", "--version"):
        print(version("segstill"))
        return
    keep_freed_memory()
    try:
        code = find(VERBS, args[0], "verb")(args[1:])
    except (ValueError, OSError, Diverged, KeyboardInterrupt) as error:
        if os.environ.get("SEGSTILL_TRACEBACK"):
            raise
        err.print(f"segstill: {error}", style="red", markup=False, highlight=False)
        sys.exit({Diverged: 1, KeyboardInterrupt: 130}.get(type(error), 2))
    sys.exit(code or 0)
