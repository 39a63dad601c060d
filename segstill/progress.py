"""Show a run while it trains: a live bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .evaluate import headline


class Watcher:
    """Takes the records of a training log; use it in a `with` block.

    Args:
        console: where to show them.
        every: seconds between plain lines.
    """

    def __init__(self, console: Console, *, every: float = 10.0):
        self.console, self.every = console, every
        self._score = ""
        self._shown = self._began = time.perf_counter()
        self._step = self._first_step = 0
        self._bar = None
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "Watcher":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self.console.print(sentence, markup=False, highlight=False)

    def count(self, done: int, total: int) -> None:
        """Show how many of how many images are done, in the bar of the steps: a terminal takes one bar at a time."""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, description="images done")
        elif time.perf_counter() - self._shown > self.every:
            self._shown = time.perf_counter()
            self.say(f"  {done} of {total} images done")

    def __call__(self, record: dict[str, Any]) -> None:
        """Show a record of the log; what it says in words is said by `say`."""
        if record["kind"] == "health":
            return
        if record["kind"] == "evaluation":
            self._score = f"  val {headline(record)}"
            if not self._bar:
                self.say(f"  epoch {record['epoch']:.0f}:{self._score}")
            return
        if record["step"] != self._step + 1 or self._step == 0:  # another run, or one that continues
            self._began, self._first_step, self._score = time.perf_counter(), record["step"], ""
        self._step = record["step"]
        text = f"loss {record['total']:.3f}  {record['images_per_second']:.1f} images/s{self._score}"
        if self._bar:
            self._bar.update(self._task, completed=record["step"], total=record["steps"], description=text)
        elif time.perf_counter() - self._shown > self.every:
            self._shown = time.perf_counter()
            if done := record["step"] - self._first_step:
                left = (self._shown - self._began) / done * (record["steps"] - record["step"])
                text += f"  {_minutes(left)} left"
            self.say(f"  step {record['step']} of {record['steps']}  {text}")


@contextmanager
def counting(console: Console, what: str, *, every: float = 5.0) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many of how many are done: a bar in a terminal, plain lines elsewhere.

    Args:
        console: where to show it.
        what: follows the numbers.
        every: seconds between plain lines; nothing is shown of what takes less.
    """
    if console.is_terminal:
        with Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn(), console=console
        ) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    shown = time.perf_counter()

    def tell(done: int, total: int) -> None:
        nonlocal shown
        if time.perf_counter() - shown > every:
            shown = time.perf_counter()
            console.print(f"  {done} of {total} {what}", markup=False, highlight=False)

    yield tell


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
