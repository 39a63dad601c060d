"""What a network costs (parameters, multiply-adds, time for one image), and what a step of its training takes."""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.flop_counter import FlopCounterMode

from .build import build_learner, build_model, build_optimizer, build_training_data, load_teacher
from .data import open_tagged, training_loader
from .evaluate import find_devices
from .models import CLASSIFIERS
from .models.segmenter import Segmenter
from .optim import averaged, precision_on
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


def measure_step(recipe: Recipe, *, steps: int = 12, warm: int | None = None) -> float:
    """Return the seconds of one training step: the mean of `steps`, loading included, after some to warm up.

    Args:
        recipe: of masks or of tags.
        steps: how many are timed.
        warm: how many are not; without it, as many as are past what the workers read ahead, or loading would not count.
    """
    warm = 4 + 4 * recipe.data.workers if warm is None else warm
    if recipe.student.name in CLASSIFIERS:
        labelled, unlabelled = open_tagged(recipe.data, "train"), None
    else:
        labelled, unlabelled = build_training_data(recipe.data, say=_silent)
    student = build_model(recipe.student, len(labelled.classes), say=_silent)
    teacher = load_teacher(recipe, labelled.classes, say=_silent)
    loader = training_loader(
        labelled,
        unlabelled if teacher else None,
        recipe.data,
        batch_size=recipe.batch_size,
        steps=warm + steps,
        seed=recipe.seed,
    )
    return statistics.mean(_steps(recipe, student, teacher, loader)[warm:])


def estimate_step(recipe: Recipe, classes: int, teacher: Segmenter | None = None, *, steps: int = 2) -> float:
    """Return about how many seconds one training step takes, before its data, weights or teacher are there.

    The student has random weights and images are noise; loading is not counted.  On a CPU, where time grows with the
    images, two at a time are timed.

    Args:
        recipe: of masks.
        classes: K.
        teacher: as it is or will be built; its weights do not matter.
        steps: how many are timed, after one to warm up.
    """
    student = build_model(dataclasses.replace(recipe.student, weights=None), classes, say=_silent)
    count = recipe.batch_size if find_devices().device.type == "cuda" else min(2, recipe.batch_size)
    height, width = recipe.data.crop
    batch = {
        "image": torch.randint(256, (count, 3, height, width), dtype=torch.uint8),
        "mask": torch.randint(classes, (count, height, width)),
    }
    seconds = _steps(recipe, student, teacher, itertools.repeat(batch, steps + 1))
    return statistics.mean(seconds[1:]) * recipe.batch_size / count


def _silent(sentence: str) -> None:
    """Tell nobody."""


def _steps(
    recipe: Recipe, student: Segmenter, teacher: Segmenter | None, batches: Iterable[dict[str, Any]]
) -> list[float]:
    """Return the seconds of each step, loading included."""
    device = find_devices().device
    learner = build_learner(student, recipe.terms, teacher, pairs=recipe.pairs).to(device).train()
    if recipe.channels_last:
        learner.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (a keyword-only overload)
    ema = averaged(student, recipe.ema) if recipe.ema else None
    optimizer = build_optimizer(recipe, learner)
    half = precision_on(device, recipe.precision) == "bf16"
    seconds, began = [], time.perf_counter()
    for batch in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            losses = learner({name: value.to(device) for name, value in batch.items()}, progress=0.5)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        clip_grad_norm_(learner.parameters(), recipe.clip or math.inf)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if ema:
            ema.update_parameters(student)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return seconds
