"""What counting shows where there is no terminal."""

import io

from rich.console import Console

from segstill.progress import counting


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
