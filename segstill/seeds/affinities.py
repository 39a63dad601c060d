"""How alike two pixels near each other are: by the boundary between them, or by their features.

Pairs of pixels (y, x) and (y + dy, x + dx) are listed once, at the first of the two, for every offset (dy, dx) of
`pair_offsets`: affinities are (N, P, H, W) with P offsets.  Radius 5 has 34, so that a pixel has up to 68 partners.

By boundaries: Ahn et al., Weakly Supervised Learning of Instance Segmentation with Inter-Pixel Relations, CVPR 2019
(arXiv:1904.05044): 1 - the largest boundary value on the line between the two pixels, both ends included.
By features: Ahn and Kwak, Learning Pixel-Level Semantic Affinity with Image-Level Supervision, CVPR 2018
(arXiv:1803.10464): exp(- mean over channels of |f_i - f_j|).

Differs from the published code of the latter: it leaves out pairs near the left, the right and the lower border.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arithmetic import unit_length
from .maps import as_batches, as_float

Offset = tuple[int, int]
"""(dy, dx) in pixels, from the first of a pair to the second."""


def pair_offsets(radius: int) -> list[Offset]:
    """Return the offsets from a pixel to its partners nearer than `radius` pixels, one of each two opposite ones.

    First (0, 1) to (0, radius - 1), then row by row, from left to right.

    Raises:
        ValueError: a radius below 2, which has no pairs.
    """
    if radius < 2:
        raise ValueError(f"radius is {radius}, expected at least 2 pixels: nearer pixels have no partner")
    beside = [(0, dx) for dx in range(1, radius)]
    below = [(dy, dx) for dy in range(1, radius) for dx in range(1 - radius, radius) if dy**2 + dx**2 < radius**2]
    return beside + below


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
        on_path = [_at(boundary, point, offset) for point in _path(offset)]
        largest = on_path[0]
        for value in on_path[1:]:
            largest = torch.maximum(largest, value)
        affinities.append(_placed(1 - largest, offset, boundary))
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
        first, second = _at(features, (0, 0), offset), _at(features, offset, offset)
        if similarity == "l1":
            value = (first - second).abs().mean(dim=1, keepdim=True).neg().exp()
        else:
            value = (first * second).sum(dim=1, keepdim=True).clamp(0, 1)
        affinities.append(_placed(value, offset, features))
    result = torch.cat(affinities, dim=1)
    return result.squeeze(0) if single else result


def inside(offset: Offset, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and the columns of the pixels whose partner at `offset` is in the image too; maybe none."""
    dy, dx = offset
    return slice(0, max(height - dy, 0)), slice(min(max(-dx, 0), width), max(width - max(dx, 0), 0))


def _path(offset: Offset) -> list[Offset]:
    """Return the points between a pixel and its partner that the line through both passes, as offsets."""
    dy, dx = offset
    box = [(y, x) for y in range(dy + 1) for x in range(min(dx, 0), max(dx, 0) + 1)]
    return [(y, x) for y, x in box if (dy * x - dx * y) ** 2 < dy**2 + dx**2]


def _at(maps: Tensor, point: Offset, offset: Offset) -> Tensor:
    """Return what `maps` hold at `point` from every pixel whose partner at `offset` is in the image."""
    rows, columns = inside(offset, *maps.shape[2:])
    y, x = point
    # An image narrower than the offset has no such pixel, and slices that start below 0 would wrap around.
    if rows.start == rows.stop or columns.start >= columns.stop:
        return maps[:, :, :0, :0]
    return maps[:, :, rows.start + y : rows.stop + y, columns.start + x : columns.stop + x]


def _placed(values: Tensor, offset: Offset, like: Tensor) -> Tensor:
    """Put the values of the pixels whose partner is in the image into (N, 1, H, W), 0 elsewhere."""
    if not values.numel():
        return like.new_zeros(len(like), 1, *like.shape[2:])
    dy, dx = offset
    return F.pad(values, (max(-dx, 0), max(dx, 0), 0, dy))
