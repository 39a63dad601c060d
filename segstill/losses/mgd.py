"""Masked generative distillation (MGD): generate the teacher's feature from a student's of which most is erased.

Yang et al., Masked Generative Distillation, ECCV 2022 (arXiv:2205.01529).  With M a mask over cells that is 0 with
probability 0.75, one for all channels of an image, and G two 3x3 convolutions with a ReLU between:

    L = mean over valid cells and channels of (G(M * student) - teacher)^2

Differs from the paper and its published code ("published" reproduces it): there the squares are summed over an image,
C * h * w of them, and the published weight 2e-5 belongs to that sum.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .features import FeatureLoss, check_features, key, zero_ignored
from .fitnet import fitnet
from .loss import Channels, Variant, check_variant, in_float32

Generate = Callable[[Tensor], Tensor]
"""Maps what is left of the student's feature, (N, C, h, w), to a feature (N, C_teacher, h, w)."""


@in_float32
def mgd(
    student: Tensor,
    teacher: Tensor,
    generate: Generate,
    *,
    erased: float = 0.75,
    mask: Tensor | None = None,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Squared error of the teacher's feature as generated from a part of the student's.

    Every image has a mask of its own, so that repeating the batch leaves the value as it is on average only; with a
    given mask, exactly.  Upsampling changes what `generate` sees around a cell, and so the value.

    Args:
        student: (N, C, h, w).
        teacher: (N, C_teacher, h, w); a constant.
        generate: maps (N, C, h, w) to (N, C_teacher, h, w); see `mgd_generation`.
        erased: share of the cells that are erased, in [0, 1].
        mask: (N, 1, h, w), 0 where a cell is erased and 1 elsewhere.  None: drawn from torch's default generator.
        valid: (N, h, w) bool; the other cells have exactly no influence.  None: all cells.
        variant: "paper" as above; "published" sums over cells and channels, and divides by N.

    Returns:
        A scalar >= 0, in squared units of the feature; 0 when no cell is valid.

    Raises:
        ValueError: shapes that do not fit, a share out of range, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid, same_channels=False)
    generated = regenerated(student, generate, erased=erased, mask=mask, valid=valid)
    return squared_error(generated, teacher, valid=valid, variant=variant)


def regenerated(
    student: Tensor, generate: Generate, *, erased: float, mask: Tensor | None = None, valid: Tensor | None = None
) -> Tensor:
    """Return what `generate` makes of the student's feature with cells erased; see `mgd`."""
    check_erased(erased)
    shape = (student.shape[0], 1, *student.shape[2:])
    if mask is None:
        mask = torch.rand(shape, device=student.device) <= 1 - erased
    elif mask.shape != shape:
        raise ValueError(
            f"mask is {tuple(mask.shape)}, expected {shape}: 1 where a cell is kept and 0 where it is erased"
        )
    return generate(zero_ignored(student, valid) * mask)


def squared_error(generated: Tensor, teacher: Tensor, *, valid: Tensor | None, variant: Variant) -> Tensor:
    """Return the mean over valid cells and channels; for "published" the sum over them, divided by N."""
    if variant == "published":
        return (generated - teacher.detach()).square().sum() / len(teacher)
    return fitnet(generated, teacher, valid=valid)


def check_erased(erased: float) -> None:
    """Raise ValueError unless the share of erased cells is in [0, 1]."""
    if not 0 <= erased <= 1:
        raise ValueError(f"erased is {erased}, expected a share in [0, 1]: 0.75 erases three cells of four")


def align(student: int, teacher: int) -> nn.Module:
    """Return a 1x1 convolution to the teacher's channels; nothing where they are equal: G starts with a convolution."""
    return nn.Identity() if student == teacher else nn.Conv2d(student, teacher, kernel_size=1)


def mgd_generation(channels: int) -> nn.Sequential:
    """Return G: two 3x3 convolutions with a ReLU between, which keep the channels and the size."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size=3, padding=1),
    )


class MGD(FeatureLoss):
    """`mgd` after a 1x1 convolution where channels differ, summed over taps; owns the generation; see `FeatureLoss`.

    Args:
        channels: tap -> (student, teacher) channels.
        taps: the features to match.
        erased: see `mgd`; the mask is drawn anew in every step, from torch's default generator.
        variant: see `mgd`.
    """

    function = staticmethod(mgd)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("encoder",),
        erased: float = 0.75,
        variant: Variant = "paper",
    ):
        super().__init__(channels, taps=taps, variant=variant, erased=erased)
        check_erased(erased)
        self.generators = nn.ModuleDict({key(tap): mgd_generation(channels[tap][1]) for tap in taps})

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Map the channels by a 1x1 convolution where they differ."""
        return align(student, teacher)

    def compare(self, tap: str, student: Tensor, teacher: Tensor, valid: Tensor | None, **more: Any) -> Tensor:
        """Return the loss at one tap."""
        return super().compare(tap, student, teacher, valid, generate=self.generators[key(tap)], **more)
