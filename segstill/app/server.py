"""Serves the page, to this machine alone unless told otherwise."""

import errno
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from .desk import Desk
from .networks import open_networks


@contextmanager
def open_page(models: Sequence[Path], *, host: str = "127.0.0.1", port: int = 7860, max_mb: int = 20) -> Iterator[str]:
    """Serve the page as long as the context lasts, and yield its address.

    What is uploaded lies in a temporary folder, which is removed at the end; no other file is served.

    Args:
        models: runs, checkpoints, ONNX files.
        host: address to listen on.
        port: 0 for any that is free.
        max_mb: MB that an upload may have.

    Raises:
        FileNotFoundError: a model is not there.
        OSError: nothing can listen there.
        ValueError: a model that answers with neither masks nor tags, or gradio is not installed.
    """
    if max_mb < 1:
        raise ValueError(f"--max-mb is {max_mb}, expected 1 or more")
    port = _free(host, port)  # before networks are loaded, which takes longer
    if find_spec("gradio") is None:
        raise ValueError("the page is drawn by gradio, which is not installed: pip install 'segstill[app]'")
    desk = Desk(open_networks(models))
    from .page import launch  # takes seconds, and needs the extra

    with tempfile.TemporaryDirectory(prefix="segstill-app-", ignore_cleanup_errors=True) as folder:
        before = os.environ.get("GRADIO_TEMP_DIR")
        os.environ["GRADIO_TEMP_DIR"] = folder  # the only way to tell
        try:
            page = launch(desk, Path(folder), host=host, port=port, max_mb=max_mb)
            try:
                name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
                yield f"http://{name}:{port}"
            finally:
                page.close(verbose=False)
        finally:
            os.environ.pop("GRADIO_TEMP_DIR")
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before


def _free(host: str, port: int) -> int:
    """Return the port if it can be listened on; any one that can for 0."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port is {port}, expected a number from 0 to 65535")
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind) as listener:
            if os.name == "posix":  # a port that was closed a moment ago is free
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
            return listener.getsockname()[1]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"port {port} of {host} is in use by another program: end it, or choose another one with --port "
                "(0 for any that is free)"
            ) from error
        raise OSError(
            f"nothing can listen on port {port} of {host} ({error.strerror or error}): choose another --host or --port"
        ) from error
