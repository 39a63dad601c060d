"""What the refinements take: finite floating-point maps, a batch of them or those of one image."""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**19
"""Elements of the result that are worked on at a time: larger results run slower where they no longer fit a cache."""


def as_batches(**given: Tensor) -> tuple[list[Tensor], bool]:
    """Return tensors as (N, C, H, W), and whether they were given as those of one image, (C, H, W).

    Raises:
        ValueError: neither shape, shapes of both kinds together, different N, or an empty tensor.
    """
    shapes = " and ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in given.items())
    single = all(tensor.ndim == 3 for tensor in given.values())
    batches = [tensor.unsqueeze(0) if single else tensor for tensor in given.values()]
    if any(batch.ndim != 4 or not batch.numel() for batch in batches) or len({len(batch) for batch in batches}) > 1:
        raise ValueError(
            f"{shapes} given, expected (N, C, H, W) with the same N, or (C, H, W) of one image, none of them empty: "
            "add or remove the batch dimension of what has another one"
        )
    return batches, single


def as_float(name: str, maps: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return maps in `dtype`; None: in their own, but half precision in float32.

    Raises:
        ValueError: maps that are not floating-point, or that hold a value that is not finite.
    """
    if not maps.is_floating_point():
        raise ValueError(f"{name} are {maps.dtype}, expected floating-point values: convert them with .float() first")
    if not maps.isfinite().all():
        raise ValueError(f"{name} hold NaN or infinity, expected finite values: look at what computed them")
    if dtype is None:
        dtype = torch.float32 if maps.dtype in (torch.float16, torch.bfloat16) else maps.dtype
    return maps.to(dtype)


def blocks(length: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield the begin and the end of blocks of about `BLOCK` elements, for `length` rows of `width` elements each."""
    step = max(BLOCK // width, 1)
    for begin in range(0, length, step):
        yield begin, min(begin + step, length)
