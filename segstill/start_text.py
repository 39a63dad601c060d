"""The text of a starting recipe: Python to be read and changed, with the reason beside every value."""

import json
from dataclasses import dataclass
from typing import NamedTuple

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
    """Folder of the masks, seen from the recipe's."""
    train_masks: str | None
    """The part of it for training."""
    validates_on_masks: bool
    """Whether every validation image has a true mask."""
    weights: str | None
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
    batch = _batch(facts, 16 if facts.tagged else 8)
    crop = f"({side}, {side})"
    stages = [
        f'"""A recipe for {facts.train} training and {facts.val} validation images of {len(facts.classes)} classes.',
        "",
        f"    segstill chain {facts.name}/recipe.py --plan     # what will be done",
        f"    segstill chain {facts.name}/recipe.py",
        "",
        f"Written for {facts.machine}.",
        'Every value may be changed here, or by a flag such as --student.epochs 5."""',
        "",
        "from dataclasses import replace",
        "from pathlib import Path",
        "",
        "from segstill.chain_recipe import Chain, ExportSpec, PageSpec, SharedData",
        f"from segstill.recipe import {_imports(facts)}",
        f"from segstill.recipes import METHODS{', WEAK' if facts.tagged else ''}",
        "",
        "HERE = Path(__file__).parent",
        f"CLASSES = {json.dumps(list(facts.classes), ensure_ascii=False)}",
        "",
        *_data(facts, side, crop),
        "",
        *_networks(facts, gpu),
        "",
        "def chain() -> Chain:",
        '    """Return all stages."""',
        "    return Chain(",
        f"        name={json.dumps(facts.name, ensure_ascii=False)},",
        *_shared(facts),
        *(_classifier(facts, batch) if facts.tagged else []),
        *_trained(facts, batch),
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


def _data(facts: Facts, side: int, crop: str) -> list[str]:
    args = {"images": facts.images}
    if facts.masks and (not facts.tagged or facts.validates_on_masks):
        args["masks"] = facts.masks
    workers = max(0, min(8, facts.machine.cores - 1))
    why = f"images are {facts.width} x {facts.height} pixels (median)"
    longest = max(facts.height, facts.width)
    shrink = [f"    longest_side={side * 5 // 4},  # {why}; what is larger is shrunk to this, for speed"]
    return [
        "DATA = DataSpec(",
        '    name="folder",',
        *(shrink if longest > side * 5 // 4 else [f"    # {why}: they are not shrunk"]),
        f"    crop={crop},  # sides that every encoder here takes",
        "    scale=(0.75, 1.5),  # objects of other sizes than in the images",
        f"    workers={workers},  # one core less than there are",
        f"    args={json.dumps(args, ensure_ascii=False)},  # where the images lie, seen from this file",
        ")",
        "",
    ]


def _networks(facts: Facts, gpu: bool) -> list[str]:
    weights = "None" if facts.weights is None else json.dumps(facts.weights)
    why = "downloaded once" if facts.weights == "imagenet" else "of your own" if facts.weights else "none: from scratch"
    if gpu:
        teacher = '"deeplabv3plus", weights=WEIGHTS, args={"encoder": "resnet101"}'
        student = '"deeplabv3plus", weights=WEIGHTS, args={"encoder": "mobilenet_v2"}'
        big, small = "59 million parameters, for a GPU", "4 million parameters"
    else:
        base = '"architecture": "DeepLabV3Plus", "encoder": "mobilenet_v2"'
        teacher = f'"smp", weights=WEIGHTS, args={{{base}, "decoder_channels": 128}}'
        deep = '"encoder_depth": 4, "encoder_output_stride": 16, "decoder_channels": 64'
        student = f'"smp", weights=WEIGHTS, args={{\n        {base},\n        {deep},\n    }}'
        big, small = "3.2 million parameters: what a CPU trains in hours", "0.6 million parameters"
    return [
        f"WEIGHTS = {weights}  # of encoders, {why}; a few hundred images are too few without",
        f"TEACHER = ModelSpec(name={teacher})  # {big}",
        f"STUDENT = ModelSpec(  # {small}\n    name={student},\n)"
        if "\n" in student
        else f"STUDENT = ModelSpec(name={student})  # {small}",
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


def _classifier(facts: Facts, batch: int) -> list[str]:
    epochs, steps = _epochs(facts, batch, 3000 if facts.machine.gpu else 400)
    encoder = "" if facts.machine.gpu else ', "encoder": "mobilenet_v2", "output_stride": 16, "head_kernel": 1'
    spec = f'ModelSpec(name="swtformer", weights=WEIGHTS, args={{"version": 2{encoder}}})'
    lr = "5e-5" if facts.machine.gpu else "1e-4"
    return [
        "        classifier=replace(",
        '            WEAK["folder_weak_v2"](),  # its losses and optimiser; segstill show folder_weak_v2',
        '            name="classifier",',
        "            data=DATA,",
        f"            student={spec},{'' if facts.machine.gpu else '  # in place of Swin, on a CPU'}",
        f"            epochs={epochs},  # about {steps} steps, the first fifth on the tags alone",
        f"            batch_size={batch},",
        f"            lr={lr},",
        "        ),",
        '        seeds=SeedSpec(refine=("par",)),  # masks follow edges; where they spill, try band=0.05',
    ]


def _trained(facts: Facts, batch: int) -> list[str]:
    gpu = facts.machine.gpu is not None
    batch = min(batch, 8)
    taught, teacher_steps = _epochs(facts, batch, 6000 if gpu else 1200)
    learned, student_steps = _epochs(facts, batch, 10000 if gpu else 2400)
    return [
        "        teacher=Recipe(",
        '            name="teacher",',
        "            data=DATA,",
        "            student=TEACHER,",
        '            terms={"cross_entropy": TermSpec()},',
        f"            epochs={taught},  # about {teacher_steps} steps",
        f"            batch_size={batch},",
        '            optimizer="adamw",',
        "            lr=0.0005,  # the encoder is trained already; the head learns 4 times as fast",
        "            head_lr_factor=4.0,",
        "            weight_decay=0.01,",
        f"            evaluate_every={max(1, taught // 5)},",
        "        ),",
        "        student=Recipe(",
        '            name="student",',
        "            data=DATA,",
        "            student=STUDENT,",
        '            terms=METHODS["attnfd"],  # features of the teacher and the masks; segstill list shows the others',
        f"            epochs={learned},  # about {student_steps} steps: it is what ships",
        f"            batch_size={batch},",
        '            optimizer="adamw",',
        "            lr=0.002,",
        "            head_lr_factor=1.0,",
        "            weight_decay=0.01,",
        f"            evaluate_every={max(1, learned // 5)},",
        "        ),",
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
