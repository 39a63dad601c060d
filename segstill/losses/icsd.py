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

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .logits import IGNORED, LogitLoss, check_logits, softened
from .loss import Channels, Variant, check_variant, in_float32, mean_over_images

BLOCK = {"cpu": 2**19}
"""Numbers in a block of class maps, by device: 2 MiB in single precision, which stay in a processor's cache."""
LARGE_BLOCK = 2**24
"""The same for other devices, where every block costs the start of a few kernels."""
TEACHER_FLOOR = 1e-6
"""Added to sum_ij S_teacher^2 (nats squared): keeps the error finite where a teacher tells no classes apart."""


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
        student_logits: (N, K, H, W), K >= 2.
        teacher_logits: (N, K, H, W); a constant.
        temperature: T > 0, softens the distributions over positions.
        valid: (N, H, W) bool; the other pixels have exactly no influence, and images without any are not counted.
            None: all pixels.
        variant: "paper" as above; "published" as the released code computes.

    Returns:
        A scalar >= 0, without unit; 0 when no pixel is valid.

    Raises:
        ValueError: shapes that differ, fewer than two classes, a temperature of 0 or less, or `valid` together with
            "published".
    """
    check_variant(variant, valid)
    check_logits(student_logits, teacher_logits, valid, temperature, least_classes=2)
    if variant == "published":
        s = _published_rows(softened(student_logits, temperature))
        t = _published_rows(softened(teacher_logits.detach(), temperature))
        return F.mse_loss(s, t) / len(student_logits)
    s = inter_class_similarity(student_logits, temperature=temperature, valid=valid)
    t = inter_class_similarity(teacher_logits.detach(), temperature=temperature, valid=valid)
    error = (s - t).square().sum(dim=(1, 2)) / (t.square().sum(dim=(1, 2)) + TEACHER_FLOOR)
    return mean_over_images(error, valid)


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

    Subtracting the maximum keeps the products exact for class maps far from 0.  The positions are worked off in blocks
    of all images and classes, which bounds the workspace.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, valid: Tensor | None, temperature: float) -> Tensor:
        images, classes = logits.shape[:2]
        top = logits.new_full((images, classes, 1), IGNORED / 2)  # without a valid pixel: e is 0 too
        for maps, _ in _blocks(logits, valid):
            top = torch.maximum(top, maps.amax(dim=2, keepdim=True))
        total, cross = logits.new_zeros(images, classes, 1), logits.new_zeros(images, classes, classes)
        for maps, _ in _blocks(logits, valid):
            u = _centred(maps, top, temperature)
            e = u.exp()
            total += e.sum(dim=2, keepdim=True)
            cross.baddbmm_(e, u.mT)
        total.clamp_(min=1)  # the maximum alone gives 1; less is an image without pixels
        cross = cross / total - total.log().mT  # sum_x p_i log p_j
        similarity = cross.diagonal(dim1=1, dim2=2).unsqueeze(2) - cross
        ctx.save_for_backward(logits, valid, top, total, similarity)
        ctx.temperature = temperature
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        logits, valid, top, total, similarity = ctx.saved_tensors
        mix = torch.diag_embed(grad.sum(dim=2)) - grad
        constant = grad.sum(dim=1) - (grad * similarity).sum(dim=2) - torch.bmm(mix, total.log()).squeeze(2)
        result = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        for maps, part in _blocks(logits, valid):
            u = _centred(maps, top, ctx.temperature)
            p = u.exp().div_(total)
            block = torch.baddbmm(constant.unsqueeze(2), mix, u).mul_(p).baddbmm_(grad.mT, p, alpha=-1)
            result.flatten(2)[:, :, part] = block if ctx.temperature == 1 else block.div_(ctx.temperature)
        return result, None, None


def _blocks(logits: Tensor, valid: Tensor | None) -> Iterator[tuple[Tensor, slice]]:
    """Cut (N, K, H, W) along its positions: the class maps (N, K, m), `IGNORED` where not valid, and which ones."""
    maps = logits.flatten(2)
    width = max(BLOCK.get(maps.device.type, LARGE_BLOCK) // (len(maps) * maps.shape[1]), 1)
    for start in range(0, maps.shape[2], width):
        part = slice(start, start + width)
        block = maps[:, :, part]
        yield block if valid is None else block.masked_fill(~valid.flatten(1)[:, part].unsqueeze(1), IGNORED), part


def _centred(maps: Tensor, top: Tensor, temperature: float) -> Tensor:
    """(maps - top) / T in a tensor of its own."""
    u = maps - top
    return u if temperature == 1 else u.div_(temperature)


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
