"""CIRKD, the mini-batch part: how alike every cell is to every cell of every image of the batch.

Yang et al., Cross-Image Relational Knowledge Distillation for Semantic Segmentation, CVPR 2022 (arXiv:2204.06986).
With the feature vectors of the cells scaled to unit length, for the cell r of image i and the image j:

    p = softmax_x(teacher_r . teacher_j,x / T)        q = softmax_x(student_r . student_j,x / T)
    L = mean over all ordered pairs (i, j) of images, and over the cells r of i, of KL(p || q)

There is no factor T squared.  "published" is the same without the mask; its code averages maps of 256 cells or more on
each side over 4 x 4 cells, which is `pool` here.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import FeatureLoss, check_features, zero_ignored
from .logits import check_temperature
from .loss import Channels, Variant, check_variant, in_float32, unit_length

BLOCK = 2**21
"""Similarities that are held at a time; a handful of tensors have this many elements."""
IGNORED = -1e20
"""Similarity to a key that does not count: its probability is exactly 0, and 0 times it is 0, where -inf gives NaN."""


@in_float32
def cirkd_minibatch(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 0.1,
    pool: int = 1,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Divergence of the student's similarities between cells from the teacher's, averaged over pairs of images.

    Works through blocks of rows of the N h w x N h w matrices, so that memory grows with the cells, not their square.
    Differentiable once.  Without pooling, upsampling by nearest does not change the value.

    Args:
        student: (N, C, h, w).
        teacher: (N, C_teacher, h, w); a constant.
        temperature: T > 0.
        pool: average this many by this many cells first; the cost falls with its fourth power.
        valid: (N, h, w) bool; the other cells have exactly no influence, and images without any are not counted.
            None: all cells.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar >= 0, in nats; 0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, a temperature of 0 or less, a pool below 1, or `valid` with "published".
    """
    check_variant(variant, valid)
    check_temperature(temperature)
    check_features(student, teacher, valid, same_channels=False)
    student, _ = pooled_cells(student, valid, pool)
    teacher, valid = pooled_cells(teacher.detach(), valid, pool)
    s, t = cell_directions(student), cell_directions(teacher)
    counts = s.new_ones(s.shape[:2]) if valid is None else valid.flatten(1).to(s.dtype)
    cells = counts.sum(dim=1, keepdim=True)
    images = (cells > 0).to(s.dtype)
    of_row = (counts / cells.clamp(min=1)).flatten() / images.sum().clamp(min=1).square()
    weight = of_row.unsqueeze(1) * images.squeeze(1)
    counted = None if valid is None else valid.flatten(1)
    return relation_divergence(s.flatten(0, 1), t.flatten(0, 1), s, t, weight, temperature=temperature, counted=counted)


def relation_divergence(
    student: Tensor,
    teacher: Tensor,
    student_keys: Tensor,
    teacher_keys: Tensor | None,
    weight: Tensor,
    *,
    temperature: float,
    counted: Tensor | None = None,
) -> Tensor:
    """Weighted sum of KL(p || q) over rows and sets of keys, p and q the softmax over a set's similarities to the row.

    Differentiable once, by the student's rows and keys.  Without keys of the teacher's own, the keys are constants.

    Args:
        student: (R, C).
        teacher: (R, D); a constant.
        student_keys: (S, Q, C), S sets of Q keys.
        teacher_keys: (S, Q, D), constants.  None: the student's, D being C.
        weight: (R, S) of every row and set.
        temperature: T > 0; the similarities are divided by it.
        counted: (S, Q) bool, the keys that count; at least one of a set whose weight is not 0.  None: all.
    """
    return _RelationDivergence.apply(  # type: ignore[no-any-return]
        student, teacher, student_keys, teacher_keys, weight, counted, temperature
    )


