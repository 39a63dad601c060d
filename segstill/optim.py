"""The optimizer, its schedule and the averaged student."""

from collections.abc import Collection
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
    undecayed: Collection[nn.Parameter] = (),
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
        weight_decay: on all parameters but `undecayed`.
        undecayed: some of the parameters.

    Raises:
        ValueError: nothing to train.
    """
    left = {id(parameter) for parameter in undecayed}
    groups = [
        {"params": [p for p in part if (id(p) in left) is spared], "lr": rate, "base_lr": rate}
        | ({"weight_decay": 0.0} if spared else {})
        for part, rate in ((encoder, lr), (others, lr * head_lr_factor))
        for spared in (False, True)
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("there is nothing to train: every parameter is frozen")
    if name == "adamw":
        return AdamW(groups, weight_decay=weight_decay)
    return SGD(groups, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def norms_and_biases(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that transformers are trained without weight decay on: vectors, and biases of positions."""
    return [
        parameter
        for name, parameter in module.named_parameters()
        if parameter.ndim < 2 or "position_bias" in name or "pos_embed" in name
    ]


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
