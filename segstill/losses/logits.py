"""What the losses between logits share: one class per position, equal shapes, a temperature, a mask of valid pixels."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..batch import Batch, valid_pixels
from ..taps import Features
from .loss import Channels, Loss, Variant, check_variant

IGNORED = -1e20
"""Logit of an ignored pixel in a distribution over positions: its exponential is exactly 0, and 0 times it is 0, where
-inf would give NaN."""


class LogitLoss(Loss):
    """A loss between the logits of student and teacher, over the pixels that the batch calls valid.

    A subclass names its pure function, `function(student, teacher, *, valid, variant, **hyper)`, and its
    hyper-parameters.

    Args:
        channels: see `Loss`.
        variant: "published" masks nothing.
        hyper: handed to the function.

    Raises:
        ValueError: teacher and student with different classes, or a hyper-parameter out of its range.
    """

    function: ClassVar[Callable[..., Tensor]]
    least_classes: ClassVar[int] = 2
    """Below it there is nothing to compare at a pixel."""

    @abstractmethod
    def __init__(self, channels: Channels, *, variant: Variant = "paper", **hyper: Any):
        super().__init__(channels)
        check_variant(variant)
        if "temperature" in hyper:
            check_temperature(hyper["temperature"])
        if "logits" in channels:
            check_classes(*channels["logits"], least=type(self).least_classes)
        self.variant: Variant = variant
        if variant == "published":
            self.mean_over = "images"  # nothing is masked, so every image counts alike
        self.hyper = hyper

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return what the function makes of the two sets of logits."""
        valid = valid_pixels(batch) if self.variant == "paper" else None
        return type(self).function(
            student["logits"], teacher["logits"], valid=valid, variant=self.variant, **self.hyper
        )


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0: 1 leaves the logits as they are")


def check_classes(student: int, teacher: int, *, least: int = 1) -> None:
    """Raise ValueError unless student and teacher predict equally many classes, and at least `least`."""
    if student != teacher:
        raise ValueError(
            f"the student predicts {student} classes and the teacher {teacher}, expected the same ones in the same "
            "order: choose a teacher trained on the student's classes, or drop this term"
        )
    if student < least:
        raise ValueError(
            f"the networks predict {student} class, expected at least {least}: this loss compares classes with one "
            "another, while sigmoid_kd and cwd take a single one"
        )


def check_logits(
    student: Tensor, teacher: Tensor, valid: Tensor | None, temperature: float = 1.0, *, least_classes: int = 1
) -> None:
    """Raise ValueError unless two sets of logits can be compared position by position.

    Args:
        student: (N, K, H, W) logits.
        teacher: (N, K, H, W) logits.
        valid: (N, H, W) bool, or None.
        temperature: must be above 0.
        least_classes: the least K.
    """
    check_temperature(temperature)
    if student.ndim == 4 and teacher.ndim == 4:
        check_classes(student.shape[1], teacher.shape[1], least=least_classes)
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
