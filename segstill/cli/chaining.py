"""The verb that runs a whole chain."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.table import Table

from ..build import build_chain
from ..chain import Row, duration, plan, reached, run_chain
from ..chain_recipe import Chain, Given
from ..flags import take_arguments
from ..progress import Watcher
from ..recipes import CHAINS
from ..tables import stages
from .console import err, out, parse

Skipped = Literal["affinity", "student", "reference", "export", "report"]


@dataclass(frozen=True)
class ChainOptions:
    """Run the stages of a chain that are missing or out of date."""

    chain: Annotated[Chain, tyro.conf.arg(name="")]
    out: Path | None = None
    """Folder of all stages; chains/<chain> without it."""
    plan: bool = False
    """Show the stages, what goes in, what is done, and the expected time; run nothing."""
    skip: tuple[Skipped, ...] = ()
    """Stages to leave out."""
    classifier_run: Annotated[str | None, tyro.conf.arg(name="classifier.run")] = None
    """A run or checkpoint of one's own in place of the classifier."""
    masks: str | None = None
    """A folder of one's own masks <name>.png in place of classifier and seed masks."""
    teacher: str | None = None
    """A run, checkpoint or file of weights of one's own in place of the teacher."""
    student_run: Annotated[str | None, tyro.conf.arg(name="student.run")] = None
    """A run of one's own in place of the student and of all before it."""


def run_chain_verb(args: list[str]) -> None:
    """RECIPE [--plan] [--stage.field value ...]: from tags or masks to an exported student, stage by stage"""
    if not args or args[0] in ("-h", "--help"):
        out.print(
            "segstill chain CHAIN [--plan] [--STAGE.FIELD value ...]: segstill chain CHAIN --help shows all flags"
        )
        list_chains()
        return
    chain, rest = take_arguments(build_chain(args[0]), args[1:])
    options = parse(ChainOptions, rest, "chain " + args[0], default=ChainOptions(chain))
    chain = without(options.chain, options.skip)
    folder = options.out or Path("chains") / chain.name
    given = Given(
        classifier=options.classifier_run, masks=options.masks, teacher=options.teacher, student=options.student_run
    )
    if not options.plan:
        err.print("looking at what is to do")
    rows = plan(chain, folder, given=given, say=err.print if options.plan else _silent)
    if options.plan:
        table = Table("stage", "what goes in", "state", "time", title=f"{chain.name} in {folder}")
        for row in rows:
            table.add_row(row.title, row.inputs, row.state, row.expected)
        out.print(table)
        out.print(still_to_go(rows), highlight=False)
        return
    with Watcher(out) as watcher:
        state = run_chain(chain, folder, given=given, watch=watcher, say=watcher.say, count=watcher.count, rows=rows)
    out.print(stages(reached(state)))
    out.print(f"{folder}: everything is done", highlight=False)


def _silent(sentence: str) -> None:
    """Tell nobody: the chain says it again when it runs."""


def still_to_go(rows: Sequence[Row]) -> str:
    """Say how long the rest of a plan takes, as far as that is known."""
    if all(row.state == "done" for row in rows):
        return "everything is done"
    known = [row.left for row in rows if row.left is not None and row.state != "done"]
    unknown = sum(row.left is None for row in rows)
    told = f"about {duration(sum(known))} to go" if known else "how long it takes is not known yet"
    return told + (
        f"; not counted: {unknown} of the stages, which nothing tells beforehand" if known and unknown else ""
    )


def without(chain: Chain, skipped: tuple[Skipped, ...]) -> Chain:
    """Return the chain without some of its stages, and without those that are of no use then."""
    fields = {"page" if name == "report" else name for name in skipped}
    if "affinity" in skipped:
        fields |= {"confident"}
    if "student" in skipped:
        fields |= {"reference", "export"}
    return dataclasses.replace(chain, **dict.fromkeys(fields))


def list_chains() -> None:
    """Show the chains."""
    table = Table("chain", "what it does", title="chains")
    for name, make in CHAINS.items():
        table.add_row(name, (make.__doc__ or "").split("\n")[0])
    out.print(table)
