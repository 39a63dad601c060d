"""Losses, features and batches for the tests that every loss must pass."""

import pytest
import torch

from segstill.losses import LOSSES

N, K, H, W = 2, 5, 12, 10
# student, teacher channels, h, w
TAPS = {"encoder": (6, 8, 6, 5), "encoder_pre": (6, 8, 6, 5), "aspp": (4, 4, 6, 5), "decoder": (3, 4, 12, 10)}
VARIANTS = [(name, {}) for name in LOSSES] + [
    ("pixel_kd", {"variant": "published"}),
    ("icsd", {"variant": "published"}),
    ("attnfd", {"variant": "published", "teacher_attention": "random"}),
]
MASKED = [(name, args) for name, args in VARIANTS if args.get("variant") != "published"]


def label(value):
    return value if isinstance(value, str) else "-".join(value.values()) or "paper"


every_variant = pytest.mark.parametrize(("name", "args"), VARIANTS, ids=label)
every_masked_variant = pytest.mark.parametrize(("name", "args"), MASKED, ids=label)


def build(name, args, classes=K, seed=0):
    torch.manual_seed(seed)
    channels = {tap: (s, t) for tap, (s, t, _, _) in TAPS.items()} | {"logits": (classes, classes)}
    return LOSSES[name](channels, **args)


def features(side, seed, images=N, classes=K, size=(H, W)):
    g = torch.Generator().manual_seed(seed)
    maps = {tap: torch.randn(images, shape[side], *shape[2:], generator=g) for tap, shape in TAPS.items()}
    maps["logits"] = 2 * torch.randn(images, classes, *size, generator=g)
    return {tap: value.requires_grad_() for tap, value in maps.items()}


def batch(images=N, classes=K, size=(H, W)):
    g = torch.Generator().manual_seed(1)
    return {"image": torch.zeros(images, 3, *size), "mask": torch.randint(classes, (images, *size), generator=g)}


def detached(maps):
    return {tap: value.detach().clone() for tap, value in maps.items()}


def double(maps):
    return {tap: value.detach().double().requires_grad_() for tap, value in maps.items()}
