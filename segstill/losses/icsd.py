"""Inter-class similarity distillation (ICSD), the loss of AICSD: teach how alike the maps of two classes are.

Mansourian et al., AICSD: Adaptive Inter-Class Similarity Distillation for Semantic Segmentation, Multimedia Tools and
Applications 2025 (arXiv:2308.04243).
Per image, every class map becomes a distribution over positions, and every pair of classes one number:

    p_i = softmax_x(logits_i / T)        S_ij = KL(p_i || p_j) = sum_x p_i(x) (log p_i(x) - log p_j(x))
    L = mean over images of  sum_ij (S_student - S_teacher)^2 / sum_ij S_teacher^2

Differs from the paper: there the two matrices are compared by a mean squared error, whose size depends on the logits
and on the number of classes K.  The error relative to the teacher's matrix is 0 for equal matrices and 1 for a student
that tells no classes apart, at any K, so that one weight serves all data sets.  Scaling every row to unit length, as
the published code does, is no way out: each row has a zero on its diagonal, so with K = 2 it keeps one positive entry,
which becomes 1 in both matrices, and the loss is 0 whatever the student does.

Differs from the published code ("published" reproduces it, for any K): there the softmax is over the height axis only;
with E_j = sum p_j log p_j and G_ij = sum p_i p_j over the whole batch, the matrix is E_max(i,j) - G_ij, symmetric and
no divergence; its rows are scaled to unit length, and the mean squared error is divided by the batch size once more.
The published weight 9500 belongs to that number, not to this loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .logits import LogitLoss, check_logits, softened
from .loss import Channels, Variant, check_variant, in_float32

TEACHER_FLOOR = 1e-6
"""Added to sum_ij S_teacher^2 (nats squared): keeps the error finite where a teacher tells no classes apart."""
IGNORED = -1e20
"""Logit of an ignored pixel: its exponential is exactly 0, and 0 times it is 0, where -inf would give NaN."""


@in_float32
def icsd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Relative squared error of the student's inter-class similarities, averaged over images.

    Args:
        student_logits: (N, K, H, W).
        teacher_logits: (N, K, H, W); a constant.
        temperature: T > 0, softens the distributions over positions.
        valid: (N, H, W) bool; the other pixels have exactly no influence, and images without any are not counted.
            None: all pixels.
        variant: "paper" as above; "published" as the released code computes.

    Returns:
        A scalar >= 0, without unit; 0 when no pixel is valid.

    Raises:
        ValueError: shapes that differ, a temperature of 0 or less, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_logits(student_logits, teacher_logits, valid, temperature)
    if variant == "published":
        s = _published_rows(softened(student_logits, temperature))
        t = _published_rows(softened(teacher_logits.detach(), temperature))
        return F.mse_loss(s, t) / len(student_logits)
    s = inter_class_similarity(student_logits, temperature=temperature, valid=valid)
    t = inter_class_similarity(teacher_logits.detach(), temperature=temperature, valid=valid)
    error = (s - t).square().sum(dim=(1, 2)) / (t.square().sum(dim=(1, 2)) + TEACHER_FLOOR)
    if valid is None:
        return error.mean()
    return error.sum() / valid.flatten(1).any(dim=1).sum().clamp(min=1)


@in_float32
def inter_class_similarity(logits: Tensor, *, temperature: float = 1.0, valid: Tensor | None = None) -> Tensor:
    """KL divergence between the distributions over positions of every two classes.

    Differentiable once; a second derivative raises.

    Args:
        logits: (N, K, H, W).
        temperature: > 0, softens each distribution.
        valid: (N, H, W) bool, the positions that the distributions are over.  None: all.

    Returns:
        (N, K, K) in nats; entry i, j is KL(p_i || p_j).  The diagonal, and images without a valid position, are 0.

    Raises:
        ValueError: not a map, a mask of another size, or a temperature of 0 or less.
    """
    check_logits(logits, logits, valid, temperature)
    return _InterClassSimilarity.apply(logits, valid, temperature)  # type: ignore[no-any-return]


class _InterClassSimilarity(torch.autograd.Function):
    """The similarities, with a hand-written derivative that keeps no tensor of the logits' size between the passes.

    With u = (logits - top) / T, where top is each class's maximum, e = exp(u) and Z = sum_x e, the distributions are
    p = e / Z, and because they sum to 1

        S_ij = sum_x p_i u_i - sum_x p_i u_j - log Z_i + log Z_j

    so all pairs come out of one (K, K) product of e and u.  For an incoming derivative A, with r its row sums,

        dL/du_i = p_i * (r_i u_i - sum_j A_ij u_j + k_i) - sum_j A_ji p_j
        k_i = sum_j A_ij log Z_j - r_i log Z_i - sum_j A_ij S_ij + sum_j A_ji

    Images are independent and are worked off one by one, which bounds the workspace to two class maps of one image.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, valid: Tensor | None, temperature: float) -> Tensor:
        images, classes = logits.shape[:2]
        top, total = logits.new_empty(2, images, classes, 1)
        similarity = logits.new_empty(images, classes, classes)
        u, e = _workspace(logits)
        for n in range(images):
            _centre(logits[n], None if valid is None else valid[n], temperature, top[n], measure_top=True, u=u, e=e)
            total[n] = e.sum(dim=1, keepdim=True).clamp(
                min=1
            )  # the maximum alone gives 1; less is an image without pixels
            cross = torch.einsum("ip,jp->ij", e, u) / total[n] - total[n].log().T  # sum_x p_i log p_j
            similarity[n] = cross.diagonal().unsqueeze(1) - cross
        ctx.save_for_backward(logits, valid, top, total, similarity)
        ctx.temperature = temperature
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        logits, valid, top, total, similarity = ctx.saved_tensors
        result = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        u, p = _workspace(logits)
        for n, a in enumerate(grad):
            _centre(
                logits[n], None if valid is None else valid[n], ctx.temperature, top[n], measure_top=False, u=u, e=p
            )
            p /= total[n]
            mix = torch.diag(a.sum(dim=1)) - a
            constant = a.sum(dim=0) - (a * similarity[n]).sum(dim=1) - mix @ total[n, :, 0].log()
            out = torch.mm(mix, u, out=result[n].flatten(1))
            out.add_(constant.unsqueeze(1)).mul_(p).addmm_(a.T, p, alpha=-1)
        if ctx.temperature != 1:
            result /= ctx.temperature
        return result, None, None


