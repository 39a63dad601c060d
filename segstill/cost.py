"""What a network costs: parameters, multiply-adds and measured time for one image."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """The cost of one forward pass on one image."""

    parameters: int
    gmacs: float
    """10^9 multiply-adds of convolutions and matrix products."""
    milliseconds: float
    """Median over repeated passes, batch of one, float32, on the device of the model."""


@torch.no_grad()
def measure_cost(model: nn.Module, size: tuple[int, int], *, repeats: int = 20) -> Cost:
    """Measure a network on a random image; it is left in eval mode.

    Args:
        model: maps (1, 3, H, W) to logits.
        size: H and W of the image.
        repeats: timed passes, after three to warm up.
    """
    model.eval()
    image = torch.rand(1, 3, *size, device=next(model.parameters()).device)
    with FlopCounterMode(display=False) as counter:
        model(image)
    seconds = []
    for index in range(repeats + 3):
        began = time.perf_counter()
        model(image)
        if image.is_cuda:
            torch.cuda.synchronize()
        if index >= 3:
            seconds.append(time.perf_counter() - began)
    parameters = sum(p.numel() for p in model.parameters())
    return Cost(parameters, counter.get_total_flops() / 2e9, statistics.median(seconds) * 1e3)
