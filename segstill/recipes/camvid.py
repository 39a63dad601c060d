"""CamVid: 367 / 101 / 233 street scenes of 480 x 360 with 11 classes.

The full-size recipes are DeepLabV3+ as AICSD and AttnFD use it (ResNet-101 teaches ResNet-18).  The small ones run on a
CPU: images of 256 x 192, DeepLabV3+ with separable convolutions on MobileNetV2 with ImageNet weights; the teacher has
3.21 M parameters, the student keeps the encoder's first fourteen blocks (stride 16) and 64 channels in the decoder.
docs/results.md has what they reached.
"""

from dataclasses import replace

from ..recipe import DataSpec, ModelSpec, Recipe
from .family import Family

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
            "encoder_depth": 4,
            "encoder_output_stride": 16,
            "decoder_channels": 64,
        },
    ),
    epochs=30,
    batch_size=4,
    optimizer="adamw",
    lr=0.002,
    head_lr_factor=1.0,
    weight_decay=0.01,
    evaluate_every=15,
)
SMALL_TEACHER = {"architecture": "DeepLabV3Plus", "encoder": "mobilenet_v2", "decoder_channels": 128}

CAMVID = Family(
    student=FULL,
    teacher=replace(FULL, name="camvid_teacher", student=replace(FULL.student, args={"encoder": "resnet101"})),
    about="DeepLabV3+ ResNet-101 into ResNet-18 on CamVid, 480 x 360",
    ours="not run: needs a GPU.",
    hours="about 0.4 GPU hours at 10 TFLOP/s, estimated from multiply-adds.",
)
CAMVID_SMALL = Family(
    student=SMALL,
    teacher=replace(
        SMALL,
        name="camvid_small_teacher",
        student=replace(SMALL.student, args=SMALL_TEACHER),
        epochs=80,
        batch_size=8,
        lr=0.001,
        head_lr_factor=2.0,
        evaluate_every=10,
    ),
    about="DeepLabV3+ MobileNetV2, 3.21 M parameters, into its first fourteen blocks, 0.61 M, on CamVid, 256 x 192",
    flags="--data.root DIR --student.weights mobilenet_v2_1.0_imagenet.pth",
    ours="docs/results.md.",
    hours="7 to 12 minutes on one quiet CPU core; the teacher took 47 on two.",
)
