"""The verb that tries networks: app."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..app import open_page
from ..run import interruption
from .console import out, parse


@dataclass(frozen=True, kw_only=True)
class AppOptions:
    """Try networks on images in a browser: masks, areas, time, agreement, class maps."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, checkpoints, ONNX files of segstill export; classifiers too."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets every machine of the network in."""
    port: int = 7860
    """Port to listen on; 0 for any that is free."""
    max_mb: int = 20
    """MB that an uploaded image may have."""


def run_app(args: list[str]) -> int:
    """RUN|FILE.onnx... [--port 7860]: a local page to try networks on images and the camera"""
    options = parse(AppOptions, args, "app")
    if not options.models:
        raise ValueError("no network is given: segstill app RUN|FILE...")
    with (
        open_page(options.models, host=options.host, port=options.port, max_mb=options.max_mb) as address,
        interruption() as interrupted,
    ):
        out.print(f"the page is at {address} (Ctrl-C ends it)", highlight=False, markup=False)
        interrupted.wait()
    return 0
