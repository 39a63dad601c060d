"""The text of a starting recipe: Python to be read and changed, with the reason beside every value."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ALONE = [
    "        # The same without the teacher, to see what the teacher adds.  --skip reference saves its time.",
    '        reference=replace(student, name="reference", terms={"cross_entropy": TermSpec()}),',
]
SMALL_SIDE, LARGE_SIDE = 256, 512
"""Longest sides of crops on a CPU and on a GPU."""


class Machine(NamedTuple):
    """Where it will run."""

    cores: int
    memory: float
    """GiB."""
    gpu: str | None
    gpu_memory: float
    """GiB."""

    def __str__(self) -> str:
        told = f"{self.cores} CPU cores, {self.memory:.0f} GiB of memory"
        return f"{told}, {self.gpu} with {self.gpu_memory:.0f} GiB" if self.gpu else f"{told}, no GPU"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the recipe depends on."""

    name: str
    classes: tuple[str, ...]
    tagged: bool
    images: str
    """Folder of the images, seen from the recipe's."""
    masks: str | None
    """Folder of the masks that are opened by the data set, seen from the recipe's; None for its usual one."""
    train_masks: str | None
    """Folder of the masks of training images."""
    validates_on_masks: bool
    """Whether every validation image has a true mask."""
    weights: str | None
    mean: tuple[float, ...]
    """Per channel, of images in [0, 1], as the weights expect it."""
    std: tuple[float, ...]
    train: int
    val: int
    unlabelled: int
    true_masks: int
    """Training images with tags that have a true mask."""
    height: int
    width: int
    machine: Machine


def recipe_text(facts: Facts) -> str:
    """Return the file."""
    side, gpu = _side(facts), facts.machine.gpu is not None
    file = shlex.quote(f"{facts.name}/recipe.py")
    stages = [
        f'"""A recipe for {facts.train} training and {facts.val} validation images of {len(facts.classes)} classes.',
        "",
        f"    segstill chain {file} --plan     # what will be done",
        f"    segstill chain {file}",
        "",
        f"Written for {facts.machine}.",
        'Every value may be changed here, or by a flag such as --student.epochs 5."""',
        "",
        "from dataclasses import replace",
        "from pathlib import Path",
        "",
        "from segstill.chain_recipe import Chain, ExportSpec, PageSpec, SharedData",
        f"from segstill.recipe import {_imports(facts)}",
        f"from segstill.recipes import {_parts(facts, gpu)}",
        "",
        "HERE = Path(__file__).parent",
        f"CLASSES = {json.dumps(list(facts.classes), ensure_ascii=False)}",
        "",
        *_data(facts, side),
        "",
        *_networks(facts, gpu),
        *(_begun(gpu) if facts.tagged else []),
        "",
        "def chain() -> Chain:",
        '    """Return all stages."""',
        *_student(facts),
        "    return Chain(",
        f"        name={json.dumps(facts.name, ensure_ascii=False)},",
        *_shared(facts),
        *(_classifier(facts) if facts.tagged else []),
        *_trained(facts),
        "        export=ExportSpec(int8=True),  # a second file in 8-bit numbers: a quarter of the size",
        "        page=PageSpec(),",
        "    )",
        "",
        "",
        "def recipe() -> Recipe:",
        '    """Return the first stage alone, for segstill train."""',
        "    first = chain()",
        f"    stage = first.{'classifier' if facts.tagged else 'teacher'}",
        "    data = replace(stage.data, root=first.data.root, classes=first.data.classes)",
        "    return replace(stage, data=data)",
        "",
    ]
    return "\n".join(stages)


def _imports(facts: Facts) -> str:
    names = ["DataSpec", "ModelSpec", "Recipe", "TermSpec"] + (["SeedSpec"] if facts.tagged else [])
    return ", ".join(sorted(names))


def _parts(facts: Facts, gpu: bool) -> str:
    names = ["METHODS"] + ([] if gpu else ["FAMILIES"]) + (["WEAK"] if facts.tagged else [])
    return ", ".join(sorted(names))


