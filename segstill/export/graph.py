"""A student with its preprocessing as one traced graph, and what cannot be one."""

import re
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..models.segmenter import Segmenter
from .about import Output

SIDES = (96, 160)
"""At least this high and wide are the images that a graph for any size is traced on: every feature has several cells,
and no side of the image, which is made one longer than a multiple of the stride, is taken for that of a feature."""


class Shipped(nn.Module):
    """A student as it leaves the house: bytes (or floats) in, scores (or classes) out.

    What `Segmenter` decides by the size of an image is done for every size here, so that one graph serves them all.

    Args:
        segmenter: the student.
        floats: take (N, 3, H, W) float in [0, 1] in place of (N, H, W, 3) uint8.
        output: return (N, K, H, W) logits, or (N, H, W) uint8 class ids.
    """

    def __init__(self, segmenter: Segmenter, *, floats: bool = False, output: Output = "logits"):
        super().__init__()
        self.segmenter = segmenter
        self.floats = floats
        self.output = output

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores or classes of images."""
        if not self.floats:
            image = image.permute(0, 3, 1, 2).float() / 255
        size, stride = image.shape[2:], self.segmenter.stride
        # -(-side // stride) would be shorter, but a graph's division of integers rounds towards zero.
        padded = self.segmenter.size or [(side + stride - 1) // stride * stride for side in size]
        rows, columns = padded[0] - size[0], padded[1] - size[1]
        scores = self.segmenter.net(F.pad(self.segmenter.normalised(image), (0, columns, 0, rows)))
        scores = F.interpolate(scores, size=list(padded), mode="bilinear", align_corners=False)
        if isinstance(rows, int) and isinstance(columns, int):  # of one size; ExecuTorch pads by no negative number
            scores = scores[:, :, : size[0], : size[1]]
        else:  # a slice would make the graph depend on whether there is anything to cut off
            scores = F.pad(scores, (0, -columns, 0, -rows))
        return scores if self.output == "logits" else scores.argmax(1).to(torch.uint8)


def trace(shipped: Shipped, size: tuple[int, int] | None, batch: int | None = None) -> ExportedProgram:
    """Trace a student into a graph.

    Args:
        shipped: the student, in eval mode.
        size: H and W of the only images that the graph is to take; None for any.
        batch: the only number of images; None for any.

    Raises:
        ValueError: it cannot be traced, or not for any size.
    """
    stride = shipped.segmenter.stride
    sides = size or traced_sides(stride)
    shape = (batch or 2, 3, *sides) if shipped.floats else (batch or 2, *sides, 3)
    image = torch.zeros(shape, dtype=torch.float32 if shipped.floats else torch.uint8)
    free: dict[int, Any] = {} if batch else {0: Dim("batch", min=1)}
    if size is None:
        free |= dict.fromkeys((2, 3) if shipped.floats else (1, 2), Dim.DYNAMIC)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch about itself
            # What the tracer cannot prove of every size becomes a check inside the graph; the command tries others.
            program = torch.export.export(
                shipped, (image,), dynamic_shapes=(free,), prefer_deferred_runtime_asserts_over_guards=True
            )
    except Exception as error:  # torch raises many kinds here
        raise ValueError(cannot_be_traced(error, size, batch)) from error
    if size is None and (ranges := [r for r in program.range_constraints.values() if r.upper < 4096]):
        raise ValueError(one_size(f"sides are limited to {', '.join(f'{r.lower} to {r.upper}' for r in ranges)}"))
    return program


def traced_sides(stride: int) -> tuple[int, int]:
    """Return H and W of the image that a graph for any size is traced on."""
    height, width = (-(-side // stride) * stride + 1 for side in SIDES)
    return height, width


def cannot_be_traced(error: Exception, size: tuple[int, int] | None, batch: int | None) -> str:
    """Return the sentence for a network that torch.export refuses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    told = f"torch.export cannot trace the network ({lines[0]})"
    if size is None or batch is None:
        least = "--size HEIGHT WIDTH" if size is None else "--batch-size 1"
        return f"{told}: it may depend on the number or the size of the images; try a file of one size with {least}"
    return f"{told}: replace what decides by the values of a tensor, or choose another network (segstill list)"


def one_size(why: str) -> str:
    """Return the sentence for a network whose graph is right for one size only."""
    return (
        f"a file of this network cannot take images of any size: {why}; export it for one size with --size HEIGHT WIDTH"
    )


def unsupported(error: Exception) -> str:
    """Return the sentence for a network that has no ONNX form: which operator, and what to do."""
    found: list[str] = []
    cause: BaseException | None = error
    while cause:
        found += re.findall(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(cause))
        found += re.findall(r"No decompositions? registered for .*?<OpOverload\(op='([^']+)'", str(cause))
        cause = cause.__cause__ or cause.__context__
    if found:
        names = ", ".join(dict.fromkeys(found))
        return (
            f"the network uses {names}, for which ONNX has no operator: export it with --format torch-export, or "
            "replace that operation in the network"
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"torch cannot write the network as ONNX ({lines[-1]}): export it with --format torch-export"
