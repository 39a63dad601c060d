"""PASCAL VOC 2012: photographs with 20 kinds of objects on background, 1,464 for training and 1,449 for validation.

Everingham, Eslami, Van Gool, Williams, Winn, Zisserman, The PASCAL visual object classes challenge: a retrospective,
IJCV 2015.  With the further masks of the Semantic Boundaries Dataset (SBD; Hariharan, Arbelaez, Bourdev, Maji, Malik,
Semantic contours from inverse detectors, ICCV 2011), training has 10,582 images, the list known as trainaug.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from .dataset import SegmentationDataset
from .files import Listing, Pairs, Problem, colours, listed, nothing, sound
from .pictures import FileError, read_mask, to_ids
from .tags import Tagged, image_labels, looked_up, read_voc_annotation, stem, with_table

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
TABLE = "image_labels.csv"
OFFICIAL = ("train", "trainval")
"""Lists of images that all have a mask."""


def voc(root: str | Path, split: str, *, train: str = "train", sbd: str | None = None) -> SegmentationDataset:
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
        train: the list to train on: train, trainval, trainaug, or the name of another in `ImageSets/Segmentation`, such
            as one of images that have tags and no mask (see `voc_tagged`).  With trainval, scores on val mean nothing.
        sbd: folder of SBD's archive, that is `benchmark_RELEASE`, one that holds it, or its `dataset`.

    Raises:
        FileNotFoundError: a folder, a list or a listed file is missing.
        ValueError: the test split, an empty list, one with images of val in it, or with images that have no mask.
    """
    return sound(voc_files(root, split, train=train, sbd=sbd))


def voc_files(root: str | Path, split: str, *, train: str = "train", sbd: str | None = None) -> Pairs:
    """Open it without complaint about its lists."""
    return Pairs(_listing(Path(root), split, train, sbd), CLASSES, PALETTE, read_voc_mask, rimmed=True)


def voc_tagged(root: str | Path, split: str, *, train: str = "train", sbd: str | None = None) -> Tagged:
    """Open images and tags of VOC, without complaint about them; masks are not needed, and none is opened.

    The tags come from the first of these that is there:

    1. `image_labels.csv` beside `JPEGImages`: the columns `id` and `labels`, class names with spaces between them;
    2. `Annotations/<id>.xml`: all boxes count, those marked difficult too, as in the file of image-level labels that
       work on weak supervision shares (1.555 classes per image of trainaug).

    Args:
        root: as for `voc`.
        split: train or val.
        train: as for `voc`; any list in `ImageSets/Segmentation` will do.
        sbd: as for `voc`.
    """
    top, chosen = _choose(Path(root), split, train, sbd)
    if isinstance(chosen, Listing):
        return Tagged(chosen, CLASSES, PALETTE, read_voc_annotation)
    images, table, annotations = [image for image, _ in chosen.pairs], top / TABLE, top / "Annotations"
    why = f"{chosen.names} names it"
    if table.is_file():
        known, problems = image_labels(table, CLASSES)
        found = [(image.stem, image) for image in images]
        listing = with_table(chosen.names, found, table, known, [*chosen.problems, *problems], why, chosen.includes)
        return Tagged(listing, CLASSES, PALETTE, looked_up(known, stem))
    if not annotations.is_dir():
        given = f"is not there, nor is {annotations}"
        return Tagged(nothing(table, given, "extract VOC's archive completely"), CLASSES, PALETTE, read_voc_annotation)
    wanted = [(image, annotations / f"{image.stem}.xml") for image in images]
    listing = listed(chosen.names, wanted, why, chosen.problems, includes=chosen.includes)
    return Tagged(listing, CLASSES, PALETTE, read_voc_annotation)


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


class _Chosen(NamedTuple):
    """The images that a list names, each with its mask, whether they are there or not."""

    names: Path
    pairs: list[tuple[Path, Path]]
    problems: list[Problem]
    includes: tuple[str, ...] = ()


