"""Cityscapes, 19 classes, in two protocols.

`cityscapes_r18_*` and `cityscapes_mbv2_*` are those of AICSD and AttnFD: as for VOC (see `voc.py`), with images shrunk
to a short side of 513, a rate of 0.01 and 200 epochs.  Scores at that size do not compare with those at 1024 x 2048.

`cityscapes_cirkd_*` is that of CIRKD (Yang et al., CVPR 2022, arXiv:2204.06986): DeepLabV3 with output stride 8, crops
of 512 x 1024, 40,000 steps of 16 images, SGD at 0.02, weight decay 1e-4.
"""

from dataclasses import replace

from ..recipe import DataSpec, ModelSpec, Recipe
from .family import Family
from .voc import R18 as VOC_R18

NOT_RUN = "not run: needs Cityscapes and a GPU."
STEPS, BATCH, IMAGES = 40_000, 16, 2975
R18 = replace(
    VOC_R18,
    name="cityscapes_r18_student",
    data=DataSpec(name="cityscapes", short_side=513, crop=(513, 513), workers=4),
    epochs=200,
    lr=0.01 / 6,
)
MBV2 = replace(R18, name="cityscapes_mbv2_student", student=replace(R18.student, args={"encoder": "mobilenet_v2"}))
TEACHER = replace(R18, name="cityscapes_teacher", student=replace(R18.student, args={"encoder": "resnet101"}))
CIRKD = Recipe(
    name="cityscapes_cirkd_r18_student",
    data=DataSpec(name="cityscapes", crop=(512, 1024), workers=8),
    student=ModelSpec(name="smp", weights="imagenet", args={"architecture": "DeepLabV3", "encoder": "resnet18"}),
    epochs=round(STEPS * BATCH / IMAGES),
    batch_size=BATCH,
    lr=0.02,
    head_lr_factor=1.0,
    weight_decay=1e-4,
    evaluate_every=20,
)
CIRKD_TEACHER = replace(
    CIRKD,
    name="cityscapes_cirkd_teacher",
    student=replace(CIRKD.student, args=CIRKD.student.args | {"encoder": "resnet101"}),
    batch_size=8,  # 80,000 steps: as many epochs
)
CIRKD_MBV2 = replace(
    CIRKD,
    name="cityscapes_cirkd_mbv2_student",
    student=replace(CIRKD.student, args=CIRKD.student.args | {"encoder": "mobilenet_v2"}),
)

CITYSCAPES_R18 = Family(
    student=R18,
    teacher=TEACHER,
    about="DeepLabV3+ ResNet-101 into ResNet-18 on Cityscapes, 513 x 1026",
    ours=NOT_RUN,
    hours="about 7 GPU hours at 10 TFLOP/s, estimated from multiply-adds.",
)
CITYSCAPES_MBV2 = CITYSCAPES_R18._replace(
    student=MBV2,
    about="DeepLabV3+ ResNet-101 into MobileNetV2 on Cityscapes, 513 x 1026",
    hours="about 6 GPU hours at 10 TFLOP/s, estimated from multiply-adds.",
)
CITYSCAPES_CIRKD_R18 = Family(
    student=CIRKD,
    teacher=CIRKD_TEACHER,
    about="DeepLabV3 ResNet-101 into ResNet-18 on Cityscapes, crops of 512 x 1024",
    ours=NOT_RUN,
    hours="some 30 GPU hours at 10 TFLOP/s, estimated from multiply-adds.",
)
CITYSCAPES_CIRKD_MBV2 = CITYSCAPES_CIRKD_R18._replace(
    student=CIRKD_MBV2, about="DeepLabV3 ResNet-101 into MobileNetV2 on Cityscapes, crops of 512 x 1024"
)