def _workspace(logits: Tensor) -> Tensor:
    """Two class maps of one image, (2, K, H * W)."""
    _, classes, height, width = logits.shape
    return torch.empty(2, classes, height * width, dtype=logits.dtype, device=logits.device)


def _centre(
    logits: Tensor, valid: Tensor | None, temperature: float, top: Tensor, *, measure_top: bool, u: Tensor, e: Tensor
) -> None:
    """Write (logits - top) / T into `u` and its exponential into `e`; where not valid, a constant and 0.

    Subtracting the maximum keeps the products exact for class maps far from 0.

    Args:
        logits: (K, H, W) of one image.
        valid: (H, W) bool, or None.
        temperature: T.
        top: (K, 1) the maxima, to be written if `measure_top`; else they are read.
        measure_top: see `top`.
        u: (K, H * W) to be written.
        e: (K, H * W) to be written.
    """
    source = logits.flatten(1)
    if valid is not None:
        source = torch.where(valid.flatten(), source, source.new_tensor(IGNORED), out=u)
    if measure_top:
        torch.amax(source, dim=1, keepdim=True, out=top).clamp_(min=IGNORED / 2)  # without a valid pixel: e is 0 too
    torch.sub(source, top, out=u)
    if temperature != 1:
        u /= temperature
    torch.exp(u, out=e)


def _published_rows(logits: Tensor) -> Tensor:
    """The matrix of the released code for a batch (N, K, H, W), (K, K) with rows of unit length."""
    log_p = F.log_softmax(logits, dim=2)
    p = log_p.exp()
    own = (p * log_p).sum(dim=(0, 2, 3))
    shared = torch.einsum("nihw,njhw->ij", p, p)
    larger = torch.maximum(*torch.meshgrid(2 * [torch.arange(len(own), device=own.device)], indexing="ij"))
    return F.normalize((own[larger] - shared) / len(logits), dim=1)


class ICSD(LogitLoss):
    """`icsd` between the logits of student and teacher, over the pixels that the batch calls valid."""

    function = staticmethod(icsd)

    def __init__(self, channels: Channels, *, temperature: float = 1.0, variant: Variant = "paper"):
        super().__init__(channels, temperature=temperature, variant=variant)
