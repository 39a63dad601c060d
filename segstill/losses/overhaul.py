"""Overhaul: regress the teacher's feature as it is before the ReLU, but only where it says more than "not active".

Heo et al., A Comprehensive Overhaul of Feature Distillation, ICCV 2019 (arXiv:1904.01866).  With m < 0 the mean of a
channel's negative values in the teacher, and c the connector:

    target t = max(teacher, m)
    L = mean over valid cells and channels of (c(student) - t)^2 [c(student) > t or t > 0]

so that what the ReLU will cut off costs nothing once the student, too, is below it.

The paper allows m to be measured, or to be computed from the batch normalisation before the ReLU, after which the
values of a channel have the mean `bn_bias` and the deviation |`bn_weight`| and are taken to be normal.  `Overhaul`
measures it unless it is given these numbers: a feature may be a sum (residual blocks) or have no batch normalisation.

Differs from the published code ("published" reproduces it): there the squares of an image are summed, not averaged,
and every tap is divided by a number of its own (8, 4, 2, 1 for the stages, 1 for the ASPP, 16 for the decoder), which
is `dividers` here.  Its factor 1e-5 is the weight of the term.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .features import FeatureLoss, check_features, key, project_and_normalise, zero_ignored
from .loss import Channels, Variant, check_variant, in_float32, mean_over_valid

MOMENTUM = 0.1
"""Share of the present batch in the running margin, as in batch normalisation."""


def overhaul_margin(bn_weight: Tensor, bn_bias: Tensor) -> Tensor:
    """Mean of the negative values of every channel, from the batch normalisation that made them.

    With s = |bn_weight|, b = bn_bias and Phi, phi the normal distribution and its density, b - s phi(b/s) / Phi(-b/s);
    where fewer than one value in a thousand is negative, -3 s as in the published code.

    Args:
        bn_weight: (C,).
        bn_bias: (C,).

    Returns:
        (C,) margins <= 0, computed in float64 and returned in the type of `bn_weight`.

    Raises:
        ValueError: shapes that differ.
    """
    if bn_weight.ndim != 1 or bn_weight.shape != bn_bias.shape:
        raise ValueError(
            f"bn_weight is {tuple(bn_weight.shape)} and bn_bias {tuple(bn_bias.shape)}, expected (C,) both: give the "
            "weight and the bias of one batch normalisation"
        )
    scale, shift = bn_weight.detach().double().abs(), bn_bias.detach().double()
    at = shift / scale.clamp(min=torch.finfo(torch.float64).tiny)
    share = torch.special.ndtr(-at)
    density = (-at.square() / 2).exp() / math.sqrt(2 * math.pi)
    margin = torch.where(share > 0.001, shift - scale * density / share, -3 * scale)
    return margin.to(bn_weight.dtype)


@in_float32
def partial_l2(
    student: Tensor, teacher: Tensor, margin: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper"
) -> Tensor:
    """Squared error to the teacher's feature, cut off at the margin; free where both are inactive.

    Args:
        student: (N, C, h, w), after the connector.
        teacher: (N, C, h, w), before its ReLU; a constant.
        margin: (C,), see `overhaul_margin`; a constant.
        valid: (N, h, w) bool; the other cells have exactly no influence.  None: all cells.
        variant: "paper" is the mean over cells and channels, the free ones included; "published" is the sum.

    Returns:
        A scalar >= 0, in squared units of the feature; 0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid)
    if margin.shape != teacher.shape[1:2]:
        raise ValueError(f"margin is {tuple(margin.shape)}, expected one number per channel, ({teacher.shape[1]},)")
    student, teacher = zero_ignored(student, valid), zero_ignored(teacher.detach(), valid)
    target = torch.maximum(teacher, margin.detach().view(-1, 1, 1))
    errors = (student - target).square() * ((student > target) | (target > 0))
    return errors.sum() if variant == "published" else mean_over_valid(errors.mean(dim=1), valid)


class Overhaul(FeatureLoss):
    """`partial_l2` after a 1x1 convolution and batch normalisation, summed over taps; see `FeatureLoss`.

    Args:
        channels: tap -> (student, teacher) channels.
        taps: the features to match, before their activation.
        norms: tap -> weight and bias, each (C,), of the batch normalisation that made the teacher's feature, from which
            the margins are computed.  The margins of the other taps are measured: running means over the valid cells of
            the training batches, kept with the loss.
        dividers: for every tap the number > 0 that its value is divided by.  None given: 1 for all.
        variant: "published" sums over cells and channels, divides by N, and masks nothing.

    Raises:
        ValueError: a tap that is not in `channels` or in `taps`, or dividers that do not go with the taps.
    """

    function = staticmethod(partial_l2)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("encoder_pre",),
        norms: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        dividers: tuple[float, ...] = (),
        variant: Variant = "paper",
    ):
        super().__init__(channels, taps=taps, variant=variant)
        norms = norms or {}
        if unknown := sorted(set(norms) - set(taps)):
            raise ValueError(f"norms are given for {unknown}, expected some of the taps {list(taps)}")
        if dividers and not (len(dividers) == len(taps) and all(divider > 0 for divider in dividers)):
            raise ValueError(
                f"dividers are {tuple(dividers)}, expected a number above 0 for each of the taps {list(taps)}, or none"
            )
        self.dividers = dict(zip(taps, dividers or (1.0,) * len(taps), strict=True))
        self.given = tuple(norms)
        for tap in taps:
            if tap in norms:
                self.register_buffer(f"margin_{key(tap)}", overhaul_margin(*norms[tap]))
            else:
                self.register_buffer(f"negative_{key(tap)}", torch.zeros(2, channels[tap][1]))

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Map the channels by a 1x1 convolution without bias, then batch normalisation."""
        return project_and_normalise(student, teacher)

    def compare(self, tap: str, student: Tensor, teacher: Tensor, valid: Tensor | None, **more: Any) -> Tensor:
        """Return the loss at one tap."""
        value = super().compare(tap, student, teacher, valid, margin=self._margin(tap, teacher, valid), **more)
        return value / (self.dividers[tap] * (len(student) if self.variant == "published" else 1))

    def _margin(self, tap: str, teacher: Tensor, valid: Tensor | None) -> Tensor:
        if tap in self.given:
            return self.get_buffer(f"margin_{key(tap)}")
        negative = zero_ignored(teacher, valid).clamp(max=0)
        cells = negative[:, :1].numel() if valid is None else valid.sum().clamp(min=1)
        measured = torch.stack([negative.sum(dim=(0, 2, 3)), (negative < 0).sum(dim=(0, 2, 3))]) / cells
        # Sum and share start at 0 and are averaged alike, so their quotient is right from the first batch on.
        running = self.get_buffer(f"negative_{key(tap)}")
        updated = running.lerp(measured.to(running.dtype), MOMENTUM)
        if self.training:
            running.copy_(updated)
        total, share = updated
        return total / torch.where(share > 0, share, 1)
