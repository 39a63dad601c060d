"""Pairs of pixels near each other, which the random walk goes along and affinities are learned from.

Pairs (y, x) and (y + dy, x + dx) are listed once, at the first of the two, for every offset (dy, dx) of `pair_offsets`.
Radius 5 has 34, so that a pixel has up to 68 partners.
"""

import torch.nn.functional as F
from torch import Tensor

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


def inside(offset: Offset, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and the columns of the pixels whose partner at `offset` is in the image too; maybe none."""
    dy, dx = offset
    return slice(0, max(height - dy, 0)), slice(min(max(-dx, 0), width), max(width - max(dx, 0), 0))


def seen_at(maps: Tensor, point: Offset, offset: Offset) -> Tensor:
    """Return what `maps` (N, C, H, W) hold at `point` from every pixel whose partner at `offset` is in the image."""
    rows, columns = inside(offset, *maps.shape[2:])
    y, x = point
    # An image narrower than the offset has no such pixel, and slices that start below 0 would wrap around.
    if rows.start == rows.stop or columns.start >= columns.stop:
        return maps[:, :, :0, :0]
    return maps[:, :, rows.start + y : rows.stop + y, columns.start + x : columns.stop + x]


def both_of(maps: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """Return what `maps` hold at the first and at the second pixel of all pairs at `offset`, (N, C, h, w) each."""
    return seen_at(maps, (0, 0), offset), seen_at(maps, offset, offset)


def placed(values: Tensor, offset: Offset, like: Tensor) -> Tensor:
    """Put the values of the pixels whose partner is in the image into (N, 1, H, W), 0 elsewhere."""
    if not values.numel():
        return like.new_zeros(len(like), 1, *like.shape[2:])
    dy, dx = offset
    return F.pad(values, (max(-dx, 0), max(dx, 0), 0, dy))
