"""One stage after the other, in one folder; a rerun does what is missing or out of date, and nothing else.

    segstill chain weak_to_student_folder --data.root DIR --data.classes background cat dog

The folder holds classifier, masks, teacher, student, reference, export, report.html, and chain.json, which says of
every stage what went in, what it did, and what it reached.  What is out of date is not deleted but moved to `earlier`,
and comes back from there when it is wanted again.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ..build import checkpoint_file
from ..chain_recipe import Chain, Given
from ..checkpoint import write
from .alone import alone, told
from .contents import Contents, differences, key_of
from .given import check_files, check_stages
from .setting import Setting
from .stages import Expected, Inputs, Record, Stage, line_up
from .summary import duration

STATE = "chain.json"


class Row(NamedTuple):
    """One stage in a plan."""

    title: str
    inputs: str
    state: str
    expected: str
    left: float | None
    """Seconds that are still to go; None where they are not known."""


class _Now(NamedTuple):
    """How a stage stands."""

    key: str
    what: Record
    inputs: Inputs
    done: bool
    why: str
    """What is to be done, and why, in words."""


class Line:
    """The stages of a chain and their state file.

    Args:
        setting: the chain and its folder.

    Raises:
        ValueError: the folder holds another chain, or something else.
    """

    def __init__(self, setting: Setting):
        self.setting = setting
        self.file = setting.out / STATE
        self.root: str | None = None
        """Of the data with which the folder was worked in last."""
        self.state = self._read()
        self.stages = line_up(setting, self.state["stages"])

    def now(self, stage: Stage) -> _Now:
        """Return how a stage stands; the stages before it are done."""
        entry = self.entry(stage)
        what, inputs = stage.what(), stage.inputs()
        key = key_of(what, inputs)
        if entry.get("key") != key:
            if (self._earlier(stage, key)).is_dir():
                return _Now(key, what, inputs, False, "comes back from an earlier time")
            if not entry:
                return _Now(key, what, inputs, False, "to do")
            other = differences(entry["what"], what) + [
                f"other {name}" for name in inputs | entry["inputs"] if inputs.get(name) != entry["inputs"].get(name)
            ]
            return _Now(key, what, inputs, False, f"out of date: {'; '.join(other[:3])}")
        if not entry.get("done"):
            begun = any(place.exists() for place in stage.places)
            return _Now(key, what, inputs, False, "to be continued" if begun else "to do")
        if not stage.complete(entry["result"]):
            return _Now(key, what, inputs, False, "files are missing")
        return _Now(key, what, inputs, True, "done")

    def entry(self, stage: Stage) -> Record:
        """Return what the state file says of a stage."""
        return self.state["stages"].get(stage.name, {})

    def bring_up(self, stage: Stage) -> bool:
        """Do what is to be done for a stage; return whether anything was."""
        now, entry = self.now(stage), self.entry(stage)
        if now.done:
            return False
        if entry and entry["key"] == now.key and entry["done"] and not stage.fills_gaps:
            self._set_aside(stage, entry, "-incomplete")
            entry = {}
        elif entry and entry["key"] != now.key:
            self.setting.say(f"  {now.why}")
            self._set_aside(stage, entry)
            entry = {}
        if not entry:
            entry = self._take_back(stage, now.key)
            if entry.get("done") and stage.complete(entry["result"]):
                self.state["stages"][stage.name] = entry
                self.save()
                return True
        fresh: Record = {"key": now.key, "what": now.what, "inputs": now.inputs, "done": False, "seconds": 0.0}
        entry = self.state["stages"][stage.name] = fresh | {"seconds": entry.get("seconds", 0.0) if entry else 0.0}
        self.save()
        began = time.perf_counter()
        try:
            entry["result"] = stage.run()
            entry["done"] = True
        finally:
            entry["seconds"] += time.perf_counter() - began
            self.save()
        return True

    def save(self) -> None:
        """Write the state file."""
        self.setting.out.mkdir(parents=True, exist_ok=True)
        write(self.file, json.dumps(self.state, indent=2))
        self.setting.contents.save()

    def _read(self) -> Record:
        chain, out = self.setting.chain, self.setting.out
        root = self.setting.data.root
        fresh = {"chain": chain.name, "segstill": version("segstill"), "root": root, "stages": {}}
        if not self.file.is_file():
            if out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
                raise ValueError(f"{out} holds files and no {STATE}: choose an empty or a new folder with --out")
            return fresh
        try:
            state = json.loads(self.file.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{self.file} is damaged ({error}): restore it, or choose another folder with --out"
            ) from error
        if not isinstance(state, dict) or not isinstance(state.get("stages"), dict):
            raise ValueError(f"{self.file} names no stages: restore it, or choose another folder with --out")
        if state.get("chain") != chain.name:
            raise ValueError(
                f"{out} was made by the chain {state.get('chain')!r}, expected {chain.name!r}: choose another folder "
                "with --out, or give that chain"
            )
        self.root = state.get("root")
        return fresh | {"stages": state["stages"]}

    def check_root(self) -> None:
        """Raise ValueError where the folder belongs to other data, of a project of the same name perhaps."""
        root = self.setting.data.root
        if not self.root or not root or self.root == root or not Path(self.root).exists():
            return  # data that is gone was moved
        first = self.stages[0]
        if self.entry(first) and not Path(self.root).samefile(root) and not self.now(first).done:
            raise ValueError(
                f"{self.setting.out} was made of {self.root}, which is another folder than {root}: choose another "
                "folder with --out"
            )

    def tell_stale(self) -> None:
        """Say which files of stages that were skipped are of an earlier student."""
        setting, here = self.setting, {stage.name for stage in self.stages}
        for name, entry in self.state["stages"].items():
            of = entry["inputs"].get("student")
            if name in here or of is None or not setting.chain.student:
                continue
            if of != setting.contents.of_file(checkpoint_file(setting.student)):
                setting.say(f"warning: {name} was skipped and is of an earlier student: run it, or delete it")

    def _earlier(self, stage: Stage, key: str) -> Path:
        return self.setting.out / "earlier" / f"{stage.name}-{key}"

    def _set_aside(self, stage: Stage, entry: Record, mark: str = "") -> None:
        aside = self._earlier(stage, entry["key"] + mark)
        if any(place.exists() for place in stage.places):  # else it was killed when all had been moved there
            shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True, exist_ok=True)
        write(aside / "stage.json", json.dumps(entry))
        for place in stage.places:
            if place.exists():
                place.rename(aside / place.name)
        del self.state["stages"][stage.name]
        self.save()

    def _take_back(self, stage: Stage, key: str) -> Record:
        aside = self._earlier(stage, key)
        if not aside.is_dir():
            return {}
        entry = json.loads((aside / "stage.json").read_text())
        for place in stage.places:
            if (aside / place.name).exists():
                (aside / place.name).rename(place)
        shutil.rmtree(aside)
        return entry


def run_chain(
    chain: Chain,
    out: Path,
    *,
    given: Given | None = None,
    watch: Callable[[Record], None] = lambda record: None,
    say: Callable[[str], None] = print,
    count: Callable[[int, int], None] = lambda done, total: None,
    rows: Sequence[Row] = (),
) -> Record:
    """Run what is missing or out of date, and return what the state file then says of each of them, in their order.

    Args:
        chain: what to run.
        out: the folder.
        given: stages of one's own.
        watch: is given every record of a training log.
        say: is told what happens, in sentences.
        count: is told how many of how many images have masks.
        rows: of its plan; with them, every stage begins with the time that is still to go.

    Raises:
        ValueError, OSError, Diverged: as the verb of the stage raises; the message says which stage, and what to do.
        KeyboardInterrupt: interrupted; the same call continues.
    """
    line = _open(chain, out, given, say=say, watch=watch, count=count)
    with alone(line.setting.out):
        for number, stage in enumerate(line.stages, start=1):
            say(f"stage {number} of {len(line.stages)}: {stage.title}{_times(rows[number - 1 :])}")
            with told(f"stage {number} of {len(line.stages)}, {stage.title}", line.setting.out):
                began = time.perf_counter()
                did = line.bring_up(stage)
            reached = line.entry(stage)["result"]["told"]
            say(f"  {reached} ({duration(time.perf_counter() - began)})" if did else f"  {reached}: done before")
        line.tell_stale()
        line.setting.contents.save()
    return {stage.name: line.entry(stage) for stage in line.stages}


def plan(chain: Chain, out: Path, *, given: Given | None = None, say: Callable[[str], None] = print) -> list[Row]:
    """Return what `run_chain` would do, and how long that takes; nothing is written but remembered hashes.

    Raises:
        ValueError, OSError: the folder holds another chain, or the data cannot be read.
    """
    line = _open(chain, out, given, say=say)
    rows, waiting = [], set[str]()
    for stage in line.stages:
        entry = line.entry(stage)
        before = entry.get("result") or {}
        if lacking := [name for name in stage.needs if name in waiting]:
            state, expected = f"waits for {', '.join(lacking)}", stage.expected(before)
        else:
            now = line.now(stage)
            state = now.why
            if now.done:
                expected = Expected(entry["seconds"], "taken")
            else:
                expected = stage.expected(before, ready=True, begun=entry.get("key") == now.key)
        if state != "done":
            waiting.add(stage.name)
        places = "; ".join(_shown(line.setting, name) for name in stage.needs) or "images"
        told = expected.source if expected.seconds is None else f"{duration(expected.seconds)}, {expected.source}"
        left = 0.0 if state == "done" else expected.seconds
        rows.append(Row(stage.title, places, state, told, left))
    line.setting.contents.save()
    return rows


def _open(chain: Chain, out: Path, given: Given | None, **tell: Any) -> Line:
    out, given = out.absolute(), given or Given()
    check_stages(chain, given)
    setting = Setting(chain=chain, out=out, given=given, contents=Contents(out / ".contents.json"), **tell)
    for name in ("classifier", "masks", "teacher", "student"):
        if place := getattr(given, name):
            setting.say(f"{name}: given, {place}")
    line = Line(setting)
    line.check_root()
    check_files(setting)
    return line


def _times(rows: Sequence[Row]) -> str:
    """Say how long the first of some stages takes, and all of them, as far as that is known."""
    if not rows or rows[0].state == "done":
        return ""
    known = [row.left for row in rows if row.left is not None]
    first = "" if rows[0].left is None else f", about {duration(rows[0].left)}"
    return f"{first}, and {duration(sum(known))} to the end of the chain" if sum(known) else first


def _shown(setting: Setting, name: str) -> str:
    given = getattr(setting.given, name, None)
    if name == "masks" and setting.masks is None:
        return "the data's own masks"
    return f"{name} (given: {given})" if given else name
