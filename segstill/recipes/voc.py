"""PASCAL VOC 2012 as AICSD and AttnFD train on it: the 1,464 images of the train list, 21 classes.

DeepLabV3+ with output stride 16; images with a short side of 513, scaled by 0.5 to 2, crops of 513, batches of 6; SGD
with Nesterov momentum, poly schedule, 120 epochs, the head at 10 times the rate of the encoder.

Their rate 0.007 and weight decay 5e-4 stand beside a loss that is divided by the batch size once more; on a plain mean,
as here, that is a rate of 0.007 / 6 and a decay of 6 * 5e-4.  They pad masks with background and blur images at random;
here masks are padded with 255 and there is no blur.

`voc_small_*` is for a CPU and for a part of VOC: images of 257 pixels, the student of `camvid_small_*`, and a DeepLabV3
on MobileNetV2 with public VOC weights as the teacher, which comes as a plain file of weights.

`folder_small_*` is the same student for images of one's own, with the usual ImageNet weights and their normalisation;
its teacher is the network of `voc_small_pseudo`, which learns from the same masks.
"""

from dataclasses import replace

from ..recipe import DataSpec, ModelSpec, Recipe
from .camvid import SMALL as CAMVID_SMALL_STUDENT
from .camvid import SMALL_TEACHER
from .family import Family

NOT_RUN = "not run: needs VOC 2012 and a GPU."
R18 = Recipe(
    name="voc_r18_student",
    data=DataSpec(name="voc", short_side=513, crop=(513, 513), workers=4),
    student=ModelSpec(name="deeplabv3plus", weights="imagenet", args={"encoder": "resnet18"}),
    epochs=120,
    batch_size=6,
    lr=0.007 / 6,
    weight_decay=6 * 5e-4,
    nesterov=True,
    evaluate_every=5,
)
MBV2 = replace(R18, name="voc_mbv2_student", student=replace(R18.student, args={"encoder": "mobilenet_v2"}))
TEACHER = replace(R18, name="voc_teacher", student=replace(R18.student, args={"encoder": "resnet101"}))

TEACHER_MODEL = ModelSpec(name="deeplabv3_mobilenet", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SMALL = replace(
    CAMVID_SMALL_STUDENT,
    name="voc_small_student",
    data=DataSpec(name="voc", longest_side=257, crop=(193, 257), scale=(0.75, 1.5), workers=1),
    teacher_model=TEACHER_MODEL,
    epochs=10,
    batch_size=8,
    lr=2e-4,
    head_lr_factor=10.0,
    evaluate_every=5,
)

FOLDER = replace(
    SMALL,
    name="folder_small_student",
    data=replace(SMALL.data, name="folder", longest_side=320, crop=(256, 256)),
    student=ModelSpec(name="smp", weights="imagenet", args=SMALL.student.args),
    teacher_model=None,
    epochs=30,
)

VOC_R18 = Family(
    student=R18,
    teacher=TEACHER,
    about="DeepLabV3+ ResNet-101 into ResNet-18 on VOC 2012",
    ours=NOT_RUN,
    hours="about 2 GPU hours at 10 TFLOP/s, estimated from multiply-adds.",
)
VOC_MBV2 = VOC_R18._replace(
    student=MBV2,
    about="DeepLabV3+ ResNet-101 into MobileNetV2 on VOC 2012",
    hours="about 1.5 GPU hours at 10 TFLOP/s, estimated from multiply-adds.",
)
VOC_SMALL = Family(
    student=SMALL,
    teacher=replace(SMALL, name="voc_small_teacher", student=TEACHER_MODEL, teacher_model=None),
    about="DeepLabV3 MobileNetV2, 2.12 M parameters, into 14 blocks of it, 0.61 M, on a part of VOC, 257 pixels",
    flags="--data.root DIR --student.weights mobilenet_v2_1.0_imagenet.pth",
    given="deeplabv3_mnv2_1.0_voc.pth",
    ours="docs/results.md.",
    hours="6 to 15 minutes on one CPU core, with some 490 training images.",
)
FOLDER_SMALL = Family(
    student=FOLDER,
    teacher=replace(FOLDER, name="folder_small_teacher", student=replace(FOLDER.student, args=SMALL_TEACHER)),
    about="DeepLabV3+ MobileNetV2, 3.21 M parameters, into 14 blocks of it, 0.61 M, on your own images, 320 pixels",
    flags="--data.root DIR --data.classes NAME ...",
    ours="the images are yours; the same student on CamVid and VOC: docs/results.md.",
    hours="on VOC, 10 epochs of 490 images took 6 to 15 minutes on one CPU core; set --epochs by the number of yours.",
)
