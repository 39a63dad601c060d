"""Large images in tiles, and the blending of what a network says of them."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def check_tiles(tile: int, overlap: int, stride: int) -> tuple[int, int]:
    """Return tile and overlap as multiples of a network's stride.

    Raises:
        ValueError: tiles that are smaller than the stride, or overlap by more than half.
    """
    sides = math.ceil(tile / stride) * stride, math.ceil(overlap / stride) * stride if overlap else 0
    if tile < 1 or overlap < 0 or 2 * sides[1] > sides[0]:
        raise ValueError(
            f"tiles of {tile} pixels that overlap by {overlap} (as multiples of the stride {stride}: {sides[0]} and "
            f"{sides[1]}), expected an overlap from 0 to half a tile: pass another --tile or --overlap"
        )
    return sides


def tiled(
    ask: Callable[[Tensor], Tensor], image: Tensor, *, tile: int, overlap: int, stride: int = 1
) -> Iterator[Tensor]:
    """Compute scores tile by tile; only one row of tiles is held at a time.

    Within a quarter of the overlap from its border a tile has no weight, so that no pixel is judged with less around it
    than that; over the next half the weight rises to 1, and it is divided by the sum over the tiles.  So the result is
    that of the whole image where a pixel's scores depend on what is within a quarter of the overlap, and near it where
    little depends on more.  A network that looks at the whole image (pooling over all of it, attention) sees a tile.

    Args:
        ask: maps (1, 3, h, w) to logits (1, K, h, w).
        image: (1, 3, H, W).
        tile: height and width of a tile.
        overlap: pixels that neighbours share.
        stride: of the network; every tile starts at a multiple of it, as the network's cells do in the whole image.

    Yields:
        (1, K, rows, W) float32 on the CPU, from the top to the bottom of the image.
    """
    tile, overlap = check_tiles(tile, overlap, stride)
    height, width = image.shape[2:]
    tops, lefts = _starts(height, tile, overlap, stride), _starts(width, tile, overlap, stride)
    total, weights = torch.zeros(()), torch.zeros(())
    carried = 0  # rows that the tiles above have in common with these
    for place, top in enumerate(tops):
        bottom = min(top + tile, height)
        row_total, row_weights = torch.zeros(()), torch.zeros(bottom - top, width)
        for left in lefts:
            right = min(left + tile, width)
            scores = ask(image[:, :, top:bottom, left:right]).float().cpu()
            if not row_total.ndim:
                row_total = scores.new_zeros(1, scores.shape[1], bottom - top, width)
            window = torch.outer(_ramp(top, bottom, height, overlap), _ramp(left, right, width, overlap))
            row_total[..., left:right] += scores * window
            row_weights[:, left:right] += window
        if carried:
            row_total[:, :, :carried] += total
            row_weights[:carried] += weights
        done = (tops[place + 1] if place + 1 < len(tops) else height) - top
        yield row_total[:, :, :done] / row_weights[:done]
        total, weights, carried = row_total[:, :, done:], row_weights[done:], bottom - top - done


def _starts(side: int, tile: int, overlap: int, stride: int) -> list[int]:
    if side <= tile:
        return [0]
    return [*range(0, side - tile, tile - overlap), math.ceil((side - tile) / stride) * stride]


def _ramp(first: int, last: int, side: int, overlap: int) -> Tensor:
    """Weights of a tile along one side; borders that are those of the image have full weight."""
    weights = torch.ones(last - first)
    if not overlap:
        return weights
    inwards = ((torch.arange(last - first) + 0.5) / overlap * 2 - 0.5).clamp(0, 1)
    if first > 0:
        weights = weights * inwards
    return weights * inwards.flip(0) if last < side else weights
