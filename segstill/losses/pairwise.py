"""Pair-wise distillation: how alike any two regions of an image are.

Liu et al., Structured Knowledge Distillation for Semantic Segmentation, CVPR 2019 (arXiv:1903.04197).  The maximum over
each cell of the feature is a node; with f_i the node's vector scaled to unit length:

    A_ij = f_i . f_j      L = mean over images and pairs of nodes of (A_student - A_teacher)^2

A node is the maximum over its valid positions; nodes without one are left out, with all their pairs.

Two methods carry this name.  `cell=(2, 2)` is that of the CIRKD comparison: many small regions, weight 10.  The
original pools by half the map's height and width, `cell=(h // 2, w // 2)`, into 2 x 2 nodes (3 x 3 where a side is odd,
because a rest is a node of its own), and takes the length of a node's vector for a constant in the backward pass:
`detach_norm=True`.

Differs from the published codes ("published" reproduces them): they mask nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import FeatureLoss, check_features
from .loss import Channels, Variant, check_variant, in_float32, mean_over_valid, unit_length


@in_float32
def pairwise(
    student: Tensor,
    teacher: Tensor,
    *,
    cell: tuple[int, int] = (2, 2),
    detach_norm: bool = False,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Mean squared difference between the cosines of pairs of pooled regions.

    Takes memory for a few matrices of n x n numbers per image, with n nodes: choose a larger cell for large maps.
    Upsampling the features changes nothing only if `cell` grows by the same factor.

    Args:
        student: (N, C, h, w).
        teacher: (N, C', h, w) with channels of its own; a constant.
        cell: height and width of the regions, in positions of the feature; at the lower and right border what is left.
        detach_norm: no gradient goes through the lengths of the vectors (the original code).
        valid: (N, h, w) bool; the other positions have exactly no influence, and images without any are not counted.
            None: all positions.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar in [0, 4], without unit; 0 when no position is valid.

    Raises:
        ValueError: shapes that differ, a cell without extent, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_cell(cell)
    check_features(student, teacher, valid, same_channels=False)
    nodes = None if valid is None else _pooled(valid.unsqueeze(1).to(student.dtype), cell) > 0  # (N, 1, n)
    s, t = (_nodes(feature, cell, valid, nodes, detach_norm) for feature in (student, teacher.detach()))
    difference = torch.baddbmm(torch.bmm(t.mT, t), s.mT, s, beta=-1)
    if nodes is None:
        return difference.square().mean()
    count = nodes.sum(dim=(1, 2))  # the vectors of other nodes are 0, and so are their differences
    return mean_over_valid(difference.square().sum(dim=(1, 2)) / count.clamp(min=1).square(), count > 0)


def _nodes(feature: Tensor, cell: tuple[int, int], valid: Tensor | None, nodes: Tensor | None, fixed: bool) -> Tensor:
    """Vectors of unit length, (N, C, n); 0 for nodes that are left out."""
    if valid is not None:
        feature = feature.masked_fill(~valid.unsqueeze(1), torch.finfo(feature.dtype).min)
    pooled = _pooled(feature, cell)
    if nodes is not None:
        pooled = pooled.masked_fill(~nodes, 0)
    if fixed:
        return pooled / (torch.linalg.vector_norm(pooled, dim=1, keepdim=True).detach() + 1e-8)
    return unit_length(pooled, dim=1)


def _pooled(feature: Tensor, cell: tuple[int, int]) -> Tensor:
    return F.max_pool2d(feature, cell, stride=cell, ceil_mode=True).flatten(2)


def check_cell(cell: tuple[int, int]) -> None:
    """Raise ValueError unless a cell has a height and a width of 1 or more."""
    if len(cell) != 2 or min(cell) < 1:
        raise ValueError(f"cell is {tuple(cell)}, expected a height and a width of 1 or more: (2, 2) pools 2 x 2")


class Pairwise(FeatureLoss):
    """`pairwise` summed over taps; see `FeatureLoss`.  Nothing is trained."""

    mean_over = "images"
    function = staticmethod(pairwise)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("encoder",),
        cell: tuple[int, int] = (2, 2),
        detach_norm: bool = False,
        variant: Variant = "paper",
    ):
        check_cell(cell)
        super().__init__(channels, taps=taps, variant=variant, cell=tuple(cell), detach_norm=detach_norm)
