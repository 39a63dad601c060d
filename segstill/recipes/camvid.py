"""CamVid: 367 / 101 / 233 street scenes of 480 x 360 with 11 classes.

    segstill train camvid_small_teacher --data.root DIR --student.weights mobilenet_v2_1.0_imagenet.pth
    segstill train camvid_small_aicsd --data.root DIR --teacher runs/camvid_small_teacher

The full-size recipes are DeepLabV3+ as AICSD and AttnFD use it (ResNet-101 teaches ResNet-18).  The small ones run on a
CPU: images of 256 x 192, DeepLabV3+ with separable convolutions, MobileNetV2 teaches a MobileNetV2 of width 0.35 that
starts from random weights.  docs/results.md has what they reached.
"""

from dataclasses import replace

from ..recipe import DataSpec, ModelSpec, Recipe
from .methods import distilled

FULL = Recipe(
    name="camvid_student",
    data=DataSpec(name="camvid", crop=(360, 480), workers=4),
    student=ModelSpec(name="deeplabv3plus", weights="imagenet", args={"encoder": "resnet18"}),
    epochs=120,
    batch_size=8,
    lr=0.01,
    nesterov=True,
    evaluate_every=5,
)
SMALL = Recipe(
    name="camvid_small_student",
    data=DataSpec(name="camvid", longest_side=256, crop=(144, 192), workers=1),
    student=ModelSpec(
        name="smp",
        args={"architecture": "DeepLabV3Plus", "encoder": "tu-mobilenetv2_035", "decoder_channels": 64},
    ),
    epochs=20,
    batch_size=4,
    lr=0.03,
    head_lr_factor=1.0,
    nesterov=True,
    weight_decay=1e-4,
    clip=5.0,
    evaluate_every=5,
)


def camvid_teacher() -> Recipe:
    """DeepLabV3+ ResNet-101, full size."""
    student = replace(FULL.student, args={"encoder": "resnet101"})
    return replace(FULL, name="camvid_teacher", student=student)


def camvid_student() -> Recipe:
    """DeepLabV3+ ResNet-18 alone: the row that every method is compared with."""
    return FULL


def camvid_kd() -> Recipe:
    """Pixel-wise distillation into DeepLabV3+ ResNet-18."""
    return distilled(FULL, "kd")


def camvid_aicsd() -> Recipe:
    """AICSD into DeepLabV3+ ResNet-18."""
    return distilled(FULL, "aicsd")


def camvid_attnfd() -> Recipe:
    """AttnFD into DeepLabV3+ ResNet-18."""
    return distilled(FULL, "attnfd")


def camvid_small_teacher() -> Recipe:
    """DeepLabV3+ MobileNetV2 with ImageNet weights (--student.weights FILE), 256 x 192."""
    return replace(
        SMALL,
        name="camvid_small_teacher",
        student=ModelSpec(
            name="smp",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            args={"architecture": "DeepLabV3Plus", "encoder": "mobilenet_v2", "decoder_channels": 128},
        ),
        data=replace(SMALL.data, crop=(192, 256)),
        epochs=12,
        batch_size=8,
        lr=0.01,
        head_lr_factor=10.0,
    )


def camvid_small_student() -> Recipe:
    """MobileNetV2-0.35 from random weights, alone, 256 x 192."""
    return SMALL


def camvid_small_kd() -> Recipe:
    """Pixel-wise distillation into MobileNetV2-0.35, 256 x 192."""
    return distilled(SMALL, "kd")


def camvid_small_aicsd() -> Recipe:
    """AICSD into MobileNetV2-0.35, 256 x 192."""
    return distilled(SMALL, "aicsd")


def camvid_small_attnfd() -> Recipe:
    """AttnFD into MobileNetV2-0.35, 256 x 192."""
    return distilled(SMALL, "attnfd")
