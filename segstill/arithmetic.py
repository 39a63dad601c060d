"""What arithmetic on maps must get right in every layer: single precision, ignored places, unit length, size."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` outside autocast, with every half-precision tensor among its arguments raised to float32."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            return function(*_raised(args), **_raised(kwargs))  # type: ignore[call-arg]

    return run


def _raised(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, dict):
        return {key: _raised(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_raised(item) for item in value)
    return value


def filled(maps: Tensor, valid: Tensor | None, content: float = 0.0) -> Tensor:
    """Put `content` into (N, C, h, w) where `valid` (N, h, w) is false.

    Before any arithmetic: the backward pass of what follows would turn an ignored infinity into NaN.
    """
    return maps if valid is None else maps.masked_fill(~valid.unsqueeze(1), content)


def valid_cells(valid: Tensor | None, feature: Tensor) -> Tensor | None:
    """Return (N, h, w) bool: whether the pixel nearest to the centre of each cell of `feature` is in `valid`."""
    if valid is None or valid.shape[1:] == feature.shape[2:]:
        return valid
    return F.interpolate(valid.unsqueeze(1).float(), size=feature.shape[2:], mode="nearest-exact")[:, 0] > 0


def unit_length(vectors: Tensor, dim: int) -> Tensor:
    """Scale vectors along a dimension to length 1; a zero vector stays zero and has a finite gradient."""
    length = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / torch.where(length > 0, length, 1)


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (N, C, H, W) maps of another size, bilinear; the same ones where it is theirs."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def nearest(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (H, W) class ids of another size, uint8, each that of the nearest pixel; the same where it is theirs."""
    if ids.shape == size:
        return ids
    return F.interpolate(ids[None, None].float(), size, mode="nearest-exact")[0, 0].to(torch.uint8)
