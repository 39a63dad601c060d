"""The run folder: recipe, environment, log, scores, the shipped student, and the state from which a run continues."""

import dataclasses
import itertools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from .checkpoint import read_about, read_state, save_state, save_weights, sha256, write
from .environment import check_teacher, environment
from .recipe import Recipe, from_json, to_json

Record = dict[str, Any]
AGAIN = "what was there before is intact: free some space and continue with --resume"


class RunFolder:
    """Writes a run; every file is whole at any moment, and a kill loses no more than the steps since the last save.

    Everything needed to continue is in one file, `state.pt`: there is no moment at which two files disagree.

    Args:
        path: the folder; created here.
        recipe: what is run.
        classes: class names, which go into the checkpoints.
        teacher: the file of the teacher's weights, whose SHA-256 is recorded; None where nobody or no file teaches.
        resume: continue the run that is there.
        writes: false in the processes that only compute.

    Raises:
        FileExistsError: the folder is not empty and `resume` is false.
        FileNotFoundError: `resume`, and there is no run.
        ValueError: `resume`, and the run that is there has another recipe or another teacher.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        classes: tuple[str, ...],
        *,
        teacher: Path | None = None,
        resume: bool,
        writes: bool = True,
    ):
        self.path, self.recipe, self.classes, self.writes = path, recipe, classes, writes
        self._board: Any = None
        if resume:
            _same_recipe(path, recipe)
            if (path / "env.json").is_file():
                check_teacher(path, teacher, sha256(teacher) if teacher else None)
            elif writes:
                self._describe(teacher)
        elif writes:
            if path.is_dir():
                for part in path.glob(".*.part"):  # a kill left it
                    part.unlink()
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise FileExistsError(
                    f"{path} exists already: add --resume to continue that run, or choose another folder with --run"
                )
            with _explained(path, "choose another folder with --run, or free some space"):
                path.mkdir(parents=True, exist_ok=True)
            try:
                write(path / "recipe.json", to_json(recipe))
                self._describe(teacher)
            except BaseException:
                self.close()
                raise

    def _describe(self, teacher: Path | None) -> None:
        known = {"teacher_sha256": sha256(teacher)} if teacher else {}
        write(self.path / "env.json", json.dumps(environment() | known, indent=2))

    def restore(self, learner: nn.Module, optimizer: Optimizer, ema: nn.Module | None) -> Record:
        """Load the state, if there is one, into the three and return the rest of it.

        That is the steps that are done, how many were at the last evaluation, its scores, the best score, and the
        seconds so far.  Log lines that are younger are dropped: what they tell of will be done again.
        """
        rest = {"step": 0, "evaluated": 0, "best": -1.0, "scores": {}, "seconds": 0.0}
        file = self.path / "state.pt"
        if file.is_file():
            state = read_state(file)
            learner.load_state_dict(state["learner"])
            optimizer.load_state_dict(state["optimizer"])
            if ema:
                ema.load_state_dict(state["ema"])
            rest["evaluated"] = state["step"]  # of versions that saved after the evaluation only
            rest |= {name: state[name] for name in rest.keys() & state.keys()}
        if self.writes and (log := self.path / "log.jsonl").is_file():
            kept = itertools.takewhile(partial(_is_older, rest), read_log(self.path))
            write(log, "".join(json.dumps(record) + "\n" for record in kept))
        return rest

    def save(
        self, learner: nn.Module, optimizer: Optimizer, ema: nn.Module | None, shipped: nn.Module, rest: Record
    ) -> None:
        """Save the state and the student as it is now; `rest` holds what `restore` returns."""
        if not self.writes:
            return
        # The student first: a kill in between costs nothing, because the state is what a run continues from.
        self.save_student("last", shipped, rest["step"], rest["scores"])
        parts = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict()}
        save_state(self.path / "state.pt", rest | parts | ({"ema": ema.state_dict()} if ema else {}))

    def save_student(self, which: str, student: nn.Module, step: int, scores: Record) -> None:
        """Save the student alone as `last` or `best`, with everything that is needed to build it again."""
        if self.writes:
            about = {"segstill": version("segstill"), "recipe": to_json(self.recipe), "classes": self.classes}
            save_weights(self.path / f"{which}.safetensors", student, about | {"step": step, "scores": scores})

    def log(self, record: Record, watch: Callable[[Record], None]) -> None:
        """Append a line to log.jsonl, whole or not at all, and show it."""
        if self.writes:
            _append(self.path / "log.jsonl", json.dumps(record) + "\n")
            with _explained(self.path / "tensorboard", AGAIN):
                self._show(record)
            watch(record)

    def finish(self, scores: Record, seconds: float) -> None:
        """Write metrics.json: the scores of the last and of the best student, and what the run took."""
        if not self.writes:
            return
        best = read_about(self.path / "best.safetensors")
        metrics = {
            "split": "val",
            "last": scores,
            "best": best["scores"],
            "best_step": best["step"],
            "seconds": seconds,
            "seconds_per_epoch": seconds / self.recipe.epochs,
        }
        write(self.path / "metrics.json", json.dumps(metrics, indent=2))

    def close(self) -> None:
        """Finish the TensorBoard files; remove a run that failed before its first step, so that it can be repeated."""
        if self._board:
            with suppress(OSError):  # what the run needs is in the other files, and they tell of a full disk themselves
                self._board.close()
            self._board = None
        if self.writes and {path.name for path in self.path.iterdir()} <= {"recipe.json", "env.json"}:
            for path in self.path.iterdir():
                path.unlink()
            self.path.rmdir()

    def _show(self, record: Record) -> None:
        """Hand the numbers of a record to TensorBoard, where it is installed."""
        if find_spec("tensorboard") is None:
            return
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter  # takes a second, and many do without

            self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=record["step"])
        numbers = record | {f"loss/{name}": value for name, value in record.get("losses", {}).items()}
        for name, value in numbers.items():
            if isinstance(value, float):
                self._board.add_scalar(name, value, record["step"])

    @property
    def last_good(self) -> str:
        """The last checkpoint, in words."""
        file = self.path / "last.safetensors"
        return f"{file} (step {read_about(file)['step']})" if file.is_file() else "none yet"


def _append(path: Path, line: str) -> None:
    """Append a line, whole or not at all."""
    before = path.stat().st_size if path.exists() else None
    with _explained(path, AGAIN):
        try:
            with path.open("a") as file:
                file.write(line)
        except OSError:
            with suppress(OSError):
                path.unlink() if before is None else os.truncate(path, before)
            raise


@contextmanager
def _explained(path: Path, remedy: str) -> Iterator[None]:
    """Say which file an error of the disk is about, and what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(f"could not write {path}: {error.strerror or error}; {remedy}") from error


