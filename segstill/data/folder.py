"""Your own images and masks: two folders of files that go by the same names."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from .dataset import SegmentationDataset
from .files import (
    IMAGE_SUFFIXES,
    MASK_SUFFIX,
    SPLITS,
    Listing,
    Pairs,
    Problem,
    colours,
    image_files,
    mask_files,
    nothing,
    png_masks,
    sound,
)
from .pictures import read_image

VALIDATION_SHARE = 0.2
TABLE = "tags.csv"


def folder(
    root: str | Path, split: str, *, classes: tuple[str, ...], images: str = "images", masks: str = "masks"
) -> SegmentationDataset:
    """Open a folder of images and masks.

    The split is taken from the first of these that is there:

    1. folders: `root/images/train/a.jpg` with `root/masks/train/a.png`, the same for val and test; a list
       `root/train.txt` may then name a part of them;
    2. lists: `root/images/a.jpg` with `root/masks/a.png`, and `root/train.txt` with one name (without suffix) per
       line, the same for val and test;
    3. neither: one image in five, those whose names have the lowest hash, is for validation, the rest for training.
       The same files always give the same split; write lists to fix it while you add files.

    Images with tags in place of masks are opened by `folder_tagged`.

    Args:
        root: the folder.
        split: train, val or test.
        classes: names in the order of the mask values; 1 to 255 of them.
        images: name of the folder of images below `root` (jpg, jpeg, png, bmp, webp, tif, tiff).
        masks: name of the folder of masks below `root` (PNG; gray or palette, 8 bits, 255 for no label).

    Raises:
        FileNotFoundError: a folder, a listed image or a mask is missing.
        ValueError: classes are missing or twice there, a folder is empty, two images or none go with a mask, or the
            split does not exist.
    """
    return sound(folder_files(root, split, classes=classes, images=images, masks=masks))


def folder_files(
    root: str | Path, split: str, *, classes: tuple[str, ...], images: str = "images", masks: str = "masks"
) -> Pairs:
    """Open it without complaint about its files; raises ValueError for the classes as `folder` does."""
    check_names(classes)
    listing = _listing(Path(root), split, images, masks)
    return Pairs(listing, classes, colours(len(classes)), png_masks(classes), upright=True)


def check_names(classes: tuple[str, ...]) -> None:
    """Raise ValueError unless there are 1 to 255 different names."""
    if not 1 <= len(classes) <= 255 or len(set(classes)) != len(classes):
        twice = sorted({name for name in classes if classes.count(name) > 1})
        given = f"hold {twice} more than once" if twice else f"are {len(classes)}"
        raise ValueError(
            f"classes {given}, expected 1 to 255 different names in the order of the mask values:"
            " correct --data.classes"
        )


class Images(SegmentationDataset):
    """The images of one plain folder, without masks.

    Args:
        root: the folder; subfolders are not entered.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no image, or two of one name.
    """

    classes = ()
    palette = ()

    def __init__(self, root: str | Path):
        found, problems = image_files(Path(root))
        for problem in problems:
            if problem.severity == "error":
                raise (ValueError if problem.file.exists() else FileNotFoundError)(str(problem))
        self._paths = tuple(found.values())

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        return read_image(self._paths[index]), None

    def name(self, index: int) -> str:
        """Return the file name without suffix."""
        return self._paths[index].stem

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that the sample is read from."""
        return (self._paths[index],)


class Chosen(NamedTuple):
    """The images of a split."""

    folder: Path
    """Of the images."""
    source: Path
    """The folder or the list that names them."""
    found: dict[str, Path]
    """All images of the folder by name."""
    wanted: list[str]
    """Which of them are in the split."""
    problems: list[Problem]


