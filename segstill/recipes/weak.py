"""Weak supervision: SWTformer V1 and V2 learn from image-level labels; `*_pseudo` learns from the masks they lead to.

    segstill train voc_weak_v2 --data.root DIR
    segstill seeds runs/voc_weak_v2 --out masks
    segstill train voc_pseudo --data.root DIR --data.masks masks

`*_affinity` learns from masks that leave uncertain pixels open, on the encoder of the classifier that made them, which
neighbours belong together; `segstill seeds RUN --refine random-walk --affinity RUN` then walks along that.

After Ahmadi and Kasaei, SWTformer (2024), arXiv:2401.17828.  Its text gives neither learning rate nor epochs nor the
weights of the losses: those here are ours (docs/methods.md).  V2 starts with the classification loss alone, because
seeds of an untrained classifier are noise.
"""

from collections.abc import Callable
from dataclasses import replace

from ..recipe import DataSpec, ModelSpec, Recipe, TermSpec
from .camvid import SMALL_TEACHER

V1 = {"tags": TermSpec()}
V2 = {"tags": TermSpec(), "gsc": TermSpec(start=0.2), "ccl": TermSpec(weight=0.1, start=0.2)}
SMALL_V2 = {"version": 2, "stages": (1, 2, 3), "project": False}
"""On MobileNetV2: the first three stages as they are.  The deepest, of which the class maps are made, adds nothing."""
SMALL_TERMS = {"tags": TermSpec(), "gsc": TermSpec(start=0.2, args={"background_factor": 1.0})}
"""Without side convolutions, the contrast has nothing to train."""
V2_SCENES = {"tags": TermSpec(), "gsc": TermSpec(start=0.75), "ccl": TermSpec(weight=0.1, start=0.75)}
"""From random weights: on maps that show nothing yet, consistency settles on the surroundings (docs/log.md)."""


def _usual(spec: ModelSpec) -> ModelSpec:
    """Return the network with the ImageNet weights that are downloaded, and their normalisation."""
    return ModelSpec(name=spec.name, weights="imagenet", args=spec.args)


VOC = Recipe(
    name="voc_weak_v1",
    data=DataSpec(
        name="voc", crop=(448, 448), scale=(0.7, 1.4), photometric=0.5, workers=4, args={"train": "trainaug"}
    ),
    student=ModelSpec(name="swtformer", weights="imagenet", args={"version": 1}),
    terms=V1,
    epochs=15,
    batch_size=16,
    optimizer="adamw",
    lr=5e-5,
    weight_decay=0.05,
    decay_norms=False,
    clip=1.0,
)
FOLDER = replace(VOC, name="folder_weak_v1", data=replace(VOC.data, name="folder", longest_side=640, args={}))
"""Photographs have twelve million pixels; crops of those would rarely show what the tags name."""
VOC_SMALL = replace(
    VOC,
    name="voc_small_weak_v1",
    data=replace(VOC.data, crop=(320, 320), scale=(0.8, 1.6), workers=1, args={"train": "train_weak"}),
    student=ModelSpec(
        name="swtformer",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        args={"version": 1, "encoder": "mobilenet_v2", "output_stride": 16, "head_kernel": 1},
    ),
    epochs=5,
    lr=1e-4,
    head_lr_factor=20.0,
    weight_decay=0.01,
    decay_norms=True,
)
MSRC_SMALL = replace(
    VOC_SMALL,
    name="msrc21_small_weak_v1",
    data=replace(VOC_SMALL.data, name="msrc21", crop=(256, 256), args={}),
    epochs=15,
)
FOLDER_SMALL = replace(
    MSRC_SMALL,
    name="folder_small_weak_v1",
    data=replace(VOC_SMALL.data, name="folder", longest_side=320, crop=(256, 256), scale=(0.75, 1.5), args={}),
    student=_usual(VOC_SMALL.student),
)
SCENES = replace(
    VOC,
    name="demo_weak_v1",
    data=DataSpec(
        name="scenes",
        crop=(64, 96),
        scale=(1.0, 1.0),
        workers=0,
        args={"count": 1024, "size": (64, 96), "kinds": (1, 2)},
    ),
    student=ModelSpec(
        name="swtformer",
        args={
            "version": 1,
            "encoder": "tu-swin_tiny_patch4_window7_224",
            "embed_dim": 24,
            "depths": (1, 1, 1, 1),
            "num_heads": (1, 2, 4, 8),
            "patch_size": 2,
            "window_size": 4,
            "head_kernel": 1,
            "pooling": "top_k",
            "fused_channels": (24, 48, 96, 96),
        },
    ),
    epochs=8,
    lr=2e-3,
    head_lr_factor=1.0,
    evaluate_every=2,
)
VOC_PSEUDO = replace(
    VOC,
    name="voc_pseudo",
    data=replace(VOC.data, crop=(513, 513), scale=(0.5, 2.0)),
    student=ModelSpec(name="deeplabv3plus", weights="imagenet", args={"encoder": "resnet101"}),
    terms={"cross_entropy": TermSpec()},
    epochs=30,
    batch_size=8,
    optimizer="sgd",
    lr=0.001,
    weight_decay=5e-4,
    nesterov=True,
    decay_norms=True,
    clip=None,
)
FOLDER_PSEUDO = replace(
    VOC_PSEUDO, name="folder_pseudo", data=replace(VOC_PSEUDO.data, name="folder", longest_side=640, args={})
)
VOC_SMALL_PSEUDO = replace(
    VOC_SMALL,
    name="voc_small_pseudo",
    data=replace(VOC_SMALL.data, short_side=337, crop=(321, 321), scale=(0.75, 1.5), photometric=0.0),
    student=replace(VOC_SMALL.student, name="deeplabv3_mobilenet", args={}),
    terms={"cross_entropy": TermSpec()},
    epochs=8,
    batch_size=8,
    lr=2e-4,
    head_lr_factor=10.0,
    clip=None,
    evaluate_every=4,
)
FOLDER_AFFINITY = replace(
    FOLDER,
    name="folder_affinity",
    student=ModelSpec(name="affinity"),
    terms={"affinity": TermSpec()},
    epochs=8,
    batch_size=8,
    lr=1e-4,
)
VOC_SMALL_AFFINITY = replace(
    VOC_SMALL,
    name="voc_small_affinity",
    student=replace(VOC_SMALL.student, name="affinity", args={"encoder": "mobilenet_v2", "output_stride": 16}),
    terms={"affinity": TermSpec()},
    epochs=3,
    batch_size=8,
)
FOLDER_SMALL_PSEUDO = replace(
    VOC_SMALL_PSEUDO,
    name="folder_small_pseudo",
    data=replace(FOLDER_SMALL.data, photometric=0.0),
    student=ModelSpec(name="smp", weights="imagenet", args=SMALL_TEACHER),
    epochs=30,
)
FOLDER_SMALL_AFFINITY = replace(
    VOC_SMALL_AFFINITY,
    name="folder_small_affinity",
    data=FOLDER_SMALL.data,
    student=replace(_usual(VOC_SMALL_AFFINITY.student), weights=None),
    epochs=10,
)
ABOUT = {
    "voc": "VOC 2012 with the images of trainaug",
    "folder": "your own images, whose tags are in tags.csv or in a folder per class",
    "folder_small": "your own images with tags, MobileNetV2 in place of Swin, on a CPU",
    "voc_small": "a part of VOC, MobileNetV2 in place of Swin, on a CPU",
    "msrc21_small": "MSRC-21, its 15 kinds of objects on background, MobileNetV2 in place of Swin, on a CPU",
    "demo": "drawn scenes, a small Swin transformer from scratch",
}
NAMED = "--data.root DIR --data.classes background NAME ..."
FLAGS = "--data.root DIR --student.weights mobilenet_v2_1.0_imagenet.pth"