def _choose(root: Path, split: str, train: str, sbd: str | None) -> tuple[Path, _Chosen | Listing]:
    """Return the folder of VOC and the images of a split; a `Listing` where there are none."""
    places = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    top = next((place for place in places if (place / "JPEGImages").is_dir()), None)
    if top is None:
        given = f"is not there, expected {LAYOUT}" if root.is_dir() else "is not there, nor is its root"
        return root, nothing(root / "JPEGImages", given, "point --data.root at the folder that holds them")
    if split == "test":
        given = "has no test split: the masks of VOC's test images are not public"
        return top, nothing(top, given, "use the split val")
    lists = top / "ImageSets" / "Segmentation"
    if split == "train" and train == "trainaug":
        return top, _augmented(top, lists, Path(sbd) if sbd else None)
    names, own = lists / f"{train if split == 'train' else split}.txt", _is_own(split, train)
    problems: list[Problem] = []
    if own and not names.is_file():
        known = sorted({path.stem for path in lists.glob("*.txt")} - {"val"})
        return top, nothing(names, f"is not there, expected one of {known}", "pass another list as --data.args.train")
    ids = _ids(names, problems)
    includes = ("val",) if train == "trainval" and split == "train" else ()
    if includes:
        given = "holds the images of val on purpose, so scores on val mean nothing"
        problems.append(Problem("warning", names, given, "train on train or trainaug to compare methods"))
    elif own:
        problems += _shared(names, ids, _ids(lists / "val.txt", problems))
    return top, _Chosen(names, [_official(top, name) for name in ids], problems, includes)


def _listing(root: Path, split: str, train: str, sbd: str | None) -> Listing:
    top, chosen = _choose(root, split, train, sbd)
    if isinstance(chosen, Listing):
        return chosen
    pairs, problems = chosen.pairs, chosen.problems
    if split == "train" and train == "trainaug" and sbd is None and not (top / AUGMENTED).is_dir():
        return Listing(top / AUGMENTED, problems=(_without_sbd(top),))
    if _is_own(split, train):
        drawn = {path.name for path in (top / "SegmentationClass").glob("*.png")}
        without = [image.stem for image, mask in pairs if mask.name not in drawn]
        if without:
            given = f"names {len(without)} images that have no mask, {without[0]} the first"
            remedy = "train on their tags (a recipe of weak supervision), or pass masks of them as --data.masks"
            problems = [*problems, Problem("error", chosen.names, given, remedy)]
            pairs = [(image, mask) for image, mask in pairs if mask.name in drawn]
    return listed(chosen.names, pairs, f"{chosen.names} names it", problems, includes=chosen.includes)


def _augmented(top: Path, lists: Path, sbd: Path | None) -> _Chosen | Listing:
    """Choose trainaug; see `voc` for where it comes from."""
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
    elif source.exists():
        if source.is_file():
            ids = _ids(source, problems)
        else:
            ids = [path.stem for path in sorted(source.glob("*.png")) if path.stem not in val]
        wanted = {name: (_official(top, name)[0], top / AUGMENTED / f"{name}.png") for name in ids}
    else:
        return Listing(top / AUGMENTED, problems=(_without_sbd(top),))
    return _Chosen(source, list(wanted.values()), [*problems, *_shared(source, wanted, val)])


def _is_own(split: str, train: str) -> bool:
    """Tell whether the list is none of VOC's; its images may have no mask."""
    return split == "train" and train not in (*OFFICIAL, "trainaug")


def _without_sbd(top: Path) -> Problem:
    given = "does not exist, and train='trainaug' needs it or SBD"
    return Problem("error", top / AUGMENTED, given, "add the folder, or pass SBD's archive as --data.args.sbd DIR")


def _shared(source: Path, names: Iterable[str], val: Collection[str]) -> list[Problem]:
    """Return what is wrong where a list to train on names images of val."""
    shared = [name for name in names if name in val]
    if not shared:
        return []
    given = f"names {len(shared)} images of VOC's val list, {shared[0]} the first"
    return [Problem("error", source, given, "remove them: scores on images of training mean nothing")]


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
