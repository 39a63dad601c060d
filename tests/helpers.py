"""Recipes small enough to run in a second."""

import dataclasses
from typing import Any

from segstill.recipe import DataSpec, ModelSpec, Recipe, TermSpec

TAPS = ("encoder", "decoder")
TERMS = {
    "cross_entropy": {"cross_entropy": TermSpec()},
    "kd": {"cross_entropy": TermSpec(), "pixel_kd": TermSpec()},
    "aicsd": {
        "cross_entropy": TermSpec(ramp="up"),
        "icsd": TermSpec(ramp="up"),
        "pixel_kd": TermSpec(ramp="down"),
    },
    "attnfd": {"cross_entropy": TermSpec(), "attnfd": TermSpec(weight=2.0, args={"taps": TAPS})},
}


def small_recipe(method: str = "cross_entropy", *, workers: int = 0, **changes: Any) -> Recipe:
    """A tiny network on eight drawn scenes, three steps per epoch, nothing that depends on batch statistics."""
    data = DataSpec(
        name="scenes",
        labelled=6,
        crop=(32, 48),
        scale=(0.75, 1.5),
        workers=workers,
        args={"count": 8, "size": (32, 48)},
    )
    recipe = Recipe(
        name=f"small_{method}",
        data=data,
        student=ModelSpec(name="tiny", args={"width": 4, "norm": "group"}),
        terms=TERMS[method],
        epochs=2,
        batch_size=2,
        lr=0.05,
        head_lr_factor=1.0,
        precision="fp32",
    )
    return dataclasses.replace(recipe, **changes)
