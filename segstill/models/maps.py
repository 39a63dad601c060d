"""Find the maps in a network that nobody described: run it on images of two sizes and see which shapes follow.

Of every module's output it is found whether it is a map, in which layout, and at which stride.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..taps import Layout, Tap
from .adapters import Adapted, UnknownFormError

Size = tuple[int, int]
Key = tuple[str, int | None]
"""Path of a module, and which of the tensors that it returns."""
Shapes = dict[Key, torch.Size]

REFUSALS = (RuntimeError, AssertionError, ValueError)
"""What networks answer to an image of a size that they do not take."""
_MOST_PREFIX = 8
"""Class and register tokens where only one size can be tried, so that their number does not follow."""


class Found(NamedTuple):
    """A feature that is a map."""

    tap: Tap
    """Where it is, relative to the network."""
    channels: int
    stride: int
    """Pixels per cell and side."""


def find_maps(
    net: nn.Module, stride: int | None, size: Size | None, *, every: bool = False
) -> tuple[list[Found], list[Size]]:
    """Return every map that a module returns, in the order in which they are made, and the sizes it was tried with.

    Args:
        net: maps (N, 3, H, W) to scores; run in eval mode and left as it was.
        stride: what H and W must be multiples of; None tries.
        size: H and W of the only images that it takes.
        every: also the inner ones of modules that return the same tensor.

    Raises:
        ValueError: it runs on none of the sizes tried.
    """
    error: Exception | None = None
    for sizes in [[size]] if size else _frames((32, 14) if stride is None else (stride,)):
        try:
            runs = [shapes_at(net, each, every=every) for each in sizes]
        except UnknownFormError:
            raise
        except REFUSALS as refusal:
            error = error or refusal
            continue
        return _compare(runs, sizes), sizes
    own = net.model if isinstance(net, Adapted) else net
    raise ValueError(
        f"{type(own).__name__} does not run on an image of {' x '.join(map(str, size or (64, 96)))}, nor on larger "
        f"ones ({error}): give size=... for a network of one fixed size, or stride=... for what its sides must be "
        "multiples of"
    )


def _frames(units: Sequence[int]) -> Iterator[list[Size]]:
    """Pairs of sizes whose sides are multiples of a unit, and no two of which are alike."""
    for factor in (1, 2, 4):
        for unit in units:
            side = unit * math.ceil(32 / unit) * factor
            yield [(2 * side, 3 * side), (3 * side, 4 * side)]


def shapes_at(net: nn.Module, size: Size, *, every: bool = False) -> Shapes:
    """Run two images and return the shapes of all tensors that modules return, in the order in which they are made.

    Of the modules that return the same tensor, the outermost counts (or all: `every`).  Tensors that are overwritten
    are left out, and so are dropouts, because what they pass on is random, and modules that do nothing.
    """
    seen: dict[Key, tuple[Tensor, int]] = {}

    def record(path: str):
        def hook(_: nn.Module, __: Any, result: Any) -> None:
            items = enumerate(result) if isinstance(result, (tuple, list)) else [(None, result)]
            for index, value in items:
                if isinstance(value, Tensor):
                    seen.pop((path, index), None)  # a module that runs again moves to the end
                    seen[path, index] = (value, value._version)

        return hook

    passing = (nn.modules.dropout._DropoutNd, nn.Identity)
    watched = [(path, module) for path, module in net.named_modules() if path and not isinstance(module, passing)]
    inplace: list[Any] = [module for module in net.modules() if getattr(module, "inplace", False) is True]
    handles = [module.register_forward_hook(record(path)) for path, module in watched]
    try:
        for module in inplace:
            module.inplace = False
        run(net, torch.zeros(2, 3, *size, device=device_of(net)))
    finally:
        for handle in handles:
            handle.remove()
        for module in inplace:
            module.inplace = True
    intact = {key: value for key, (value, version) in seen.items() if value._version == version}
    outermost: dict[int, Key] = {}
    for (path, index), value in intact.items():
        known = outermost.get(id(value))
        if known is None or (index is not None, len(path)) <= (known[1] is not None, len(known[0])):
            outermost[id(value)] = (path, index)
    kept = intact if every else set(outermost.values())
    return {key: value.shape for key, value in intact.items() if key in kept}


@torch.no_grad()
def run(net: nn.Module, image: Tensor) -> None:
    """Run a network in eval mode, and leave it in the mode it was in."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()  # statistics stay as they are
    try:
        net(image)
    finally:
        for module, training in modes:
            module.training = training


