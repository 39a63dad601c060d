"""PASCAL VOC 2012: photographs with 20 kinds of objects on background, 1,464 for training and 1,449 for validation.

Everingham, Eslami, Van Gool, Williams, Winn, Zisserman, The PASCAL visual object classes challenge: a retrospective,
IJCV 2015.  With the further masks of the Semantic Boundaries Dataset (SBD; Hariharan, Arbelaez, Bourdev, Maji, Malik,
Semantic contours from inverse detectors, ICCV 2011), training has 10,582 images, the list known as trainaug.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from .dataset import SegmentationDataset
from .files import Listing, Pairs, Problem, colours, listed, nothing, sound
from .pictures import FileError, read_mask, to_ids

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
PALETTE = colours(len(CLASSES))
LAYOUT = "JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/, or VOCdevkit/VOC2012/ with these"
AUGMENTED = "SegmentationClassAug"
AUGMENTED_LISTS = ("trainaug.txt", "train_aug.txt")
TrainList = Literal["train", "trainval", "trainaug"]


def voc(root: str | Path, split: str, *, train: TrainList = "train", sbd: str | None = None) -> SegmentationDataset:
    """Open PASCAL VOC 2012 as its archive extracts.

    `root` is the folder with `JPEGImages/<id>.jpg`, `SegmentationClass/<id>.png` (palette masks, 255 for borders and
    difficult objects) and the lists `ImageSets/Segmentation/{train,val,trainval}.txt` of ids; or one that holds it as
    `VOC2012` or `VOCdevkit/VOC2012`.  The masks of the test images are not public.

    The list trainaug comes from the first of these that is there:

    1. `sbd`: VOC's train list, and the train and val lists of SBD without the images of VOC's val list; masks are VOC's
       where it has one, else SBD's `cls/<id>.mat` (needs scipy: the extra `sbd`);
    2. the folder `SegmentationClassAug` beside `SegmentationClass`, and `trainaug.txt` or `train_aug.txt` among the
       lists (ids, or paths of image and mask);
    3. that folder alone: all its masks but those of VOC's val list.

    Args:
        root: the folder.
        split: train or val.
        train: the list to train on.  With trainval, scores on val mean nothing.
        sbd: folder of SBD's archive, that is `benchmark_RELEASE`, one that holds it, or its `dataset`.

    Raises:
        FileNotFoundError: a folder, a list or a listed file is missing.
        ValueError: the test split, an unknown list, an empty one, or trainaug with images of val in it.
    """
    return sound(voc_files(root, split, train=train, sbd=sbd))


def voc_files(root: str | Path, split: str, *, train: str = "train", sbd: str | None = None) -> Pairs:
    """Open it without complaint about its lists."""
    if train not in get_args(TrainList):
        raise ValueError(f"train is {train!r}, expected one of {list(get_args(TrainList))}")
    return Pairs(_listing(Path(root), split, train, sbd), CLASSES, PALETTE, read_voc_mask)


def read_voc_mask(path: Path, _: Path) -> Tensor:
    """Read a mask of VOC (.png) or of SBD (.mat) as (H, W) uint8; raises FileError."""
    return read_sbd_mask(path) if path.suffix == ".mat" else read_mask(path, CLASSES)


def read_sbd_mask(path: Path) -> Tensor:
    """Read the field `GTcls.Segmentation` of a MATLAB file as (H, W) uint8.

    Raises:
        FileError: the file is no MATLAB file, or has no such field.
        FileNotFoundError: there is no such file.
        ValueError: scipy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ValueError(
            "the masks of SBD are MATLAB files and scipy is missing: pip install 'segstill[sbd]'"
        ) from error
    with path.open("rb") as stream:
        try:
            found: dict[str, Any] = loadmat(stream, variable_names=["GTcls"])
        except Exception as error:  # damaged files make it raise anything from IndexError to zlib.error
            raise FileError(path, f"does not read as a MATLAB file ({error})", "extract SBD's archive again") from error
    record = found.get("GTcls")
    if record is None or record.dtype.names is None or "Segmentation" not in record.dtype.names or not record.size:
        given = "has no field GTcls.Segmentation, expected a file of SBD's folder cls"
        raise FileError(path, given, "point sbd at SBD's official archive (benchmark_RELEASE)")
    values = np.asarray(record["Segmentation"].flat[0])
    if values.ndim != 2 or values.dtype != np.uint8:
        given = f"holds {values.dtype} values of shape {values.shape} in GTcls.Segmentation, expected uint8 (H, W)"
        raise FileError(path, given, "extract SBD's archive again")
    return to_ids(path, values, CLASSES)


