"""Losses, features and batches for the tests that every loss must pass."""

import inspect

import pytest
import torch

from segstill.losses import LOSSES

N, K, H, W = 2, 5, 12, 10
# student, teacher channels, h, w
TAPS = {"encoder": (6, 8, 6, 5), "encoder_pre": (6, 8, 6, 5), "aspp": (4, 4, 6, 5), "decoder": (3, 4, 12, 10)}
PUBLISHED = {"attnfd": {"teacher_attention": "random"}}  # what else makes a loss that of its published code
FORMS = [("cwd", {"activation": "sigmoid"})]  # further forms of one loss
OF_CLASSIFIERS = ("tags", "gsc", "ccl")
"""They read scores of whole images, class maps and tags, and no teacher: test_classifiers.py asks the same of them."""
OF_PAIRS = ("affinity",)
"""They read a feature of their own and masks, and no teacher: see test_affinity.py."""
OF_MAPS = {name: loss for name, loss in LOSSES.items() if name not in (*OF_CLASSIFIERS, *OF_PAIRS)}
VARIANTS = [
    *((name, {}) for name in OF_MAPS),
    *FORMS,
    *(
        (name, {"variant": "published", **PUBLISHED.get(name, {})})
        for name, loss in OF_MAPS.items()
        if "variant" in inspect.signature(loss).parameters
    ),
]
STEADY = {  # without chance, and for maps and channels as small as these
    "mgd": {"erased": 0.0},
    "afdcd": {"taps": ("aspp",), "erased": 0.0, "groups": 2, "patch": 2, "pool": 2},
    "cirkd_minibatch": {"pool": 1},
    "cirkd_memory": {"pool": 1, "update": 1000},
}
MASKED = [(name, args) for name, args in VARIANTS if args.get("variant") != "published"]


def label(value):
    return value if isinstance(value, str) else "-".join(value.values()) or "paper"


every_variant = pytest.mark.parametrize(("name", "args"), VARIANTS, ids=label)
every_masked_variant = pytest.mark.parametrize(("name", "args"), MASKED, ids=label)


def every_masked_variant_but(reasons):
    """Every masked variant; those named in `reasons` must fail, each for the reason that its docstring gives."""
    marks = {
        name: pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason) for name, reason in reasons.items()
    }
    params = [pytest.param(name, args, marks=marks.get(name, ())) for name, args in MASKED]
    return pytest.mark.parametrize(("name", "args"), params, ids=label)


def build(name, args, classes=K, seed=0):
    torch.manual_seed(seed)
    channels = {tap: (s, t) for tap, (s, t, _, _) in TAPS.items()} | {"logits": (classes, classes)}
    return LOSSES[name](channels, **STEADY.get(name, {}), **args)


def features(side, seed, images=N, classes=K, size=(H, W)):
    g = torch.Generator().manual_seed(seed)
    maps = {tap: torch.randn(images, shape[side], *shape[2:], generator=g) for tap, shape in TAPS.items()}
    maps["logits"] = 2 * torch.randn(images, classes, *size, generator=g)
    return {tap: value.requires_grad_() for tap, value in maps.items()}


def batch(images=N, classes=K, size=(H, W)):
    g = torch.Generator().manual_seed(1)
    return {"image": torch.zeros(images, 3, *size), "mask": torch.randint(classes, (images, *size), generator=g)}


def ignore_a_block(data):
    """The upper left quarter is void; every feature size here divides the image size, so whole cells are."""
    data["mask"][:, : H // 2, : W // 2 - 1] = 255
    return data


def detached(maps):
    return {tap: value.detach().clone() for tap, value in maps.items()}


def double(maps):
    return {tap: value.detach().double().requires_grad_() for tap, value in maps.items()}
