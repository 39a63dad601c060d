"""How alike two pixels near each other are: by the boundary between them, or by their features.

Affinities are (N, P, H, W) for the P offsets of `segstill.stencil.pair_offsets`, at the first pixel of every pair.

By boundaries: Ahn et al., Weakly Supervised Learning of Instance Segmentation with Inter-Pixel Relations, CVPR 2019
(arXiv:1904.05044): 1 - the largest boundary value on the line between the two pixels, both ends included.
By features: Ahn and Kwak, Learning Pixel-Level Semantic Affinity with Image-Level Supervision, CVPR 2018
(arXiv:1803.10464): exp(- mean over channels of |f_i - f_j|).

Differs from the published code of the latter: it leaves out pairs near the left, the right and the lower border.
"""

from typing import Literal

import torch
from torch import Tensor

from ..arithmetic import unit_length
from ..stencil import Offset, both_of, pair_offsets, placed, seen_at
from .maps import as_batches, as_float


def boundary_affinities(boundary: Tensor, *, radius: int = 5) -> Tensor:
    """Return the affinities that a boundary map leaves.

    Args:
        boundary: (N, 1, H, W), or (1, H, W) of one image, in [0, 1]; 1 lets nothing through.
        radius: partners are nearer than this, in pixels.

    Returns:
        (N, P, H, W) or (P, H, W) in [0, 1]; 0 where the partner is outside the image.

    Raises:
        ValueError: another shape, values outside [0, 1], or a radius below 2.
    """
    (boundary,), single = as_batches(boundary=boundary)
    boundary = as_float("boundary", boundary)
    if boundary.shape[1] != 1 or not 0 <= boundary.min() <= boundary.max() <= 1:
        raise ValueError(
            f"boundary {tuple(boundary.shape)} with values from {float(boundary.min()):.3g} to "
            f"{float(boundary.max()):.3g} given, expected (N, 1, H, W) or (1, H, W) in [0, 1]: "
            "apply the sigmoid to its logits"
        )
    affinities = []
    for offset in pair_offsets(radius):
        on_path = [seen_at(boundary, point, offset) for point in _path(offset)]
        largest = on_path[0]
        for value in on_path[1:]:
            largest = torch.maximum(largest, value)
        affinities.append(placed(1 - largest, offset, boundary))
    result = torch.cat(affinities, dim=1)
    return result.squeeze(0) if single else result


def feature_affinities(features: Tensor, *, radius: int = 5, similarity: Literal["l1", "cosine"] = "l1") -> Tensor:
    """Return the affinities between features; differentiable.

    Args:
        features: (N, C, H, W), or (C, H, W) of one image.
        radius: partners are nearer than this, in pixels.
        similarity: "l1" is exp(- mean over channels of |f_i - f_j|), "cosine" the cosine, 0 where it is negative.

    Returns:
        (N, P, H, W) or (P, H, W) in [0, 1]; 0 where the partner is outside the image.

    Raises:
        ValueError: another shape, features that are not floating point or not finite, an unknown similarity, or a
            radius below 2.
    """
    if similarity not in ("l1", "cosine"):
        raise ValueError(f"similarity is {similarity!r}, expected 'l1' or 'cosine'")
    (features,), single = as_batches(features=features)
    features = as_float("features", features)
    if similarity == "cosine":
        features = unit_length(features, dim=1)
    affinities = []
    for offset in pair_offsets(radius):
        first, second = both_of(features, offset)
        if similarity == "l1":
            value = (first - second).abs().mean(dim=1, keepdim=True).neg().exp()
        else:
            value = (first * second).sum(dim=1, keepdim=True).clamp(0, 1)
        affinities.append(placed(value, offset, features))
    result = torch.cat(affinities, dim=1)
    return result.squeeze(0) if single else result


def _path(offset: Offset) -> list[Offset]:
    """Return the points between a pixel and its partner that the line through both passes, as offsets."""
    dy, dx = offset
    box = [(y, x) for y in range(dy + 1) for x in range(min(dx, 0), max(dx, 0) + 1)]
    return [(y, x) for y, x in box if (dy * x - dx * y) ** 2 < dy**2 + dx**2]