def _listing(root: Path, split: str, train: str, sbd: str | None) -> Listing:
    places = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    top = next((place for place in places if (place / "JPEGImages").is_dir()), None)
    if top is None:
        given = f"is not there, expected {LAYOUT}" if root.is_dir() else "is not there, nor is its root"
        return nothing(root / "JPEGImages", given, "point --data.root at the folder that holds them")
    if split == "test":
        return nothing(top, "has no test split: the masks of VOC's test images are not public", "use the split val")
    lists = top / "ImageSets" / "Segmentation"
    if split == "train" and train == "trainaug":
        return _augmented(top, lists, Path(sbd) if sbd else None)
    names = lists / f"{train if split == 'train' else split}.txt"
    problems = []
    ids = _ids(names, problems)
    if split == "train" and train == "trainval":
        given = "holds the images of val on purpose, so scores on val mean nothing"
        problems.append(Problem("warning", names, given, "train on train or trainaug to compare methods"))
    why, includes = f"{names} names it", ("val",) if train == "trainval" and split == "train" else ()
    return listed(names, [_official(top, name) for name in ids], why, problems, includes=includes)


def _augmented(top: Path, lists: Path, sbd: Path | None) -> Listing:
    """List trainaug; see `voc` for where it comes from."""
    problems: list[Problem] = []
    val = _ids(lists / "val.txt", problems)
    source = next((lists / name for name in AUGMENTED_LISTS if (lists / name).is_file()), top / AUGMENTED)
    if sbd is not None:
        source = next((place for place in _homes_of_sbd(sbd) if (place / "cls").is_dir()), sbd / "cls")
        official = _ids(lists / "train.txt", problems)
        further = [*_ids(source / "train.txt", problems), *_ids(source / "val.txt", problems)]
        wanted = {name: _official(top, name) for name in official}
        left_out = wanted.keys() | val.keys()
        wanted |= {name: _of_sbd(top, source, name) for name in further if name not in left_out}
    elif (top / AUGMENTED).is_dir():
        if source.is_file():
            ids = _ids(source, problems)
        else:
            ids = [path.stem for path in sorted(source.glob("*.png")) if path.stem not in val]
        wanted = {name: (_official(top, name)[0], top / AUGMENTED / f"{name}.png") for name in ids}
    else:
        given = "does not exist, and train='trainaug' needs it or SBD"
        remedy = "add the folder, or pass SBD's archive as --data.args.sbd DIR"
        return Listing(top / AUGMENTED, problems=(Problem("error", top / AUGMENTED, given, remedy),))
    shared = [name for name in wanted if name in val]
    if shared:
        given = f"names {len(shared)} images of VOC's val list, {shared[0]} the first"
        problems.append(Problem("error", source, given, "remove them: scores on images of training mean nothing"))
    return listed(source, list(wanted.values()), f"{source} names it", problems)


def _homes_of_sbd(sbd: Path) -> Iterable[Path]:
    return sbd, sbd / "dataset", sbd / "benchmark_RELEASE" / "dataset"


def _official(top: Path, name: str) -> tuple[Path, Path]:
    return top / "JPEGImages" / f"{name}.jpg", top / "SegmentationClass" / f"{name}.png"


def _of_sbd(top: Path, home: Path, name: str) -> tuple[Path, Path]:
    """Pair SBD's mask with its copy of VOC's image, or with VOC's own where only the masks were extracted."""
    images = home / "img" if (home / "img").is_dir() else top / "JPEGImages"
    return images / f"{name}.jpg", home / "cls" / f"{name}.mat"


def _ids(names: Path, problems: list[Problem]) -> dict[str, None]:
    """Read the ids of a list, in order; lines may hold paths instead, as `/JPEGImages/<id>.jpg /Segm.../<id>.png`."""
    if not names.is_file():
        problems.append(Problem("error", names, "is missing", "extract the archive again, completely"))
        return {}
    lines = filter(None, map(str.split, names.read_text().splitlines()))
    return {Path(line[0]).name.removesuffix(".jpg"): None for line in lines}
