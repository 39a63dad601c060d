"""The demo: drawn scenes, few of them labelled, many not; minutes on two cores and nothing to download.

segstill demo
"""

from dataclasses import replace

from ..recipe import DataSpec, ModelSpec, Recipe
from .methods import distilled

STUDENT = Recipe(
    name="demo_student",
    data=DataSpec(
        name="scenes",
        labelled=12,
        crop=(64, 96),
        scale=(0.75, 1.5),
        workers=0,
        args={"count": 256, "size": (64, 96)},
    ),
    student=ModelSpec(name="tiny", args={"width": 8}),
    epochs=150,
    batch_size=6,
    optimizer="adamw",
    lr=0.004,
    head_lr_factor=1.0,
    weight_decay=0.01,
    evaluate_every=50,
)
TAPS = ("encoder_pre", "decoder")


def demo_teacher() -> Recipe:
    """A network of twice the width that has seen the labels of all 256 scenes."""
    return replace(
        STUDENT,
        name="demo_teacher",
        data=replace(STUDENT.data, labelled=None),
        student=ModelSpec(name="tiny", args={"width": 16}),
        epochs=12,
        batch_size=8,
        evaluate_every=4,
    )


def demo_student() -> Recipe:
    """A small network that has seen 12 labelled scenes."""
    return STUDENT


def demo_kd() -> Recipe:
    """The same small network and labels, with pixel-wise distillation on labelled and unlabelled scenes."""
    return distilled(STUDENT, "kd")


def demo_aicsd() -> Recipe:
    """The same with AICSD."""
    return distilled(STUDENT, "aicsd")


def demo_attnfd() -> Recipe:
    """The same with AttnFD."""
    return distilled(STUDENT, "attnfd", taps=TAPS)
