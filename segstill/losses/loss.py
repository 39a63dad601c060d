"""The one interface every loss implements, and the rules they share: float32, means over valid pixels, plain errors."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..taps import Features

Channels = Mapping[str, tuple[int, int]]
"""Tap name -> (student channels, teacher channels); "logits" is there too."""
Variant = Literal["paper", "published"]
"""Which of two definitions where they differ: the paper's formula, or what its published code computes."""

P = ParamSpec("P")
R = TypeVar("R")


class Loss(nn.Module, ABC):
    """A loss compares a student with a teacher, with the labels, or with both; built as `SomeLoss(channels, ...)`.

    Trainable parts (connectors, attention) live here: optimised and checkpointed with the student, absent from the
    student that is shipped.  Subclasses are final.
    """

    taps: tuple[str, ...] = ()
    """The taps it reads besides "logits"."""
    needs_teacher: ClassVar[bool] = True
    mean_over: Literal["images", "labelled", "valid"] = "images"
    """What the value is a mean over; several processes weigh their shares by it, so that they equal one process."""

    def __init__(self, channels: Channels):  # noqa: ARG002  (the interface; most losses have nothing to size)
        super().__init__()

    @abstractmethod
    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return a scalar.  `teacher` is empty when nothing is distilled."""


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


def mean_over_valid(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of `values` over the places where the bool tensor `valid` of the same shape is true; 0 where there are none.

    The values at the other places have exactly no influence, not even when they are infinite.
    """
    if valid is None:
        return values.mean()
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)


def mean_over_images(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of `values` (N,) over the images in which `valid` (N, h, w) is true anywhere; None: over all."""
    return mean_over_valid(values, None if valid is None else valid.flatten(1).any(dim=1))


def filled(maps: Tensor, valid: Tensor | None, content: float = 0.0) -> Tensor:
    """Put `content` into (N, C, h, w) where `valid` (N, h, w) is false.

    Before any arithmetic: the backward pass of what follows would turn an ignored infinity into NaN.
    """
    return maps if valid is None else maps.masked_fill(~valid.unsqueeze(1), content)


def unit_length(vectors: Tensor, dim: int) -> Tensor:
    """Scale vectors along a dimension to length 1; a zero vector stays zero and has a finite gradient."""
    length = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    return vectors / torch.where(length > 0, length, 1)


def check_variant(variant: str, valid: Tensor | None = None) -> None:
    """Raise ValueError for an unknown variant, and for a validity mask where the published code knows none."""
    if variant not in ("paper", "published"):
        raise ValueError(f"variant is {variant!r}, expected 'paper' or 'published'")
    if variant == "published" and valid is not None:
        raise ValueError("the published code masks no pixel: leave valid out, or use variant='paper'")
