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
        labelled=32,
        unlabelled_ratio=1.0,
        crop=(96, 128),
        scale=(0.75, 1.5),
        workers=0,
        args={"count": 512},
    ),
    student=ModelSpec(name="tiny", args={"width": 8}),
    epochs=100,
    batch_size=8,
    lr=0.05,
    head_lr_factor=1.0,
    weight_decay=1e-4,
    nesterov=True,
    clip=5.0,
    evaluate_every=50,
)


def demo_teacher() -> Recipe:
    """A wider network that has seen the labels of every training scene."""
    return replace(
        STUDENT,
        name="demo_teacher",
        data=replace(STUDENT.data, labelled=None),
        student=ModelSpec(name="tiny", args={"width": 32}),
        epochs=6,
    )


def demo_student() -> Recipe:
    """A small network that has seen 32 labelled scenes."""
    return STUDENT


def demo_kd() -> Recipe:
    """The same small network and labels, with pixel-wise distillation on labelled and unlabelled scenes."""
    return distilled(STUDENT, "kd")


def demo_aicsd() -> Recipe:
    """The same with AICSD."""
    return distilled(STUDENT, "aicsd")


def demo_attnfd() -> Recipe:
    """The same with AttnFD."""
    return distilled(STUDENT, "attnfd")