class _RelationDivergence(torch.autograd.Function):
    """The divergence, and in the same pass over the blocks its derivative, which is all that is kept.

    With a = student . key / T, a KL(p || q) has the derivative q - p by a.
    """

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        student_keys: Tensor,
        teacher_keys: Tensor | None,
        weight: Tensor,
        counted: Tensor | None,
        temperature: float,
    ) -> Tensor:
        rows, sets = len(student), student_keys.shape[:2]
        keys = student_keys.flatten(0, 1)
        their_keys = keys if teacher_keys is None else teacher_keys.flatten(0, 1)
        ignored = None if counted is None else ~counted
        step = max(BLOCK // len(keys), 1)
        value = student.new_zeros(())
        by_rows = torch.empty_like(student)
        by_keys = None if teacher_keys is None else torch.zeros_like(keys)
        for begin in range(0, rows, step):
            block = slice(begin, begin + step)
            log_p = _log_softmax(teacher[block], their_keys, sets, ignored, temperature)
            log_q = _log_softmax(student[block], keys, sets, ignored, temperature)
            p = log_p.exp()
            value += ((p * log_p.sub_(log_q)).sum(dim=2) * weight[block]).sum()
            slope = log_q.exp_().sub_(p).mul_(weight[block].unsqueeze(2) / temperature).flatten(1)
            by_rows[block] = slope @ keys
            if by_keys is not None:
                by_keys.addmm_(slope.T, student[block])
        ctx.save_for_backward(by_rows, None if by_keys is None else by_keys.view_as(student_keys))
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:  # type: ignore[override]
        if torch.is_grad_enabled():  # the derivative was computed as a constant: a second one would silently be wrong
            raise RuntimeError("the similarities of CIRKD are differentiable once: leave create_graph out")
        by_rows, by_keys = ctx.saved_tensors
        return grad * by_rows, None, None if by_keys is None else grad * by_keys, None, None, None, None


def _log_softmax(rows: Tensor, keys: Tensor, sets: torch.Size, ignored: Tensor | None, temperature: float) -> Tensor:
    similarity = (rows @ keys.T).div_(temperature).view(len(rows), *sets)
    if ignored is not None:
        similarity.masked_fill_(ignored, IGNORED)
    return similarity.log_softmax(dim=2)


def cell_directions(feature: Tensor) -> Tensor:
    """Return the cells of (N, C, h, w) as unit vectors (N, h * w, C)."""
    return unit_length(feature, dim=1).flatten(2).transpose(1, 2).contiguous()


def pooled_cells(feature: Tensor, valid: Tensor | None, pool: int) -> tuple[Tensor, Tensor | None]:
    """Average windows of `pool` by `pool` cells over their valid cells.

    Args:
        feature: (N, C, h, w).
        valid: (N, h, w) bool, or None.
        pool: side of a window; those at the right and the lower border hold the cells that are left.

    Returns:
        (N, C, ceil(h / pool), ceil(w / pool)), and which windows hold a valid cell; invalid ones are 0.
    """
    check_pool(pool)
    feature = zero_ignored(feature, valid)
    if pool == 1:
        return feature, valid
    mean = F.avg_pool2d(feature, pool, ceil_mode=True)
    if valid is None:
        return mean, None
    share = F.avg_pool2d(valid.unsqueeze(1).to(feature.dtype), pool, ceil_mode=True)
    return mean / torch.where(share > 0, share, 1), share.squeeze(1) > 0


def check_pool(pool: int) -> None:
    """Raise ValueError unless the side of a pooling window is at least 1."""
    if pool < 1:
        raise ValueError(f"pool is {pool}, expected at least 1 cell: 1 does not pool")


class CIRKD(FeatureLoss):
    """`cirkd_minibatch`, summed over taps; see `FeatureLoss`.

    The images that are compared are those of one process.

    Args:
        channels: tap -> (student, teacher) channels.
        taps: the features to compare.
        temperature: see `cirkd_minibatch`.
        pool: see `cirkd_minibatch`; 4 suits a feature at stride 4.
        variant: see `cirkd_minibatch`.
    """

    mean_over = "images"
    function = staticmethod(cirkd_minibatch)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("decoder",),
        temperature: float = 0.1,
        pool: int = 4,
        variant: Variant = "paper",
    ):
        super().__init__(channels, taps=taps, variant=variant, temperature=temperature, pool=pool)
        check_temperature(temperature)
        check_pool(pool)
