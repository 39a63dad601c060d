"""Chains: classifier, seed masks, teacher, distilled student, export and page, in one command.

    segstill chain weak_to_student_folder --data.root DIR --data.classes background NAME ...

`weak_to_student_*` begin with tags, `masks_to_student_*` with masks.  The method is AttnFD where schedules are long,
and on a CPU, whose steps are few, one that did well where we measured several (docs/results.md).
"""

from collections.abc import Callable
from dataclasses import replace

from ..chain_recipe import Chain, ExportSpec, PageSpec
from ..recipe import DataSpec, Recipe, SeedSpec
from .camvid import CAMVID_SMALL
from .demo import DEMO
from .methods import distilled
from .voc import FOLDER_SMALL, VOC_MBV2, VOC_SMALL
from .weak import WEAK

REFINED = SeedSpec(refine=("par",))
WALKED = SeedSpec(scales=(1.0, 0.5, 1.5), refine=("random-walk", "par"), band=0.05)
"""Along the fused features first, and along what was learned from that then: 50.9 and 55.2 mIoU (docs/log.md)."""
SMALL = ExportSpec(int8=True)
"""For students that run on a CPU anyway: scoring their files there takes minutes, not hours."""


def _taught(student: Recipe, data: DataSpec, method: str, taps: tuple[str, ...] = ()) -> Recipe:
    """Return a student on other data, taught by a method; its teacher is that of the chain."""
    return replace(distilled(replace(student, teacher_model=None), method, taps=taps), data=data)


VOC_STUDENT = replace(VOC_MBV2.student, epochs=60)
VOC = Chain(
    name="weak_to_student_voc",
    classifier=WEAK["voc_weak_v2"](),
    seeds=REFINED,
    teacher=WEAK["voc_pseudo"](),
    student=_taught(VOC_STUDENT, replace(VOC_MBV2.student.data, args={"train": "trainaug"}), "attnfd"),
    export=ExportSpec(),
    page=PageSpec(),
)
FOLDER_DATA = replace(VOC_MBV2.student.data, name="folder", args={})
FOLDER = replace(
    VOC,
    name="weak_to_student_folder",
    classifier=WEAK["folder_weak_v2"](),
    teacher=WEAK["folder_pseudo"](),
    student=_taught(VOC_STUDENT, FOLDER_DATA, "attnfd"),
)
VOC_CPU = replace(
    VOC,
    name="weak_to_student_voc_small",
    classifier=WEAK["voc_small_weak_v2"](),
    confident=WALKED,
    affinity=WEAK["voc_small_affinity"](),
    seeds=WALKED,
    teacher=WEAK["voc_small_pseudo"](),
    warm=True,
    student=replace(
        _taught(VOC_SMALL.student, replace(VOC_SMALL.student.data, args={"train": "train_weak"}), "kd"),
        teacher_scale=1.75,  # the teacher learned from images of about this size
    ),
    export=SMALL,
    reference=replace(VOC_SMALL.student, name="voc_small_student", teacher_model=None),
)
MSRC21_DATA = replace(VOC_SMALL.student.data, name="msrc21")
MSRC21_CPU = replace(
    VOC_CPU,
    name="weak_to_student_msrc21_small",
    classifier=WEAK["msrc21_small_weak_v2"](),
    affinity=WEAK["msrc21_small_affinity"](),
    teacher=WEAK["msrc21_small_pseudo"](),
    student=replace(_taught(VOC_SMALL.student, MSRC21_DATA, "kd"), teacher_scale=1.5),
    reference=replace(VOC_SMALL.student, name="msrc21_small_student", teacher_model=None, data=MSRC21_DATA),
)
CAMVID_CPU = Chain(
    name="masks_to_student_camvid_small",
    teacher=CAMVID_SMALL.teacher,
    student=_taught(CAMVID_SMALL.student, CAMVID_SMALL.student.data, "dist"),
    reference=CAMVID_SMALL.student,
    export=SMALL,
    page=PageSpec(),
)
FOLDER_MASKS = Chain(
    name="masks_to_student_folder",
    teacher=replace(VOC_MBV2.teacher, name="folder_teacher", data=FOLDER_DATA),
    student=_taught(VOC_MBV2.student, FOLDER_DATA, "attnfd"),
    export=ExportSpec(),
    page=PageSpec(),
)
FOLDER_CPU = replace(
    VOC_CPU,
    name="weak_to_student_folder_small",
    classifier=WEAK["folder_small_weak_v2"](),
    affinity=WEAK["folder_small_affinity"](),
    teacher=WEAK["folder_small_pseudo"](),
    warm=False,
    student=_taught(FOLDER_SMALL.student, FOLDER_SMALL.student.data, "kd"),
    reference=None,
)
FOLDER_MASKS_CPU = Chain(
    name="masks_to_student_folder_small",
    teacher=FOLDER_SMALL.teacher,
    student=FOLDER_CPU.student,
    reference=FOLDER_SMALL.student,
    export=SMALL,
    page=PageSpec(),
)
CLASSIFIER = replace(WEAK["demo_weak_v2"](), epochs=12, evaluate_every=6)  # after 8, no triangles (docs/log.md)
SCENES = replace(DEMO.student.data, labelled=None, args=CLASSIFIER.data.args)
DEMO_TEACHER = replace(DEMO.teacher, name="demo_teacher", data=SCENES, epochs=6)
DEMO_STUDENT = replace(DEMO.student, data=SCENES, epochs=8, batch_size=8, evaluate_every=4)
DEMO_CHAIN = Chain(
    name="demo",
    classifier=CLASSIFIER,
    seeds=replace(REFINED, scales=(1.0, 0.5, 1.5), source="is-cam", background_factor=0.5),
    teacher=DEMO_TEACHER,
    student=_taught(DEMO_STUDENT, SCENES, "aicsd", DEMO.taps),
    reference=DEMO_STUDENT,
    export=SMALL,
    page=PageSpec(),
)
"""Every stage small enough for two CPU cores: a Swin of 16 x 24 places, networks of the demo."""

