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


def check_variant(variant: str, valid: Tensor | None = None) -> None:
    """Raise ValueError for an unknown variant, and for a validity mask where the published code knows none."""
    if variant not in ("paper", "published"):
        raise ValueError(f"variant is {variant!r}, expected 'paper' or 'published'")
    if variant == "published" and valid is not None:
        raise ValueError("the published code masks no pixel: leave valid out, or use variant='paper'")


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0: 1 leaves the logits as they are")


def check_classes(student: int, teacher: int) -> None:
    """Raise ValueError unless student and teacher predict equally many classes."""
    if student != teacher:
        raise ValueError(
            f"the student predicts {student} classes and the teacher {teacher}, expected the same ones in the same "
            "order: choose a teacher trained on the student's classes, or drop this term"
        )


def check_logits(student: Tensor, teacher: Tensor, temperature: float, valid: Tensor | None) -> None:
    """Raise ValueError unless two sets of logits can be compared position by position.

    Args:
        student: (N, K, H, W) logits.
        teacher: (N, K, H, W) logits.
        temperature: must be above 0.
        valid: (N, H, W) bool, or None.
    """
    check_temperature(temperature)
    if student.ndim == 4 and teacher.ndim == 4:
        check_classes(student.shape[1], teacher.shape[1])
    if student.ndim != 4 or student.shape != teacher.shape:
        raise ValueError(
            f"the student's logits are {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}, expected "
            "(N, K, H, W) and equal: resize the teacher's to the student's first"
        )
    expected = (student.shape[0], *student.shape[2:])
    if valid is not None and (valid.dtype != torch.bool or valid.shape != expected):
        raise ValueError(
            f"valid is {valid.dtype} {tuple(valid.shape)}, expected bool {expected}: one flag per pixel, "
            "as in `mask != 255`"
        )


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Return `logits / temperature` without a copy at temperature 1."""
    return logits if temperature == 1 else logits / temperature
