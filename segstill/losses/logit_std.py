"""Distillation of standardised logits: only their relations matter, not how far they spread.

Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024 (arXiv:2403.01427), applied at every pixel.  With
the mean and the (unbiased) standard deviation over the classes of a pixel:

    z = (logits - mean) / (sd + 1e-7)      L = pixel_kd(z_student, z_teacher) at temperature T

that is T^2 times the mean over valid pixels of KL(softmax(z_teacher / T) || softmax(z_student / T)).  A student whose
logits are the teacher's up to a positive factor and a constant, at each pixel, has loss 0.

Differs from the published code ("published"): that one takes samples x classes and would standardise the last axis of
a map, its width.  Fed with one sample per pixel it computes the same; it masks nothing.
"""

from torch import Tensor

from .logits import LogitLoss, check_logits
from .loss import Channels, Variant, check_variant, filled, in_float32
from .pixel_kd import pixel_kd

LEAST_DEVIATION = 1e-7
"""Added to the standard deviation: keeps a pixel finite at which all classes score alike."""


@in_float32
def logit_std(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 2.0,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Divergence of the student's class probabilities from the teacher's, both from standardised logits.

    Args:
        student_logits: (N, K, H, W), K >= 2: a single number has no deviation.
        teacher_logits: (N, K, H, W); a constant.
        temperature: T > 0, softens both distributions.
        valid: (N, H, W) bool; the other pixels have exactly no influence.  None: all pixels.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar >= 0, in nats; 0 when no pixel is valid.

    Raises:
        ValueError: shapes that differ, fewer than two classes, a temperature of 0 or less, or `valid` together with
            "published".
    """
    check_variant(variant, valid)
    check_logits(student_logits, teacher_logits, valid, temperature, least_classes=2)
    student, teacher = filled(student_logits, valid), filled(teacher_logits.detach(), valid)
    return pixel_kd(_standardised(student), _standardised(teacher), temperature=temperature, valid=valid)


def _standardised(logits: Tensor) -> Tensor:
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (LEAST_DEVIATION + logits.std(dim=1, keepdim=True))


class LogitStd(LogitLoss):
    """`logit_std` between the logits of student and teacher, over the pixels that the batch calls valid."""

    mean_over = "valid"
    function = staticmethod(logit_std)

    def __init__(self, channels: Channels, *, temperature: float = 2.0, variant: Variant = "paper"):
        super().__init__(channels, temperature=temperature, variant=variant)
