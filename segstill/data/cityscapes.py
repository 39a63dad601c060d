"""Cityscapes: street scenes of 2048 x 1024 pixels, 19 classes, 2,975 for training and 500 for validation.

Cordts, Omran, Ramos, Rehfeld, Enzweiler, Benenson, Franke, Roth, Schiele, The Cityscapes dataset for semantic urban
scene understanding, CVPR 2016; the images with fine annotations.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..batch import IGNORE
from .dataset import SegmentationDataset
from .files import Listing, Pairs, Problem, listed, nothing, sound
from .pictures import read_mask


class Kind(NamedTuple):
    """A class that is trained on and scored."""

    name: str
    label_id: int
    """Its value in the `labelIds` masks; its place in `KINDS` is its train id."""
    colour: tuple[int, int, int]


KINDS = (
    Kind("road", 7, (128, 64, 128)),
    Kind("sidewalk", 8, (244, 35, 232)),
    Kind("building", 11, (70, 70, 70)),
    Kind("wall", 12, (102, 102, 156)),
    Kind("fence", 13, (190, 153, 153)),
    Kind("pole", 17, (153, 153, 153)),
    Kind("traffic light", 19, (250, 170, 30)),
    Kind("traffic sign", 20, (220, 220, 0)),
    Kind("vegetation", 21, (107, 142, 35)),
    Kind("terrain", 22, (152, 251, 152)),
    Kind("sky", 23, (70, 130, 180)),
    Kind("person", 24, (220, 20, 60)),
    Kind("rider", 25, (255, 0, 0)),
    Kind("car", 26, (0, 0, 142)),
    Kind("truck", 27, (0, 0, 70)),
    Kind("bus", 28, (0, 60, 100)),
    Kind("train", 31, (0, 80, 100)),
    Kind("motorcycle", 32, (0, 0, 230)),
    Kind("bicycle", 33, (119, 11, 32)),
)
CLASSES = tuple(kind.name for kind in KINDS)
PALETTE = tuple(kind.colour for kind in KINDS)
MEANING = dict.fromkeys(range(34), IGNORE) | {kind.label_id: number for number, kind in enumerate(KINDS)}
"""Of the values in the `labelIds` masks; all others are not scored."""
IMAGE, LABEL_IDS, TRAIN_IDS = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
LAYOUT = f"leftImg8bit/<split>/<city>/*{IMAGE} and gtFine/<split>/<city>/*{LABEL_IDS}"


def cityscapes(root: str | Path, split: str) -> SegmentationDataset:
    """Open Cityscapes as the archives `leftImg8bit_trainvaltest` and `gtFine_trainvaltest` extract.

    `leftImg8bit/<split>/<city>/<id>_leftImg8bit.png` with `gtFine/<split>/<city>/<id>_gtFine_labelIds.png`; 19 of the
    values become the train ids, the others 255.  Where an image has no such mask, `<id>_gtFine_labelTrainIds.png`
    serves, which holds the train ids already.  The masks of the test images are not public.

    Args:
        root: the folder that holds these, or one that holds them in a folder `cityscapes`.
        split: train or val.

    Raises:
        FileNotFoundError: a folder, or the image or the mask of a pair, is missing.
        ValueError: the test split, or an archive that was extracted in part.
    """
    return sound(cityscapes_files(root, split))


def cityscapes_files(root: str | Path, split: str) -> Pairs:
    """Open it without complaint about its files."""
    return Pairs(_listing(Path(root), split), CLASSES, PALETTE, read_labels)


def read_labels(path: Path, _: Path) -> Tensor:
    """Read train ids (H, W) uint8 from a mask of label ids or of train ids; raises FileError."""
    return read_mask(path, CLASSES, meaning=None if path.name.endswith(TRAIN_IDS) else MEANING)


def _listing(root: Path, split: str) -> Listing:
    top = root / "cityscapes" if (root / "cityscapes").is_dir() else root
    images, masks = top / "leftImg8bit", top / "gtFine"
    if not images.is_dir() and not masks.is_dir():
        given = f"is not there, expected {LAYOUT}" if root.is_dir() else "is not there, nor is its root"
        return nothing(images, given, "point --data.root at the folder that holds them")
    if split == "test":
        return nothing(top, "has no test split: the masks of the test images are not public", "use the split val")
    problems = [
        Problem("error", folder / split, "does not exist", f"extract both archives: {LAYOUT}")
        for folder in (images, masks)
        if not (folder / split).is_dir()
    ]
    if problems:
        return Listing(images / split, problems=tuple(problems))
    drawn = {key: path for suffix in (TRAIN_IDS, LABEL_IDS) for key, path in _by_id(masks / split, suffix)}
    found = dict(_by_id(images / split, IMAGE))
    wanted = [
        (
            found.get(key, images / split / city / f"{name}{IMAGE}"),
            drawn.get(key, masks / split / city / f"{name}{LABEL_IDS}"),
        )
        for key in sorted(found.keys() | drawn.keys())
        for city, name in [key]
    ]
    return listed(images / split, wanted, "its counterpart is there")


def _by_id(folder: Path, suffix: str) -> Iterator[tuple[tuple[str, str], Path]]:
    """Yield (city, id) and path of every file of a kind."""
    for path in folder.glob(f"*/*{suffix}"):
        yield (path.parent.name, path.name.removesuffix(suffix)), path
