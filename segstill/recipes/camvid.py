"""CamVid: 367 / 101 / 233 street scenes of 480 x 360 with 11 classes.

    segstill train camvid_small_teacher --data.root DIR --student.weights mobilenet_v2_1.0_imagenet.pth
    segstill train camvid_small_aicsd --data.root DIR --teacher runs/camvid_small_teacher

The full-size recipes are DeepLabV3+ as AICSD and AttnFD use it (ResNet-101 teaches ResNet-18).  The small ones run on a
CPU: images of 256 x 192, DeepLabV3+ with separable convolutions on MobileNetV2 with ImageNet weights; the teacher has
3.21 M parameters, the student keeps the encoder's first seven blocks (stride 8) and 48 channels in the decoder.
docs/results.md has what they reached.
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
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        args={
            "architecture": "DeepLabV3Plus",
            "encoder": "mobilenet_v2",
            "encoder_depth": 3,
            "encoder_output_stride": 8,
            "decoder_channels": 48,
        },
    ),
    epochs=8,
    batch_size=4,
    optimizer="adamw",
    lr=0.002,
    head_lr_factor=1.0,
    weight_decay=0.01,
    evaluate_every=4,
)
SMALL_TAPS = ("stage2", "aspp", "decoder")
"""The student's encoder ends at stage 2."""


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
    """DeepLabV3+ MobileNetV2, 256 x 192; pass ImageNet weights as --student.weights FILE."""
    return replace(
        SMALL,
        name="camvid_small_teacher",
        data=replace(SMALL.data, crop=(192, 256)),
        student=replace(
            SMALL.student,
            args={"architecture": "DeepLabV3Plus", "encoder": "mobilenet_v2", "decoder_channels": 128},
        ),
        lr=0.001,
        head_lr_factor=2.0,
    )


def camvid_small_student() -> Recipe:
    """The small student alone, 256 x 192; pass ImageNet weights as --student.weights FILE."""
    return SMALL


def camvid_small_kd() -> Recipe:
    """Pixel-wise distillation into the small student; pass --teacher RUN and --student.weights FILE."""
    return distilled(SMALL, "kd")


def camvid_small_aicsd() -> Recipe:
    """AICSD into the small student; pass --teacher RUN and --student.weights FILE."""
    return distilled(SMALL, "aicsd")


def camvid_small_attnfd() -> Recipe:
    """AttnFD into the small student; pass --teacher RUN and --student.weights FILE."""
    return distilled(SMALL, "attnfd", taps=SMALL_TAPS)
