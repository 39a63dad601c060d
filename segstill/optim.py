"""The optimizer, its schedule and the averaged student."""

from typing import Literal

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def make_optimizer(
    encoder: list[nn.Parameter],
    others: list[nn.Parameter],
    *,
    name: Literal["sgd", "adamw"] = "sgd",
    lr: float,
    head_lr_factor: float = 10.0,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 5e-4,
) -> Optimizer:
    """Build the optimizer: the encoder learns at `lr`, everything else at `lr * head_lr_factor`.

    Args:
        encoder: parameters that start from pretrained weights.
        others: the head, and what losses train (connectors, attention).
        name: sgd or adamw.
        lr: learning rate at the start, > 0.
        head_lr_factor: how much faster the others learn.
        momentum: of SGD; adamw keeps its own betas.
        nesterov: of SGD.
        weight_decay: on all parameters, as the papers have it.

    Raises:
        ValueError: nothing to train.
    """
    groups = [{"params": encoder, "lr": lr}, {"params": others, "lr": lr * head_lr_factor}]
    groups = [group | {"base_lr": group["lr"]} for group in groups if group["params"]]
    if not groups:
        raise ValueError("there is nothing to train: every parameter is frozen")
    if name == "adamw":
        return AdamW(groups, weight_decay=weight_decay)
    return SGD(groups, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def set_learning_rate(optimizer: Optimizer, progress: float, power: float) -> float:
    """Set the poly schedule, base * (1 - progress) ** power, and return the encoder's (first group's) rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * (1 - progress) ** power
    return optimizer.param_groups[0]["lr"]


def averaged(student: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of `student`, batch-norm statistics included; call `update_parameters`."""
    if not 0 < decay < 1:
        raise ValueError(f"ema is {decay}, expected a decay between 0 and 1 such as 0.999")
    return AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether `device` gains from bfloat16.

    CPUs without matrix tiles do not: with AVX-512 instructions for bfloat16 alone, small networks trained at 0.95 to
    1.2 times the speed of float32, and elsewhere it is emulated.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_amx_tile_supported()
    return False


def precision_on(device: torch.device, asked: Literal["fast", "fp32", "bf16"]) -> Literal["fp32", "bf16"]:
    """Return what to compute in: "fast" is bf16 where that is faster."""
    if asked == "fast":
        return "bf16" if computes_in_bf16(device) else "fp32"
    return asked
