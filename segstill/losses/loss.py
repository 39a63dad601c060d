"""The one interface every loss implements, and the two rules they share: float32, and means over valid pixels."""

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

P = ParamSpec("P")
R = TypeVar("R")


class Loss(nn.Module, ABC):
    """A loss compares a student with a teacher, with the labels, or with both; it is built as `SomeLoss(channels, ...)`.

    Trainable parts (connectors, attention) live here: optimised and checkpointed with the student, absent from the
    student that is shipped.  Subclasses are final.
    """

    taps: tuple[str, ...] = ()
    """The taps it reads besides "logits"."""
    needs_teacher: ClassVar[bool] = True
    mean_over: ClassVar[Literal["images", "labelled", "valid"]] = "images"
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
            return function(*_raised(args), **_raised(kwargs))

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
    """Mean of `values` (N, H, W) over the pixels where `valid` (N, H, W) is true; 0 where there are none.

    The values at the other pixels have exactly no influence, not even when they are infinite.
    """
    if valid is None:
        return values.mean()
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)
