"""What counting shows where there is no terminal."""

import io

from rich.console import Console

from segstill.progress import Watcher, counting


def shown(every: float, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with counting(console, "images read", every=every) as tell:
        for done in (1, 2, 3):
            tell(done, 3)
    return stream.getvalue()


def test_plain_lines_come_every_few_seconds_and_not_for_what_is_quick():
    assert shown(every=0.0) == "  1 of 3 images read\n  2 of 3 images read\n  3 of 3 images read\n"
    assert shown(every=60.0) == ""


def test_a_terminal_shows_a_bar_that_ends_full():
    assert "3/3" in shown(every=60.0, terminal=True)


def test_the_time_that_is_left_is_told_from_the_second_step_on():
    stream = io.StringIO()
    with Watcher(Console(file=stream, width=100), every=0.0) as watcher:
        for step in (1, 2):
            watcher({"kind": "step", "step": step, "steps": 3, "total": 0.5, "images_per_second": 4.0})
    first, second = stream.getvalue().splitlines()
    assert first == "  step 1 of 3  loss 0.500  4.0 images/s"
    assert second.endswith(" left")
