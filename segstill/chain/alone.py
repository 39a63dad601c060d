"""One chain at a time in a folder, and what it says where it stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ..train import Diverged


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


@contextmanager
def told(where: str, out: Path) -> Iterator[None]:
    """Say in which stage something went wrong, and that nothing is lost."""
    kept = f"what is done is kept in {out}, and the same command continues there"
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"stopped in {where}: {kept}") from stop
    except Diverged as error:
        raise Diverged(f"{where}: {error} ({kept})") from error
    except OSError as error:
        raise type(error)(f"{where}: {error} ({kept})") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error} ({kept})") from error
