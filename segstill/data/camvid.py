"""CamVid: street scenes from a driving car, 480 x 360 pixels, 11 classes.

Brostow, Fauqueur, Cipolla, Semantic object classes in video: a high-definition ground truth database, Pattern
Recognition Letters 2009; in the small version with 11 classes that came with SegNet: 367 images for training, 101 for
validation, 233 for the test.
"""

from pathlib import Path

from ..batch import IGNORE
from .dataset import SegmentationDataset
from .files import IMAGE_SUFFIXES, MASK_SUFFIX, SPLITS, Listing, Pairs, image_files, listed, nothing, png_masks, sound

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
MEANING = {**{number: number for number in range(len(CLASSES))}, 11: IGNORE, IGNORE: IGNORE}
"""Of the values in SegNet's own masks, where 11 is no label."""
LAYOUTS = "images/<split>/<id>.jpg with masks/<split>/<id>.png, or SegNet's train/ with trainannot/ and so on"


def camvid(root: str | Path, split: str) -> SegmentationDataset:
    """Open CamVid in one of the two layouts it comes in.

    Either `images/<split>/<id>.jpg`, `masks/<split>/<id>.png` and optional lists `<split>.txt`, with 255 for no label;
    or the folders of SegNet (`train`, `trainannot`, `val`, ...) with optional lists, with 11 for no label.  A list
    holds an id per line or, as SegNet's own do, the paths of image and mask.

    Args:
        root: the folder that holds these, or one that holds them in a folder `CamVid`.
        split: train, val or test.

    Raises:
        FileNotFoundError: the root, a folder or a listed file is missing.
        ValueError: a folder is empty, or two files go by one id.
    """
    return sound(camvid_files(root, split))


def camvid_files(root: str | Path, split: str) -> Pairs:
    """Open it without complaint about its lists."""
    root = Path(root)
    root = root / "CamVid" if (root / "CamVid").is_dir() else root
    segnet = not (root / "images").is_dir() and any((root / f"{name}annot").is_dir() for name in SPLITS)
    masks = png_masks(CLASSES, MEANING if segnet else None)
    return Pairs(_listing(root, split, segnet=segnet), CLASSES, PALETTE, masks)


def _listing(root: Path, split: str, *, segnet: bool) -> Listing:
    if segnet:
        folder, masks = root / split, root / f"{split}annot"
    elif (root / "images").is_dir():
        folder, masks = root / "images" / split, root / "masks" / split
    else:
        given = f"is not there, expected {LAYOUTS}" if root.is_dir() else "is not there, nor is its root"
        return nothing(root / "images", given, "point --data.root at the folder that holds them")
    names = root / f"{split}.txt"
    lines = names.read_text().split("\n") if names.is_file() else []
    entries = [line.split() for line in lines if line.strip()]
    if not entries:
        if not folder.is_dir():
            return nothing(folder, "does not exist", f"CamVid needs {LAYOUTS}")
        images, problems = image_files(folder)
        wanted = [(path, masks / f"{stem}{MASK_SUFFIX}") for stem, path in images.items()]
        return listed(folder, wanted, f"{folder} holds its image", problems)
    wanted = [
        (_relocated(folder, Path(entry[0])), _relocated(masks, Path(entry[1])))
        if len(entry) == 2
        else (_with_suffix(folder / f"{entry[0]}{IMAGE_SUFFIXES[0]}"), masks / f"{entry[0]}{MASK_SUFFIX}")
        for entry in entries
    ]
    return listed(names, wanted, f"{names} names it")


def _relocated(folder: Path, path: Path) -> Path:
    """Return the file that a list means: the paths in it are those of somebody's machine, perhaps of another split.

    Args:
        folder: where the images, or the masks, of the list's own split are.
        path: as `/SegNet/CamVid/trainannot/0001TP_006690.png`.
    """
    parent = path.parent.name
    siblings = [folder.parent / name for name in (parent, parent.removesuffix("annot")) if name]
    return _with_suffix(next((sibling for sibling in siblings if sibling.is_dir()), folder) / path.name)


def _with_suffix(path: Path) -> Path:
    """Return the file, or the one of another image suffix that is there in its stead."""
    candidates = [path, *(path.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)]
    return next((candidate for candidate in candidates if candidate.is_file()), path)
