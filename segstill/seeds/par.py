"""Pixel-adaptive refinement (PAR): class maps flow between pixels near each other that look alike.

Ru et al., Learning Affinity from Attention: End-to-End Weakly-Supervised Semantic Segmentation with Transformers, CVPR
2022 (arXiv:2203.02664).  Every pixel i has 8 neighbours k at each dilation d, with coordinates clamped to the image:

    a_k = - mean over colour channels of (|I_k - I_i| / (std_k I_k + 1e-8) / 0.3)^2
    b_k = - (r_k / (std_k r_k + 1e-8) / 0.3)^2              r_k = d, or d sqrt(2) on the diagonals
    w_k = softmax_k(a) + 0.01 softmax_k(b)
    map_i <- sum over k of w_k map_k                        `iterations` times

std is over the neighbours of the pixel, without the pixel itself, and unbiased.  The pixel's own value has no weight.

Differs from the paper and its published code: there, the weights of a pixel add up to 1.01, so that maps grow by 1 %
per iteration.  `variant="paper"` divides by 1.01, which keeps a constant map constant and changes no arg-max;
"published" does not.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .maps import as_batches, as_float, blocks

CONTRAST = 0.3
"""Standard deviations of colour, or of distance, at which a neighbour has lost 1 - 1/e of its weight."""
POSITION = 0.01
"""Weight of the distances beside the colours."""
EPS = 1e-8


@torch.no_grad()
def par(
    image: Tensor,
    maps: Tensor,
    *,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
    iterations: int = 10,
    variant: Literal["paper", "published"] = "paper",
) -> Tensor:
    """Refine class maps by the colours of the image.  Not differentiable.

    Of the size of the image are held 8 weights per dilation and about two copies of the maps.  The published uses run
    on images of half size: distances are in pixels of the image that is given.

    Args:
        image: (N, 3, H, W), or (3, H, W) with maps of one image; RGB in any range, integer or floating point: scaling
            or shifting a channel changes nothing.
        maps: (N, C, h, w) or (C, h, w), floating point; brought to H x W bilinearly (align_corners true) first.
        dilations: distances to neighbours, in pixels, at least 1.
        iterations: at least 1.
        variant: "published" lets the maps grow by 1 % per iteration.

    Returns:
        (N, C, H, W) or (C, H, W), float64 for float64 maps and float32 for others.  With "paper" every value lies
        between the least and the largest of its map, up to rounding.

    Raises:
        ValueError: shapes that do not fit, maps that are not floating point or not finite, a dilation or a number of
            iterations below 1, or an unknown variant.
    """
    if variant not in ("paper", "published"):
        raise ValueError(f"variant is {variant!r}, expected 'paper' or 'published'")
    if iterations < 1 or not dilations or min(dilations) < 1:
        raise ValueError(
            f"{iterations} iterations and dilations {tuple(dilations)} given, expected at least 1 iteration and "
            "dilations of at least 1 pixel: to leave maps as they are, do not refine them"
        )
    (image, maps), single = as_batches(image=image, maps=maps)
    maps = as_float("maps", maps)
    image = as_float("image", image if image.is_floating_point() else image.float(), maps.dtype)
    weights = _weights(image, dilations)
    if variant == "paper":
        weights /= 1 + POSITION
    size = (image.shape[2], image.shape[3])
    if maps.shape[2:] != size:
        maps = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    for _ in range(iterations):
        maps = _average(maps, weights, dilations)
    return maps.squeeze(0) if single else maps


def _neighbours(maps: Tensor, dilations: Sequence[int]) -> list[Tensor]:
    """Return what (N, C, H, W) holds at the neighbours of every pixel: views (N, C, H, W) of one padded copy."""
    reach, (height, width) = max(dilations), maps.shape[2:]
    padded = F.pad(maps, (reach,) * 4, mode="replicate")
    return [
        padded[:, :, reach + dy : reach + dy + height, reach + dx : reach + dx + width]
        for dy, dx in _offsets(dilations)
    ]


def _offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    return [(dy * dilation, dx * dilation) for dilation in dilations for dy, dx in around]


def _weights(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the weight of every neighbour, (N, neighbours, H, W), which add up to 1.01."""
    neighbours = _neighbours(image, dilations)
    mean = sum(neighbours, torch.zeros_like(image)) / len(neighbours)
    variance = torch.zeros_like(image)
    for neighbour in neighbours:  # around the mean: the sum of squares loses all digits where colours hardly differ
        variance += (neighbour - mean).square_()
    unit = CONTRAST * ((variance / (len(neighbours) - 1)).sqrt_() + EPS)
    shape = (len(image), len(neighbours), *image.shape[2:])
    likeness = image.new_empty(shape)
    for k, neighbour in enumerate(neighbours):
        torch.mean(((neighbour - image) / unit).square_(), dim=1, out=likeness[:, k])
    distance = torch.tensor(_offsets(dilations), dtype=image.dtype, device=image.device).square().sum(dim=1).sqrt()
    nearness = -(distance / (CONTRAST * (distance.std() + EPS))).square()
    return likeness.neg_().softmax(dim=1) + POSITION * nearness.softmax(dim=0).view(1, -1, 1, 1)


def _average(maps: Tensor, weights: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the weighted sum of every pixel's neighbours."""
    neighbours = _neighbours(maps, dilations)
    result = torch.zeros_like(maps)
    images, channels, height, width = maps.shape
    for begin, end in blocks(height, images * channels * width):
        rows = result[:, :, begin:end]
        for k, neighbour in enumerate(neighbours):
            rows.addcmul_(weights[:, k : k + 1, begin:end], neighbour[:, :, begin:end])
    return result
