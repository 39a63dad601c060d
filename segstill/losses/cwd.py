"""Channel-wise distillation (CWD): every channel becomes a distribution over positions, the student's follows.

Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021 (arXiv:2011.13256).
On logits the channels are the classes; on features the student goes through a 1x1 convolution first.  Per image and
channel c, over the valid positions x:

    p_c = softmax_x(teacher_c / T)    q_c = softmax_x(student_c / T)
    L = T^2 * mean over images and channels of KL(p_c || q_c)

With `activation="sigmoid"`, for binary and multi-label segmentation, a class map counts as the probability that it
stands for: p_c(x) = sigmoid(teacher_c(x) / T) / sum_x sigmoid(teacher_c(x) / T), and q_c alike.  Where a class is sure,
its softmax sees single peaks of the logits, this form the whole region.

Differs from the published code ("published" reproduces it): that one masks nothing, and on features it divides by the
number of channels that the student has before its connector.  Its logarithm of a softmax, infinite in single precision
for logits spread by more than about 103 T, is a log-softmax here.
"""

from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from .features import FeatureLoss, check_features, project
from .logits import IGNORED, LogitLoss, check_logits, softened
from .loss import Channels, Variant, check_variant, filled, in_float32, mean_over_images

Activation = Literal["softmax", "sigmoid"]


@in_float32
def cwd(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 4.0,
    activation: Activation = "softmax",
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Divergence of the student's distributions over positions from the teacher's, averaged over images and channels.

    It works on a single channel too, and is blind to a constant added to a channel ("softmax").

    Args:
        student: (N, C, h, w) logits, or a feature after its connector.
        teacher: (N, C, h, w); a constant.
        temperature: T > 0, softens both distributions.
        activation: "softmax" over positions, or "sigmoid": probabilities of a class, scaled to sum to 1.
        valid: (N, h, w) bool; the other positions have exactly no influence, and images without any are not counted.
            None: all positions.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar >= 0, in nats; 0 when no position is valid.

    Raises:
        ValueError: shapes that differ, a temperature of 0 or less, an unknown activation, or `valid` together with
            "published".
    """
    check_variant(variant, valid)
    check_activation(activation)
    check_logits(student, teacher, valid, temperature)
    log_p = _log_distribution(teacher.detach(), temperature, activation, valid)
    log_q = _log_distribution(student, temperature, activation, valid)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=2).mean(dim=1)
    return temperature**2 * mean_over_images(divergence, valid)


def _log_distribution(maps: Tensor, temperature: float, activation: Activation, valid: Tensor | None) -> Tensor:
    """Logarithm of each channel's distribution over positions, (N, C, h * w)."""
    maps = softened(filled(maps, valid, IGNORED), temperature).flatten(2)
    return F.log_softmax(F.logsigmoid(maps) if activation == "sigmoid" else maps, dim=2)


def check_activation(activation: str) -> None:
    """Raise ValueError for an unknown activation."""
    if activation not in get_args(Activation):
        raise ValueError(f"activation is {activation!r}, expected one of {get_args(Activation)}")


@in_float32
def cwd_feature(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 4.0,
    student_channels: int | None = None,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """`cwd` between features; "published" divides by `student_channels` where "paper" divides by C.

    Args:
        student: (N, C, h, w), after the connector.
        teacher: (N, C, h, w); a constant.
        temperature: T > 0.
        student_channels: the student's number of channels before the connector; only "published" asks for it.  None:
            there was no connector.
        valid: (N, h, w) bool; see `cwd`.
        variant: "published" masks nothing.

    Returns:
        A scalar >= 0, in nats; 0 when no cell is valid.

    Raises:
        ValueError: as `cwd`.
    """
    check_features(student, teacher, valid)
    value = cwd(student, teacher, temperature=temperature, valid=valid, variant=variant)
    if variant == "published" and student_channels is not None:
        return value * (student.shape[1] / student_channels)
    return value


class CWD(LogitLoss):
    """`cwd` between the logits of student and teacher, over the pixels that the batch calls valid."""

    function = staticmethod(cwd)
    least_classes = 1

    def __init__(
        self,
        channels: Channels,
        *,
        temperature: float = 4.0,
        activation: Activation = "softmax",
        variant: Variant = "paper",
    ):
        check_activation(activation)
        super().__init__(channels, temperature=temperature, activation=activation, variant=variant)


class CWDFeature(FeatureLoss):
    """`cwd_feature` after a 1x1 convolution without bias, summed over taps; see `FeatureLoss`."""

    mean_over = "images"
    function = staticmethod(cwd_feature)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("encoder",),
        temperature: float = 4.0,
        variant: Variant = "paper",
    ):
        super().__init__(channels, taps=taps, variant=variant, temperature=temperature)
        self.student_channels = {tap: channels[tap][0] for tap in taps}

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Map the channels by a 1x1 convolution without bias."""
        return project(student, teacher)

    def compare(self, tap: str, student: Tensor, teacher: Tensor, valid: Tensor | None, **more: Any) -> Tensor:
        """Return the loss at one tap."""
        return super().compare(tap, student, teacher, valid, student_channels=self.student_channels[tap], **more)