def _data(facts: Facts, side: int) -> list[str]:
    args = {"images": facts.images} | ({"masks": facts.masks} if facts.masks else {})
    workers = max(0, min(8, facts.machine.cores - 1))
    why = f"images are {facts.width} x {facts.height} pixels (median)"
    longest = max(facts.height, facts.width)
    shrink = [f"    longest_side={side * 5 // 4},  # {why}; what is larger is shrunk to this, for speed"]
    return [
        "DATA = DataSpec(",
        '    name="folder",',
        *(shrink if longest > side * 5 // 4 else [f"    # {why}: they are not shrunk"]),
        f"    crop=({side}, {side}),  # sides that every encoder here takes",
        "    scale=(0.75, 1.5),  # objects of other sizes than in the images",
        f"    workers={workers},  # one core less than there are",
        f"    args={json.dumps(args, ensure_ascii=False)},  # where the images lie, seen from this file",
        ")",
    ]


def _networks(facts: Facts, gpu: bool) -> list[str]:
    if facts.weights is None:
        weights, why = "None", 'encoders begin at random: better "imagenet", or a file of weights'
    elif facts.weights == "imagenet":
        weights, why = '"imagenet"', "encoders' weights are downloaded once; without a connection, a file's name"
    else:
        place = json.dumps(facts.weights, ensure_ascii=False)
        weights = place if Path(facts.weights).is_absolute() else f"str(HERE / {place})"
        why = "of the encoders"
    if gpu:
        teacher, student = (f'"deeplabv3plus", args={{"encoder": "{name}"}}' for name in ("resnet101", "mobilenet_v2"))
        big, small = "59 million parameters, for a GPU", "4 million parameters"
    else:
        teacher, student = (f'"smp", args=SMALL.{name}.student.args' for name in ("teacher", "student"))
        big, small = "3.2 million parameters", "14 of its blocks, 0.6 million"
    return [
        f"WEIGHTS = {weights}  # {why}",
        f"MEAN, STD = {facts.mean}, {facts.std}  # of images in [0, 1], as these weights expect it",
        'PRETRAINED = {"weights": WEIGHTS, "mean": MEAN, "std": STD}',
        *([] if gpu else ['SMALL = FAMILIES["folder_small"]']),
        f"TEACHER = ModelSpec(name={teacher}, **PRETRAINED)  # {big}",
        f"STUDENT = ModelSpec(name={student}, **PRETRAINED)  # {small}",
        "",
    ]


def _begun(gpu: bool) -> list[str]:
    if gpu:
        return ['CLASSIFIER = WEAK["folder_weak_v2"]()', ""]
    return [
        'CLASSIFIER, AFFINITY = WEAK["folder_small_weak_v2"](), WEAK["folder_small_affinity"]()',
        "# Seen at three sizes, spread over what looks alike, drawn to edges; 255 where two classes are almost even.",
        'SEEDS = SeedSpec(scales=(1.0, 0.5, 1.5), refine=("random-walk", "par"), band=0.05)',
        "",
    ]


def _shared(facts: Facts) -> list[str]:
    lines = ["        data=SharedData(", "            root=str(HERE),", "            classes=tuple(CLASSES),"]
    if facts.tagged and facts.true_masks:
        lines.append(
            f"            masks=str(HERE / {json.dumps(facts.train_masks)}),  # {facts.true_masks} true masks take the "
            "place of seeds"
        )
    if facts.unlabelled:
        lines.append(f'            unlabelled=str(HERE / "unlabelled"),  # {facts.unlabelled} images without labels')
    return [*lines, "        ),"]


def _classifier(facts: Facts) -> list[str]:
    family, batch = "folder" if facts.machine.gpu else "folder_small", _batch(facts, 16)
    epochs, steps = _epochs(facts, batch, 3000 if facts.machine.gpu else 400)
    lines = [
        "        classifier=replace(",
        f"            CLASSIFIER,  # its losses and optimiser: segstill show {family}_weak_v2",
        '            name="classifier",',
        "            data=DATA,",
        "            student=replace(CLASSIFIER.student, **PRETRAINED),",
        f"            epochs={epochs},  # about {steps} steps, the first fifth on the tags alone",
        f"            batch_size={batch},",
        "        ),",
    ]
    if facts.machine.gpu:
        return [
            *lines,
            '        seeds=SeedSpec(refine=("par",)),  # masks follow edges; where they spill, try band=0.05',
        ]
    batch = min(batch, 8)
    epochs, steps = _epochs(facts, batch, 350)
    return [
        *lines,
        "        # Two stages that make seed masks better, on a part of VOC 55.2 mIoU in place of 50.9: masks that",
        "        # leave open what is uncertain teach a network which neighbours belong together, and the masks to",
        "        # learn from are then spread along that.  --skip affinity leaves both out.",
        "        confident=SEEDS,",
        "        affinity=replace(",
        "            AFFINITY,",
        '            name="affinity",',
        "            data=DATA,",
        "            student=replace(AFFINITY.student, mean=MEAN, std=STD),  # on the classifier's weights",
        f"            epochs={epochs},  # about {steps} steps",
        f"            batch_size={batch},",
        "        ),",
        "        seeds=SEEDS,",
    ]


def _trained(facts: Facts) -> list[str]:
    gpu, batch = facts.machine.gpu is not None, _batch(facts, 8)
    taught, teacher_steps = _epochs(facts, batch, 6000 if gpu else 1200)
    return [
        "        teacher=Recipe(",
        '            name="teacher",',
        "            data=DATA,",
        "            student=TEACHER,",
        '            terms={"cross_entropy": TermSpec()},',
        f"            epochs={taught},  # about {teacher_steps} steps",
        f"            batch_size={batch},",
        '            optimizer="adamw",',
        *_rates(facts, "            "),
        "            weight_decay=0.01,",
        f"            evaluate_every={max(1, taught // 5)},",
        "        ),",
        "        student=student,",
        *([] if facts.tagged else ALONE),
    ]


def _student(facts: Facts) -> list[str]:
    gpu, batch = facts.machine.gpu is not None, _batch(facts, 8)
    epochs, steps = _epochs(facts, batch, 10000 if gpu else 2400)
    method, what = ("attnfd", "features of the teacher") if gpu else ("kd", "the teacher's scores")
    return [
        "    student = Recipe(",
        '        name="student",',
        "        data=DATA,",
        "        student=STUDENT,",
        f'        terms=METHODS["{method}"],  # the labels and {what}; segstill list shows others',
        f"        epochs={epochs},  # about {steps} steps: it is what ships",
        f"        batch_size={batch},",
        '        optimizer="adamw",',
        *_rates(facts, "        "),
        "        weight_decay=0.01,",
        f"        evaluate_every={max(1, epochs // 5)},",
        "    )",
    ]


def _rates(facts: Facts, indent: str) -> list[str]:
    if facts.weights is None:
        return [f"{indent}lr=0.002,", f"{indent}head_lr_factor=1.0,  # nothing is trained yet"]
    return [
        f"{indent}lr=0.0002,  # of the encoder, which is trained already",
        f"{indent}head_lr_factor=10.0,  # the head learns 10 times as fast",
    ]


def _side(facts: Facts) -> int:
    """Return the side of crops: multiples of 64, no larger than the images are."""
    most = SMALL_SIDE if facts.machine.gpu is None else LARGE_SIDE if facts.machine.gpu_memory >= 10 else 384
    return max(64, min(most, max(facts.height, facts.width) // 64 * 64))


def _batch(facts: Facts, wanted: int) -> int:
    """Return images per step: a power of two, no more than there are, fewer on a small GPU."""
    if facts.machine.gpu and facts.machine.gpu_memory < 10:
        wanted //= 2
    while wanted > 2 and wanted > facts.train:
        wanted //= 2
    return wanted


def _epochs(facts: Facts, batch: int, steps: int) -> tuple[int, int]:
    """Return epochs that give about so many steps, from 3 to 200, and the steps that they give."""
    each = -(-facts.train // batch)
    epochs = max(3, min(200, round(steps / each)))
    return epochs, epochs * each
