"""DIST: the student's class probabilities need not equal the teacher's, only correlate with them.

Huang et al., Knowledge Distillation from a Stronger Teacher, NeurIPS 2022 (arXiv:2205.10536).  With the class
probabilities P = softmax_k(student / T), Q = softmax_k(teacher / T), and r Pearson's correlation:

    inter = mean over valid pixels of 1 - r(P, Q over the classes of a pixel)
    intra = mean over classes of 1 - r(P, Q over the valid pixels of an image)
    L = T^2 * mean over images of (beta * inter + gamma * intra)

r = cov(P, Q) / (sd(P) sd(Q)).  Where the teacher's standard deviation is below 1e-4 (an absent class has the same
probability, nearly 0, at all pixels) there is nothing to correlate with: these classes and pixels are left out.  The
student's is bounded below by the same number, which bounds the gradient of a student that tells nothing apart.

Differs from the published code ("published" reproduces it): there a class is correlated over all pixels of the batch
together, so that the value depends on which images share a batch; nothing is masked or left out; r is
cov / (norm * norm + 1e-8), so that a class without spread counts as 1 whatever the student does.  Its form for
segmentation has no temperature: T = 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .logits import LogitLoss, check_logits, softened
from .loss import Channels, Variant, check_variant, filled, in_float32, mean_over_images

LEAST_VARIANCE = 1e-8
"""Of a probability: the square of the standard deviation 1e-4."""


@in_float32
def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Lack of correlation of class probabilities, over the classes of a pixel and over the pixels of a class.

    Args:
        student_logits: (N, K, H, W), K >= 2.
        teacher_logits: (N, K, H, W); a constant.
        temperature: T > 0, softens both distributions.
        beta: weight of the correlation over classes (inter).
        gamma: weight of the correlation over pixels (intra).
        valid: (N, H, W) bool; the other pixels have exactly no influence, and images without any are not counted.
            None: all pixels.
        variant: "paper" as above; "published" correlates a class over the whole batch.

    Returns:
        A scalar in [0, 2 T^2 (beta + gamma)]; 0 (to rounding) for equal logits and when no pixel is valid.

    Raises:
        ValueError: shapes that differ, fewer than two classes, a temperature of 0 or less, or `valid` together with
            "published".
    """
    check_variant(variant, valid)
    check_logits(student_logits, teacher_logits, valid, temperature, least_classes=2)
    student, teacher = filled(student_logits, valid), filled(teacher_logits.detach(), valid)
    p, q = (F.softmax(softened(logits, temperature), dim=1).flatten(2) for logits in (student, teacher))
    if variant == "published":
        inter = _published_distance(p, q, (1,))
        intra = _published_distance(p, q, (0, 2))
        return temperature**2 * (beta * inter + gamma * intra)
    pixels = None if valid is None else valid.flatten(1).unsqueeze(1)  # (N, 1, H * W)
    inter = _distance(p, q, 1, None, pixels)
    intra = _distance(p, q, 2, pixels, None)
    return temperature**2 * mean_over_images(beta * inter + gamma * intra, valid)


def _distance(p: Tensor, q: Tensor, dim: int, along: Tensor | None, counted: Tensor | None) -> Tensor:
    """Mean over what is counted of 1 - correlation along a dimension, (N,).

    Args:
        p: (N, K, H * W) of the student.
        q: (N, K, H * W) of the teacher.
        dim: 1 correlates over classes, 2 over pixels.
        along: (N, 1, H * W) bool, the entries that a correlation is over, or None.
        counted: (N, 1, H * W) bool, which correlations count, or None.
    """
    p, q = _centred(p, dim, along), _centred(q, dim, along)
    mean = p.shape[dim] if along is None else along.sum(dim=dim, keepdim=True).clamp(min=1)
    covariance = (p * q).sum(dim=dim, keepdim=True) / mean
    p_variance = p.square().sum(dim=dim, keepdim=True) / mean
    q_variance = q.square().sum(dim=dim, keepdim=True) / mean
    correlation = covariance * (p_variance.clamp(min=LEAST_VARIANCE) * q_variance.clamp(min=LEAST_VARIANCE)).rsqrt()
    told_apart = q_variance > LEAST_VARIANCE
    counted = told_apart if counted is None else told_apart & counted
    distance = torch.where(counted, (1 - correlation).clamp(min=0), 0)  # rounding may pass 1
    return distance.sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1)


def _centred(values: Tensor, dim: int, along: Tensor | None) -> Tensor:
    """The values less their mean along a dimension; 0 at the entries that do not count."""
    if along is None:
        return values - values.mean(dim=dim, keepdim=True)
    total = torch.where(along, values, 0).sum(dim=dim, keepdim=True)
    return torch.where(along, values - total / along.sum(dim=dim, keepdim=True).clamp(min=1), 0)


def _published_distance(p: Tensor, q: Tensor, dims: tuple[int, ...]) -> Tensor:
    """1 - mean correlation over `dims`, as the published code has it."""
    p, q = p - p.mean(dim=dims, keepdim=True), q - q.mean(dim=dims, keepdim=True)
    norms = torch.linalg.vector_norm(p, dim=dims) * torch.linalg.vector_norm(q, dim=dims)
    return 1 - ((p * q).sum(dim=dims) / (norms + 1e-8)).mean()


class DIST(LogitLoss):
    """`dist` between the logits of student and teacher, over the pixels that the batch calls valid."""

    function = staticmethod(dist)

    def __init__(
        self,
        channels: Channels,
        *,
        temperature: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        variant: Variant = "paper",
    ):
        super().__init__(channels, temperature=temperature, beta=beta, gamma=gamma, variant=variant)