def _compare(runs: list[Shapes], sizes: list[Size]) -> list[Found]:
    found: list[Found | Key] = []
    for key in runs[0]:
        shapes = [run[key] for run in runs if key in run]
        # Windows make other batches, and what depends on the content may be there once only.
        if len(shapes) < len(runs) or any(s[0] != 2 or len(s) != len(shapes[0]) for s in shapes):
            continue
        if len(shapes[0]) == 4:
            found += [map_] if (map_ := _as_map(key, shapes, sizes)) else []
        elif len(shapes[0]) == 3:
            found += [key] if len(runs) == 1 else [map_] if (map_ := _as_tokens(key, shapes, sizes)) else []
    # One size alone does not say how many tokens are no part of the image, but some map has the same grid.
    strides = sorted({each.stride for each in found if isinstance(each, Found) and each.stride > 1})
    maps = [e if isinstance(e, Found) else _as_grid(e, runs[0][e], sizes[0], strides) for e in found]
    return [each for each in maps if each]


def _as_map(key: Key, shapes: list[torch.Size], sizes: list[Size]) -> Found | None:
    layouts: tuple[tuple[Layout, int, int], ...] = (("NCHW", 1, 2), ("NHWC", 3, 1))
    for layout, channel, row in layouts:
        pairs = list(zip(shapes, sizes, strict=True))
        ratios = {side / s[axis] for s, size in pairs for axis, side in enumerate(size, row)}
        stride = ratios.pop()
        if not ratios and stride.is_integer() and len({s[channel] for s in shapes}) == 1:
            return Found(Tap(key[0], index=key[1], layout=layout), shapes[0][channel], int(stride))
    return None


def _as_tokens(key: Key, shapes: list[torch.Size], sizes: list[Size]) -> Found | None:
    (small, large), areas = shapes, [height * width for height, width in sizes]
    if small[2] != large[2] or small[1] >= large[1]:
        return None
    squared = (areas[1] - areas[0]) / (large[1] - small[1])
    stride, prefix = round(squared**0.5), small[1] - areas[0] / squared
    if stride**2 != squared or prefix < 0 or not prefix.is_integer():
        return None
    return Found(Tap(key[0], index=key[1], layout="NLC", prefix=int(prefix), stride=stride), small[2], stride)


def _as_grid(key: Key, shape: torch.Size, size: Size, strides: list[int]) -> Found | None:
    for stride in strides:
        prefix = shape[1] - (size[0] // stride) * (size[1] // stride)
        if 0 <= prefix <= _MOST_PREFIX:
            return Found(Tap(key[0], index=key[1], layout="NLC", prefix=prefix, stride=stride), shape[2], stride)
    return None


def covers(found: Found, shapes: Shapes, size: Size) -> bool:
    """Whether a map of an image of `size` has a cell for its last row and column, with `shapes` from `shapes_at`."""
    shape = shapes.get((found.tap.path, found.tap.index), ())
    height, width = (math.ceil(side / found.stride) for side in size)
    expected = {
        "NCHW": (2, found.channels, height, width),
        "NHWC": (2, height, width, found.channels),
        "NLC": (2, found.tap.prefix + height * width, found.channels),
    }
    return tuple(shape) == expected[found.tap.layout]


def device_of(net: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