def read_log(run: Path) -> list[Record]:
    """Return the records of log.jsonl; a last line that a kill cut off is left out."""
    records = []
    lines = (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").is_file() else []
    for number, line in enumerate(lines):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines) - 1:
                raise ValueError(f"{run / 'log.jsonl'} line {number + 1} is damaged: {error}") from error
    return records


def _is_older(state: Record, record: Record) -> bool:
    """Tell whether a line of the log was written before a state; the findings of an evaluation follow its line."""
    return record["step"] <= state["evaluated" if record["kind"] == "evaluation" else "step"]


def expect_no_chain(run: Path) -> None:
    """Raise FileNotFoundError where a run is wanted and the folder of a whole chain is given."""
    if not (run / "chain.json").is_file():
        return
    student, *others = (run / "student", *sorted(file.parent for file in run.glob("*/recipe.json")))
    remedy = f"give one of its runs ({', '.join(map(str, others))})" if others else "let it train a network first"
    remedy = f"give its student, {student}" if student in others else f"it has no student yet; {remedy}"
    raise FileNotFoundError(f"{run} is the folder of a chain, expected a run: {remedy}")


def read_recipe(run: Path) -> Recipe:
    """Return the recipe of a run folder."""
    expect_no_chain(run)
    if not (run / "recipe.json").is_file():
        raise FileNotFoundError(f"there is no run in {run} (no recipe.json); start one without --resume")
    return from_json((run / "recipe.json").read_text())


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into an event that a loop looks at between steps; the second one kills."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: object) -> None:  # noqa: ARG001 (what a handler is given)
        event.set()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    for number in before:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _same_recipe(run: Path, recipe: Recipe) -> None:
    there, now = (dataclasses.asdict(r) for r in (read_recipe(run), recipe))
    other = [name for name in now if there[name] != now[name]]
    if other:
        pairs = "; ".join(f"{name}: {there[name]} there, {now[name]} now" for name in other)
        raise ValueError(f"{run} was started with another recipe ({pairs}): give the same fields, or another --run")
