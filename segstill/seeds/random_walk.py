"""Random walk: class maps spread between pixels that are alike, and stop at boundaries.

Ahn et al., Weakly Supervised Learning of Instance Segmentation with Inter-Pixel Relations, CVPR 2019
(arXiv:1904.05044).  With A the affinities between pixels (see `affinities`), 1 on the diagonal and 0 for pixels that
are no pair,

    T = A^beta by elements, every column divided by its sum           maps <- maps T^(2^exp_times)

so every step replaces each pixel by a weighted mean of itself and its partners: a constant map stays constant, no value
leaves the range of its map, and the sum of the map weighted by the column sums does not change.  `random_walk` walks
maps times (1 - boundary).  Neither the paper nor this file normalises afterwards; the published code divides by the
largest value.

T is never a matrix: a step is 2 P shifts, multiplies and adds.  Nor are all n = 2^exp_times steps taken.  T is similar
to a symmetric matrix with eigenvalues in [-1, 1], on which x^n is the mean of the Chebyshev polynomials T_|s|(x), s
being the sum of n random signs; large |s| are so rare that about sqrt(2 n log(2 / precision)) of n steps give x^n to
the last digit, 90 of 256 in single precision.  (Sachdeva and Vishnoi, Faster Algorithms via Approximation Theory, 2014,
section 3.)  Their recursion magnifies rounding by the square of the degree, so it runs in double precision: the walk
of single-precision maps ends nearer to the exact result than 256 steps in their own precision do.
"""

import torch
from torch import Tensor

from ..stencil import inside, pair_offsets
from .affinities import boundary_affinities
from .maps import as_batches, as_float, blocks

Stencil = list[tuple[Tensor, Tensor, Tensor]]
"""Views (target, weight, source) of a step: target += weight * source, for each in turn."""


@torch.no_grad()
def random_walk(maps: Tensor, boundary: Tensor, *, radius: int = 5, beta: float = 10.0, exp_times: int = 8) -> Tensor:
    """Spread class maps up to boundaries.  Not differentiable.

    Args:
        maps: (N, C, H, W), or (C, H, W) of one image; floating point, of any size, usually a quarter of the image's.
        boundary: (N, 1, H, W) or (1, H, W) in [0, 1]; 1 is a wall, on which the result is 0.
        radius: partners of a pixel are nearer than this, in pixels; at least 2.
        beta: > 0; larger walks keep more within regions.
        exp_times: the walk has 2^exp_times steps; at least 0.

    Returns:
        Like `maps`; float64 for float64 maps, and float32 for others.

    Raises:
        ValueError: shapes that do not fit, maps that are not floating point or not finite, boundaries outside [0, 1],
            or a parameter out of its range.
    """
    (maps, boundary), single = as_batches(maps=maps, boundary=boundary)
    maps = as_float("maps", maps)
    _check_size("boundary", boundary, maps)
    boundary = as_float("boundary", boundary, maps.dtype)
    affinities = boundary_affinities(boundary, radius=radius)
    result = walk(maps * (1 - boundary), affinities, radius=radius, beta=beta, exp_times=exp_times)
    return result.squeeze(0) if single else result


@torch.no_grad()
def walk(maps: Tensor, affinities: Tensor, *, radius: int = 5, beta: float = 10.0, exp_times: int = 8) -> Tensor:
    """Spread class maps between pixels with a given affinity.  Not differentiable.

    Holds, for every pixel of an image, 2 P weights and four values of each of its maps, in double precision.

    Args:
        maps: (N, C, H, W), or (C, H, W) of one image; floating point.
        affinities: (N, P, H, W) or (P, H, W) in [0, 1], at the first pixel of every pair, in the order of
            `pair_offsets(radius)`: see `boundary_affinities` and `feature_affinities`.  Those whose partner is outside
            the image have no influence.
        radius: partners of a pixel are nearer than this, in pixels; at least 2.
        beta: > 0.
        exp_times: the walk has 2^exp_times steps; at least 0.

    Returns:
        Like `maps`; float64 for float64 maps, and float32 for others.

    Raises:
        ValueError: shapes that do not fit, maps that are not floating point or not finite, affinities outside [0, 1],
            or a parameter out of its range.
    """
    if not beta > 0 or exp_times < 0:
        raise ValueError(f"beta is {beta} and exp_times {exp_times}, expected beta above 0 and exp_times of at least 0")
    (maps, affinities), single = as_batches(maps=maps, affinities=affinities)
    maps = as_float("maps", maps)
    _check_size("affinities", affinities, maps)
    affinities = as_float("affinities", affinities, torch.float64)
    offsets = pair_offsets(radius)
    if affinities.shape[1] != len(offsets) or not 0 <= affinities.min() <= affinities.max() <= 1:
        raise ValueError(
            f"affinities {tuple(affinities.shape)} with values from {float(affinities.min()):.3g} to "
            f"{float(affinities.max()):.3g} given, expected {len(offsets)} per pixel, in [0, 1], for radius {radius}: "
            "compute them with the radius of the walk"
        )
    shape, width = maps.shape, maps.shape[3]
    pairs = torch.zeros_like(affinities)
    for pair, offset in enumerate(offsets):
        rows, columns = inside(offset, *shape[2:])
        pairs[:, pair, rows, columns] = affinities[:, pair, rows, columns] ** beta
    # Rows one after the other: a partner is a fixed number of places further on.  Pairs across the end of a row, or of
    # an offset wider than the image, have the weight 0.
    steps = [(pair, dy * width + dx) for pair, (dy, dx) in enumerate(offsets) if dy < shape[2] and abs(dx) < width]
    coefficients = _chebyshev(2**exp_times, torch.finfo(maps.dtype).eps / 8)
    result = _polynomial(maps.flatten(2).double(), pairs.flatten(2), steps, coefficients).to(maps.dtype)
    # A weighted mean is in the range of its map; rounding may leave it.
    least, largest = maps.flatten(2).aminmax(dim=2, keepdim=True)
    result = result.clamp(least, largest).view(shape)
    return result.squeeze(0) if single else result


