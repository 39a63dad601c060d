"""Pixel-wise knowledge distillation: the teacher's class probabilities as soft labels, at every pixel.

Hinton et al., Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531), applied per pixel as in Liu et
al., Structured Knowledge Distillation for Semantic Segmentation, CVPR 2019 (arXiv:1903.04197).  It is the decaying term
of AICSD (arXiv:2308.04243).

    p = softmax_k(teacher / T)    q = softmax_k(student / T)    L = T^2 * mean over valid pixels of KL(p || q)

Differs from the published code of AICSD ("published" reproduces it): that one has no T^2 and no mask, and also divides
by the number of classes K, so that its weight 10 is a weight 10 / K here at T = 1.
"""

import torch.nn.functional as F
from torch import Tensor

from .logits import LogitLoss, check_logits, softened
from .loss import Channels, Variant, check_variant, filled, in_float32, mean_over_valid


@in_float32
def pixel_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Divergence of the student's class probabilities from the teacher's, averaged over pixels.

    Args:
        student_logits: (N, K, H, W), K >= 2; for a single class see `sigmoid_kd`.
        teacher_logits: (N, K, H, W); a constant.
        temperature: T > 0, softens both distributions.
        valid: (N, H, W) bool; the other pixels have exactly no influence.  None: all pixels.
        variant: "paper" as above; "published" is the sum of KL(p || q) over pixels / (N * K * H * W), without T^2.

    Returns:
        A scalar >= 0, in nats; 0 when no pixel is valid.

    Raises:
        ValueError: shapes that differ, fewer than two classes, a temperature of 0 or less, or `valid` together with
            "published".
    """
    check_variant(variant, valid)
    check_logits(student_logits, teacher_logits, valid, temperature, least_classes=2)
    student, teacher = filled(student_logits, valid), filled(teacher_logits.detach(), valid)
    log_p = F.log_softmax(softened(teacher, temperature), dim=1)
    log_q = F.log_softmax(softened(student, temperature), dim=1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    if variant == "published":
        return divergence.mean() / student.shape[1]
    return temperature**2 * mean_over_valid(divergence, valid)


class PixelKD(LogitLoss):
    """`pixel_kd` between the logits of student and teacher, over the pixels that the batch calls valid."""

    mean_over = "valid"
    function = staticmethod(pixel_kd)

    def __init__(self, channels: Channels, *, temperature: float = 1.0, variant: Variant = "paper"):
        super().__init__(channels, temperature=temperature, variant=variant)
