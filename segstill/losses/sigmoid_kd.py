"""Pixel-wise distillation for binary and multi-label segmentation: every class is a yes-or-no question of its own.

Hinton et al., Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531), with the two answers to "is this
pixel of class k" in place of the K classes:

    p = sigmoid(teacher / T)    q = sigmoid(student / T)
    L = T^2 * mean over valid pixels and classes of  p log(p / q) + (1 - p) log((1 - p) / (1 - q))

With K = 1 it equals `pixel_kd` of the two logits (0, z).  There is no published code to differ from: "published" is the
same without the mask.
"""

import torch.nn.functional as F
from torch import Tensor

from .logits import LogitLoss, check_logits, softened
from .loss import Channels, Variant, check_variant, filled, in_float32, mean_over_valid


@in_float32
def sigmoid_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Divergence of the student's yes-or-no probabilities from the teacher's, averaged over pixels and classes.

    Args:
        student_logits: (N, K, H, W); K may be 1.
        teacher_logits: (N, K, H, W); a constant.
        temperature: T > 0, softens both distributions.
        valid: (N, H, W) bool; the other pixels have exactly no influence.  None: all pixels.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar >= 0, in nats; 0 when no pixel is valid.

    Raises:
        ValueError: shapes that differ, a temperature of 0 or less, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_logits(student_logits, teacher_logits, valid, temperature)
    student, teacher = filled(student_logits, valid), filled(teacher_logits.detach(), valid)
    student, teacher = softened(student, temperature), softened(teacher, temperature)
    yes = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    no = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return temperature**2 * mean_over_valid((yes + no).mean(dim=1), valid)


class SigmoidKD(LogitLoss):
    """`sigmoid_kd` between the logits of student and teacher, over the pixels that the batch calls valid."""

    mean_over = "valid"
    function = staticmethod(sigmoid_kd)
    least_classes = 1

    def __init__(self, channels: Channels, *, temperature: float = 1.0, variant: Variant = "paper"):
        super().__init__(channels, temperature=temperature, variant=variant)