def _polynomial(maps: Tensor, pairs: Tensor, steps: list[tuple[int, int]], coefficients: dict[int, float]) -> Tensor:
    """Return maps (N, C, L) times a polynomial of T, for the powered affinities `pairs` (N, P, L), which it changes.

    Args:
        maps: float64, every pixel in a row.
        pairs: float64, 0 where the partner is outside the image.
        steps: (pair, places to the partner > 0) of the pairs that an image of this size has.
        coefficients: degree -> coefficient in Chebyshev polynomials.
    """
    sums = torch.ones_like(pairs[:, :1])
    for target, weight, source in _stencil(sums, pairs, torch.ones_like(sums), steps):
        target.addcmul_(weight, source)
    # With the column sums D, T = D^(1/2) S D^(-1/2) for the symmetric S = D^(-1/2) A^beta D^(-1/2).
    root = sums.sqrt()
    for pair, step in steps:
        pairs[:, pair, :-step].mul_(2 / (root[:, 0, :-step] * root[:, 0, step:]))
    itself = 2 / sums
    even, odd = maps * root, torch.zeros_like(maps)
    to_odd, to_even = _stencil(odd, pairs, even, steps), _stencil(even, pairs, odd, steps)
    result = coefficients.get(0, 0.0) * even
    for degree in range(1, max(coefficients) + 1):
        target, source, stencil = (odd, even, to_odd) if degree % 2 else (even, odd, to_even)
        # T_k+1 = 2 S T_k - T_k-1, the weights holding the 2; T_1 = S T_0 is half of that, T_-1 being 0 here.
        target.neg_().addcmul_(itself, source)
        for part, weight, other in stencil:
            part.addcmul_(weight, other)
        if degree == 1:
            target /= 2
        if degree in coefficients:
            result.add_(target, alpha=coefficients[degree])
    return result / root


def _stencil(target: Tensor, pairs: Tensor, source: Tensor, steps: list[tuple[int, int]]) -> Stencil:
    """Return the views that add, to every pixel of (N, C, L), the weighted values of its partners on both sides."""
    images, channels, length = target.shape
    views = []
    for begin, end in blocks(length, images * channels):
        for pair, step in steps:
            weight = pairs[:, pair : pair + 1]
            last, first = min(end, length - step), max(begin, step)
            if begin < last:
                ahead = slice(begin + step, last + step)
                views.append((target[..., begin:last], weight[..., begin:last], source[..., ahead]))
            if first < end:
                behind = slice(first - step, end - step)
                views.append((target[..., first:end], weight[..., behind], source[..., behind]))
    return views


def _chebyshev(power: int, precision: float) -> dict[int, float]:
    """Return degree -> coefficient of x^power in Chebyshev polynomials, without those that add up to `precision`."""
    # The coefficient of degree k is the chance that `power` random signs add up to k or -k; from the middle outwards.
    degree = power % 2
    chance = 0.5 if degree == 0 else 1.0  # of 0 both signs are the same sum
    chances = {}
    while degree <= power and chance > precision**2:
        chances[degree] = chance
        if degree == 0:
            chance *= 2
        chance *= (power - degree) / (power + degree + 2)
        degree += 2
    total, rest = sum(chances.values()), 0.0
    for degree in sorted(chances, reverse=True):
        rest += chances[degree]
        if rest > precision * total:
            break
        del chances[degree]
    total = sum(chances.values())
    return {degree: chance / total for degree, chance in chances.items()}


def _check_size(name: str, given: Tensor, maps: Tensor) -> None:
    """Raise ValueError unless both have the same height and width."""
    if given.shape[2:] != maps.shape[2:]:
        raise ValueError(
            f"{name} {tuple(given.shape)} and maps {tuple(maps.shape)} given, expected the same height and width: "
            "resize the maps first"
        )
