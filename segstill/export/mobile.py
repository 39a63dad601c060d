"""ExecuTorch files, for phones and boards: a graph of one size, lowered to XNNPACK, and run again."""

import importlib
import json
import warnings
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from .about import About

ABOUT = "segstill"
"""Method of the file that returns its metadata as JSON."""


def executorch_library() -> None:
    """Raise ValueError where executorch is not installed."""
    if find_spec("executorch") is None:
        raise ValueError(
            "ExecuTorch files are written by executorch, which is not installed: pip install 'segstill[executorch]'"
        )


def to_executorch(program: ExportedProgram, about: About) -> bytes:
    """Write a graph of one size as a .pte; what XNNPACK does not compute stays with ExecuTorch's own kernels.

    Returns:
        The file; its method "forward" answers, "segstill" returns the metadata as JSON.

    Raises:
        ValueError: executorch is not installed, or cannot lower the network.
    """
    executorch_library()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of executorch and torch about themselves
            lowering = importlib.import_module("executorch.exir").to_edge_transform_and_lower
            partitioner = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
            lowered = lowering(
                program,
                partitioner=[partitioner.XnnpackPartitioner()],
                constant_methods={ABOUT: json.dumps(about.metadata())},
            )
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:  # executorch raises many kinds here
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ValueError(
            f"executorch cannot lower the network ({lines[-1][:300]}): export it with --format onnx"
        ) from error


class Lowered:
    """A .pte that is asked like a network, one batch of its own size after the other.

    Args:
        content: the file.
        about: what it says of itself.
    """

    def __init__(self, content: bytes, about: About):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runtime: Any = importlib.import_module("executorch.runtime")
        self._program = runtime.Runtime.get().load_program(content)
        self._method = self._program.load_method("forward")
        self._about = about

    def __call__(self, image: Tensor) -> Tensor:
        """Return what the file returns of images (N, 3, H, W) uint8, N a multiple of its batch."""
        given = image.float() / 255 if self._about.input == "floats" else image.permute(0, 2, 3, 1)
        parts = given.contiguous().split(self._about.batch or 1)
        return torch.cat([self._method.execute([part.contiguous()])[0].clone() for part in parts])
