"""Features of several stages as one map in which every stage has a vote.

The side branches of SIPE (Chen et al., CVPR 2022, arXiv 2203.02909), which the second version of SWTformer (Ahmadi and
Kasaei, 2024, arXiv 2401.17828) appears to transplant on Swin.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import filled, in_float32

_EPSILON = 1e-5


def fuse(
    branches: Sequence[Tensor],
    size: tuple[int, int],
    *,
    cells: Sequence[Tensor] | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Give every pixel of every branch unit norm, bring the branches to one grid, and join them.

    The cosine of two cells of the result is about the mean of the branches' cosines (exactly so before the resizing).

    Args:
        branches: (N, C_b, h_b, w_b) each.
        size: h and w of the result.
        cells: (N or 1, h_b, w_b) bool each: the cells inside the image.  The others have no influence, and a cell of
            the result that sees none of them in a branch is zero there.
        weights: (B,) of the branches, at least 0 and with sum 1: the cosine is then the weighted mean.  None weighs
            all alike.

    Returns:
        (N, sum of C_b, h, w); resized bilinearly with half-pixel centres, not normalised again after it.
    """
    joined: list[Tensor] = []
    for index, branch in enumerate(branches):
        unit = branch / (torch.linalg.vector_norm(branch, dim=1, keepdim=True) + _EPSILON)
        if cells is None:
            resized = _resize(unit, size)
        else:
            share = _resize(cells[index][:, None].to(unit), size)
            resized = _resize(filled(unit, cells[index]), size) / share.clamp(min=_EPSILON)
        joined.append(resized if weights is None else resized * (weights[index] * len(branches)).sqrt())
    return torch.cat(joined, dim=1)


class Fusion(nn.Module):
    """Branches of their own, `fuse`d: 1x1 convolutions without bias, and perhaps weights of the branches.

    Args:
        channels: of every stage that takes part.
        projected: channels of its branch; None leaves the features as they are.
        branches: "equal" votes, or "learned" ones (a softmax over branches, equal at first).
    """

    def __init__(
        self, channels: Sequence[int], projected: Sequence[int] | None, branches: Literal["equal", "learned"] = "equal"
    ):
        super().__init__()
        pairs = zip(channels, projected or channels, strict=True)
        self.sides = nn.ModuleList(
            nn.Conv2d(given, made, 1, bias=False) if projected else nn.Identity() for given, made in pairs
        )
        self.votes = nn.Parameter(torch.zeros(len(self.sides))) if branches == "learned" else None

    @in_float32
    def forward(self, stages: Sequence[Tensor], cells: Sequence[Tensor], grid: Tensor) -> Tensor:
        """Return (N, D, h, w) in float32, zero outside the image.  No gradient reaches the stages.

        Args:
            stages: (N, C, ., .) each.
            cells: (N or 1, ., .) bool each: which of them lie inside the image.
            grid: (N or 1, h, w) bool, the same of the result.
        """
        sides = [side(stage.detach()) for side, stage in zip(self.sides, stages, strict=True)]
        weights = None if self.votes is None else self.votes.softmax(dim=0)
        return filled(fuse(sides, (grid.shape[1], grid.shape[2]), cells=cells, weights=weights), grid)


def _resize(map: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(map, size=size, mode="bilinear", align_corners=False)
