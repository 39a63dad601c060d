"""Batch normalisation over the images of all processes, on every device and for every kind of batch norm.

torch's own runs on GPUs only, and its conversion drops the activation that timm's batch norms bring along.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, distributed, nn


def synchronise(module: nn.Module) -> None:
    """Let every batch norm in `module` train on the statistics of all processes; names and state dict stay.

    With it, several processes compute what one process with all their images would.
    """
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.forward = MethodType(_forward, child)  # on the instance: subclasses keep their other methods


def _forward(norm: Any, feature: Tensor) -> Tensor:
    if not norm.training or norm.running_mean is None:
        return type(norm).forward(norm, feature)
    x = feature.float()
    around = [0, *range(2, x.ndim)]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    count = x.new_full((1,), x.numel() / x.shape[1])
    total: Any = _SumOverProcesses.apply(torch.cat([x.sum(around), count]))
    mean, count = total[:-1] / total[-1].detach(), total[-1].detach()
    # A second exchange for centred squares: mean squares minus a squared mean would lose the digits of large means.
    x = x - mean.view(shape)
    variance: Any = _SumOverProcesses.apply(x.square().sum(around)) / count
    with torch.no_grad():
        norm.num_batches_tracked += 1
        momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance * count / (count - 1).clamp(min=1), momentum)
    y = x * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        y = y * norm.weight.view(shape) + norm.bias.view(shape)
    for after in ("drop", "act"):  # timm's batch norms end in these
        y = getattr(norm, after, nn.Identity())(y)
    return y.to(feature.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """The sum that every process gets; the derivative is the sum of what every process sends back."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:  # noqa: ARG004  (the interface)
        everyone = mine.clone()
        distributed.all_reduce(everyone)
        return everyone

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _SumOverProcesses.forward(ctx, gradients[0].contiguous())
