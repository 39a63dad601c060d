"""Inter-channel correlation (ICKD) of logits: which classes score at the same places.

Liu et al., Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation, ICCV 2021
(arXiv:2202.03680), on logits as AICSD (arXiv:2308.04243) compares with it.  With Z the class maps of an image, K x
valid pixels:

    G = Z Z^T, each row scaled to unit length
    L = mean over images and rows of || G_student[k] - G_teacher[k] ||^2

Differs from the paper: there the matrices are compared as they are, so that the value grows with the logits and with
the square of the number of pixels.  Differs from the published code of AICSD ("published" reproduces it) by the mask
alone; that code computes the loss and never adds it to its objective.
"""

import torch
from torch import Tensor

from .logits import LogitLoss, check_logits
from .loss import Channels, Variant, check_variant, filled, in_float32, mean_over_images, unit_length


@in_float32
def ickd(
    student_logits: Tensor, teacher_logits: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper"
) -> Tensor:
    """Squared distance between the unit rows of the two matrices of inner products, averaged over images and rows.

    Args:
        student_logits: (N, K, H, W), K >= 2: a single row of length 1 says nothing.
        teacher_logits: (N, K, H, W); a constant.
        valid: (N, H, W) bool; the other pixels have exactly no influence, and images without any are not counted.
            None: all pixels.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar in [0, 4], without unit; 0 when no pixel is valid.

    Raises:
        ValueError: shapes that differ, fewer than two classes, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_logits(student_logits, teacher_logits, valid, least_classes=2)
    distance = (_rows(student_logits, valid) - _rows(teacher_logits.detach(), valid)).square().sum(dim=2).mean(dim=1)
    return mean_over_images(distance, valid)


def _rows(logits: Tensor, valid: Tensor | None) -> Tensor:
    """Inner products of the class maps of each image, (N, K, K) with rows of unit length."""
    maps = filled(logits, valid).flatten(2)
    return unit_length(torch.bmm(maps, maps.mT), dim=2)


class ICKD(LogitLoss):
    """`ickd` between the logits of student and teacher, over the pixels that the batch calls valid."""

    function = staticmethod(ickd)

    def __init__(self, channels: Channels, *, variant: Variant = "paper"):
        super().__init__(channels, variant=variant)
