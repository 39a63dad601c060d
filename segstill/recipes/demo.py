"""The demo: drawn scenes, few of them labelled, many not; minutes on two cores and nothing to download.

segstill demo
"""

from dataclasses import replace

from ..recipe import DataSpec, ModelSpec, Recipe
from .family import Family

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

DEMO = Family(
    student=STUDENT,
    teacher=replace(
        STUDENT,
        name="demo_teacher",
        data=replace(STUDENT.data, labelled=None),
        student=ModelSpec(name="tiny", args={"width": 16}),
        epochs=12,
        batch_size=8,
        evaluate_every=4,
    ),
    about="A small network that has seen 12 labelled scenes, under one of twice the width that has seen all 256",
    flags="",
    ours="docs/results.md, some of them.",
    hours="half a minute on two CPU cores.",
    taps=("encoder_pre", "decoder"),
)