def choose(
    root: Path, split: str, images: str, find: Callable[[Path], tuple[dict[str, Path], list[Problem]]] = image_files
) -> Chosen | Listing:
    """Choose the images of a split as `folder` says; a `Listing` where there is no such split.

    Args:
        root: the folder.
        split: train, val or test.
        images: name of the folder of images.
        find: returns the images of a folder by name, and what is wrong in it.
    """
    if not root.is_dir():
        return nothing(root, "does not exist", "point --data.root at the folder that holds images and masks")
    image_folder, names = root / images, root / f"{split}.txt"
    has_folders = any((image_folder / name).is_dir() for name in SPLITS)
    has_lists = any((root / f"{name}.txt").is_file() for name in SPLITS)
    if has_folders:
        image_folder = image_folder / split
    if (has_folders and not image_folder.is_dir()) or (has_lists and not has_folders and not names.is_file()):
        missing = image_folder if has_folders else names
        return nothing(missing, "does not exist", f"make it, or do without the {split} split")
    if not has_folders and not has_lists and split == "test":
        given = "has neither split folders nor lists, so there are only train and val (a fifth of the images)"
        return nothing(root, given, f"make {images}/test (and its masks), or write train.txt, val.txt, test.txt")
    found, problems = find(image_folder)
    if not found:
        return Chosen(image_folder, image_folder, {}, [], problems)
    if names.is_file():
        wanted, list_problems = _listed(names, found, image_folder)
        return Chosen(image_folder, names, found, wanted, [*problems, *list_problems])
    wanted = list(found)
    if not has_folders:
        by_hash = sorted(found, key=lambda stem: hashlib.blake2b(stem.encode()).digest())
        count = max(1, round(len(by_hash) * VALIDATION_SHARE))
        chosen = set(by_hash[:count] if split == "val" else by_hash[count:])
        wanted = [stem for stem in found if stem in chosen]
    return Chosen(image_folder, image_folder, found, wanted, problems)


def none_wanted(chosen: Chosen, split: str) -> list[Problem]:
    """Return what is wrong where a split has no image."""
    if chosen.wanted:
        return []
    return [Problem("error", chosen.source, f"names no image for the {split} split", "add images")]


def _listing(root: Path, split: str, images: str, masks: str) -> Listing:
    chosen = choose(root, split, images)
    if isinstance(chosen, Listing):
        return chosen
    mask_folder = root / masks / chosen.folder.relative_to(root / images)
    drawn, mask_problems = mask_files(mask_folder)
    if not chosen.found or not mask_folder.is_dir():  # nothing can match, so one sentence is enough
        errors = [problem for problem in (*chosen.problems, *mask_problems) if problem.severity == "error"]
        if chosen.found and (root / TABLE).is_file():
            remedy = f"make the folder; to use {TABLE} alone, train on tags (and check with --tags)"
            errors = [Problem("error", mask_folder, mask_problems[0].given, remedy)]
        return Listing(chosen.folder, problems=tuple(errors))
    problems = [*chosen.problems, *(problem for problem in mask_problems if problem.file != mask_folder)]
    problems += [
        Problem("error", path, f"has no image of its name in {chosen.folder}", "add the image or remove the mask")
        for stem, path in drawn.items()
        if stem not in chosen.found
    ]
    problems += [
        Problem(
            "error",
            mask_folder / f"{stem}{MASK_SUFFIX}",
            f"is missing, the mask of {chosen.found[stem]}",
            "add the mask, or move the image to a folder of its own and pass that as --data.unlabelled",
        )
        for stem in chosen.wanted
        if stem not in drawn
    ]
    pairs = tuple((chosen.found[stem], drawn[stem]) for stem in chosen.wanted if stem in drawn)
    return Listing(chosen.source, pairs, (*problems, *none_wanted(chosen, split)))


def _listed(names: Path, found: dict[str, Path], image_folder: Path) -> tuple[list[str], list[Problem]]:
    """Return the stems that a list names and that exist; file names with their suffix are understood too."""
    by_name = {Path(stem).with_name(path.name).as_posix(): stem for stem, path in found.items()}
    wanted: dict[str, None] = {}
    problems: list[Problem] = []
    for line in filter(None, map(str.strip, names.read_text().splitlines())):
        stem = line if line in found else by_name.get(line)
        if stem is None:
            path = image_folder / (line if line.lower().endswith(IMAGE_SUFFIXES) else f"{line}.jpg")
            given = f"is missing (in any of {' '.join(IMAGE_SUFFIXES)}), though {names} names {line!r}"
            problems.append(Problem("error", path, given, "add the image or remove the line"))
        elif stem in wanted:
            problems.append(Problem("error", names, f"names {line!r} twice", "remove one of the lines"))
        else:
            wanted[stem] = None
    return list(wanted), problems