ROOT, NAMES = "--data.root DIR", "--data.classes NAME ..."
WEIGHTS = "--weights mobilenet_v2_1.0_imagenet.pth"
ABOUT: dict[str, tuple[Chain, str, str]] = {
    chain.name: (chain, about, flags)
    for chain, about, flags in (
        (VOC, "tags of VOC 2012 to a DeepLabV3+ on MobileNetV2; a Swin and a ResNet-101 on the way, for a GPU", ROOT),
        (VOC_CPU, "tags of a part of VOC to a student of 0.61 M parameters, on a CPU", f"{ROOT} {WEIGHTS}"),
        (FOLDER, "your own images and tags to a DeepLabV3+ on MobileNetV2, for a GPU", f"{ROOT} {NAMES}"),
        (FOLDER_CPU, "your own images and tags to a student of 0.61 M parameters, on a CPU", f"{ROOT} {NAMES}"),
        (MSRC21_CPU, "tags of MSRC-21 to a student of 0.61 M parameters, on a CPU", f"{ROOT} {WEIGHTS}"),
        (CAMVID_CPU, "masks of CamVid to a teacher of 3.21 M and a student of 0.61 M, on a CPU", f"{ROOT} {WEIGHTS}"),
        (FOLDER_MASKS, "your own images and masks: ResNet-101 teaches MobileNetV2, for a GPU", f"{ROOT} {NAMES}"),
        (FOLDER_MASKS_CPU, "your own images and masks to a student of 0.61 M, on a CPU", f"{ROOT} {NAMES}"),
        (DEMO_CHAIN, "tags of drawn scenes to a student of 0.11 M parameters, in minutes on two CPU cores", ""),
    )
}


def _make(chain: Chain, about: str, flags: str) -> Callable[[], Chain]:
    def make() -> Chain:
        return chain

    make.__doc__ = f"From {about}.\n\n    segstill chain {chain.name} {flags}".rstrip()
    make.__name__ = chain.name
    return make


CHAINS: dict[str, Callable[[], Chain]] = {name: _make(*parts) for name, parts in ABOUT.items()}
"""Chains by name."""