def _recipes() -> dict[str, Callable[[], Recipe]]:
    made = []
    flags = {
        "voc": "--data.root DIR",
        "folder": NAMED,
        "folder_small": NAMED,
        "voc_small": FLAGS,
        "msrc21_small": FLAGS,
    }
    for first in (VOC, FOLDER, FOLDER_SMALL, VOC_SMALL, MSRC_SMALL, SCENES):
        small = first.student.args.get("encoder") == "mobilenet_v2"
        second = replace(
            first,
            name=first.name.replace("_v1", "_v2"),
            student=replace(first.student, args=first.student.args | (SMALL_V2 if small else {"version": 2})),
            terms=SMALL_TERMS if small else V2_SCENES if first is SCENES else V2,
        )
        made += [(first, "SWTformer-V1"), (second, "SWTformer-V2")]
    msrc_pseudo = replace(
        VOC_SMALL_PSEUDO,
        name="msrc21_small_pseudo",
        data=replace(VOC_SMALL_PSEUDO.data, name="msrc21", short_side=257, crop=(257, 257), args={}),
        epochs=20,
    )
    made += [
        (pseudo, "a network on generated masks")
        for pseudo in (VOC_PSEUDO, FOLDER_PSEUDO, FOLDER_SMALL_PSEUDO, VOC_SMALL_PSEUDO, msrc_pseudo)
    ]
    msrc_affinity = replace(
        VOC_SMALL_AFFINITY, name="msrc21_small_affinity", data=replace(VOC_SMALL_AFFINITY.data, name="msrc21", args={})
    )
    made += [
        (each, "which neighbouring cells belong together")
        for each in (FOLDER_AFFINITY, FOLDER_SMALL_AFFINITY, VOC_SMALL_AFFINITY, msrc_affinity)
    ]
    return {recipe.name: _make(recipe, what, flags) for recipe, what in made}


def _make(recipe: Recipe, what: str, flags: dict[str, str]) -> Callable[[], Recipe]:
    data = recipe.name.partition("_weak")[0].removesuffix("_pseudo").removesuffix("_affinity")
    command = ["segstill train", recipe.name, flags.get(data, "")]
    if recipe.name.endswith("_affinity"):
        command[-1] = f"{command[-1].partition(' --student')[0]} --student.weights RUN/last.safetensors"
    if recipe.name.endswith(("_pseudo", "_affinity")):
        command.append("--data.masks DIR")

    def make() -> Recipe:
        return recipe

    make.__doc__ = (
        f"{what}: {ABOUT[data]}.\n\n    {' '.join(part for part in command if part)}\n\n"
        "Published: of SWTformer only gains are known (docs/methods.md).\nOurs: docs/results.md."
    )
    make.__name__ = recipe.name
    return make


WEAK = _recipes()
"""SWTformer V1 and V2 and the networks that learn from their masks, by name."""
