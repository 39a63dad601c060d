"""The one interface every loss implements, and the rules they share: float32, means over valid pixels, plain errors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..arithmetic import filled as filled
from ..arithmetic import in_float32 as in_float32
from ..arithmetic import unit_length as unit_length
from ..batch import Batch
from ..taps import Features

Channels = Mapping[str, tuple[int, int]]
"""Tap name -> (student channels, teacher channels); "logits" is there too."""
Variant = Literal["paper", "published"]
"""Which of two definitions where they differ: the paper's formula, or what its published code computes."""


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


def check_variant(variant: str, valid: Tensor | None = None) -> None:
    """Raise ValueError for an unknown variant, and for a validity mask where the published code knows none."""
    if variant not in ("paper", "published"):
        raise ValueError(f"variant is {variant!r}, expected 'paper' or 'published'")
    if variant == "published" and valid is not None:
        raise ValueError("the published code masks no pixel: leave valid out, or use variant='paper'")
