"""COCO 2017: photographs with 80 kinds of objects on background, or with the 20 of PASCAL VOC.

Lin, Maire, Belongie, Hays, Perona, Ramanan, Dollar, Zitnick, Microsoft COCO: common objects in context, ECCV 2014;
118,287 images for training and 5,000 for validation.
"""

from functools import partial
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor

from .dataset import SegmentationDataset
from .files import Listing, Pairs, Problem, colours, listed, nothing, sound
from .instances import Instances, read_instances
from .pictures import FileError
from .voc import CLASSES as VOC_CLASSES

NAMES = tuple(
    """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
    surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
    broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors,
    teddy bear, hair drier, toothbrush""".replace("\n    ", " ").split(", ")
)
"""COCO's categories in the order of their ids, which have gaps; a category's class is its place here plus 1."""
IN_VOC = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
"""VOC's names of categories, where they differ."""
LEAST = 1000
"""With VOC's classes, images with more labelled pixels than this are kept."""
LAYOUT = "annotations/instances_{train,val}2017.json with train2017/ and val2017/ (or these in images/)"
ClassList = Literal["voc", "all"]


def coco(root: str | Path, split: str, *, classes: ClassList = "voc") -> SegmentationDataset:
    """Open COCO 2017 as its archives extract; masks are drawn from the instances (needs pycocotools: extra `coco`).

    `annotations/instances_{train,val}2017.json` with the folders `train2017` and `val2017` of images beside
    `annotations`, or in a folder `images`.  The annotations of the test images are not public.

    Where instances overlap, the smaller lies above the larger.  Regions of crowds are 255 where no instance covers
    them; crowds of a category without class are background, as all that has none.

    The first opening reads all annotations, which takes minutes for train2017, and keeps what it needs in the folder
    that the variable SEGSTILL_CACHE names, else `~/.cache/segstill`; later ones take seconds.

    Args:
        root: the folder that holds these.
        split: train or val.
        classes: "voc" maps to the 21 classes of VOC and keeps the images with more than 1,000 labelled pixels, as
            AttnFD does; "all" has background and 80 categories, and keeps all images.

    Raises:
        FileNotFoundError: a folder, the annotations or an image is missing.
        ValueError: the test split, annotations that are no instances of COCO, or pycocotools is not installed.
    """
    return sound(coco_files(root, split, classes=classes))


def coco_files(root: str | Path, split: str, *, classes: str = "voc") -> Pairs:
    """Open it without complaint about its files; needs pycocotools as `coco` does."""
    if classes not in get_args(ClassList):
        raise ValueError(f"classes is {classes!r}, expected one of {list(get_args(ClassList))}")
    listing, drawn = _listing(Path(root), split, classes)
    names = VOC_CLASSES if classes == "voc" else ("background", *NAMES)
    return Pairs(listing, names, colours(len(names)), partial(_draw, drawn))


def labels_of(classes: str) -> dict[str, int]:
    """Return the class of every category that has one, by the category's name."""
    if classes == "all":
        return {name: number for number, name in enumerate(NAMES, 1)}
    numbers = {name: number for number, name in enumerate(VOC_CLASSES)}
    return {name: numbers[other] for name in NAMES if (other := IN_VOC.get(name, name)) in numbers}


def _draw(drawn: Instances, _: Path, image: Path) -> Tensor:
    return drawn.mask(image.name)


def _listing(root: Path, split: str, classes: str) -> tuple[Listing, Instances]:
    nobody = Instances.empty()
    annotations = root / "annotations"
    folders = [folder for folder in (root, root / "images") if any(folder.glob("*2017/"))]
    if not any(annotations.glob("instances_*2017.json")) and not folders:
        given = f"is not there, expected {LAYOUT}" if root.is_dir() else "is not there, nor is its root"
        file = annotations / "instances_train2017.json"
        return nothing(file, given, "point --data.root at the folder that holds them"), nobody
    if split == "test":
        given = "has no test split: the annotations of the test images are not public"
        return nothing(root, given, "use the split val"), nobody
    file = annotations / f"instances_{split}2017.json"
    images = next(iter(folders), root) / f"{split}2017"
    missing = [
        Problem("error", path, "does not exist", f"extract the archives of images and of annotations: {LAYOUT}")
        for path in (file, images)
        if not path.exists()
    ]
    if missing:
        return Listing(file, problems=tuple(missing)), nobody
    try:
        drawn = read_instances(file, labels_of(classes), known=NAMES, more_than=LEAST if classes == "voc" else None)
    except FileError as error:
        return Listing(file, problems=(Problem("error", *error.args),)), nobody
    return listed(file, [(images / name, file) for name in drawn.names], f"{file} names it"), drawn
