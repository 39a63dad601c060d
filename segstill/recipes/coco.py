"""COCO 2017 with the 21 classes of VOC, as AttnFD trains on it: as VOC (see `voc.py`), at a rate of 0.1, 30 epochs."""

from dataclasses import replace

from ..recipe import DataSpec
from .family import Family
from .voc import R18 as VOC_R18

R18 = replace(
    VOC_R18,
    name="coco_r18_student",
    data=DataSpec(name="coco", short_side=513, crop=(513, 513), workers=8),
    epochs=30,
    lr=0.1 / 6,
    evaluate_every=2,
)
MBV2 = replace(R18, name="coco_mbv2_student", student=replace(R18.student, args={"encoder": "mobilenet_v2"}))
TEACHER = replace(R18, name="coco_teacher", student=replace(R18.student, args={"encoder": "resnet101"}))

COCO_R18 = Family(
    student=R18,
    teacher=TEACHER,
    about="DeepLabV3+ ResNet-101 into ResNet-18 on COCO 2017 with VOC's classes",
    ours="not run: needs COCO 2017 and a GPU.",
    hours="some 40 GPU hours at 10 TFLOP/s, estimated from multiply-adds.",
)
COCO_MBV2 = COCO_R18._replace(
    student=MBV2, about="DeepLabV3+ ResNet-101 into MobileNetV2 on COCO 2017 with VOC's classes"
)
