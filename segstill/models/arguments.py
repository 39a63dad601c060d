"""Checks of what users pass to the builders: given, expected, remedy."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def known(kind: str, given: str, expected: Iterable[str]) -> str:
    """Return `given` if it is one of `expected`.

    Raises:
        ValueError: it is not; the nearest names are suggested.
    """
    expected = list(expected)
    if given not in expected:
        near = get_close_matches(str(given), expected, n=5)
        remedy = f"did you mean one of {near}?" if near else f"expected one of {expected[:20]}"
        raise ValueError(f"there is no {kind} {given!r}; {remedy}")
    return given


def positive(**sizes: int) -> None:
    """Check that every one is an integer of at least 1.

    Raises:
        ValueError: one is not.
    """
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise ValueError(f"{name} is {size!r}, expected an integer of at least 1")


def checked(build: Callable[P, R]) -> Callable[P, R]:
    """Let `build` answer an argument that it does not have with a ValueError that names the nearest ones."""
    parameters = inspect.signature(build).parameters

    @wraps(build)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            known(f"argument of {build.__name__}", name, parameters)
        return build(*args, **kwargs)

    return run
