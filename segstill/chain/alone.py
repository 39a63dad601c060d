"""One chain at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other chains out of a folder as long as the context lasts, whatever ends it.

    Systems without POSIX locks have none here either.

    Raises:
        ValueError: another one works in it.
    """
    if find_spec("fcntl") is None:
        yield
        return
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another segstill chain works in {folder}: wait until it ends, or choose another folder with --out"
            ) from error
        yield
