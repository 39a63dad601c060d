"""What a network costs (parameters, multiply-adds, time for one image), and what a step of its training takes."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .build import build_learner, build_model, build_optimizer, build_training_data, load_teacher
from .data import training_loader
from .evaluate import find_devices
from .optim import computes_in_bf16
from .recipe import Recipe


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


def measure_step(recipe: Recipe, *, steps: int = 12) -> float:
    """Return the seconds of one training step, loading included: the median of `steps`, after four to warm up."""
    device = find_devices().device
    labelled, unlabelled = build_training_data(recipe.data)
    student = build_model(recipe.student, len(labelled.classes), say=lambda sentence: None)
    teacher = load_teacher(recipe, labelled.classes, say=lambda sentence: None)
    learner = build_learner(student, recipe.terms, teacher, pairs=recipe.pairs).to(device).train()
    optimizer = build_optimizer(recipe, learner)
    loader = training_loader(
        labelled,
        unlabelled if learner.teacher else None,
        recipe.data,
        batch_size=recipe.batch_size,
        steps=steps + 4,
        seed=recipe.seed,
    )
    half = recipe.precision == "bf16" or (recipe.precision == "fast" and computes_in_bf16(device))
    seconds, began = [], time.perf_counter()
    for batch in loader:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            losses = learner({name: value.to(device) for name, value in batch.items()}, progress=0.5)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(seconds[4:])
