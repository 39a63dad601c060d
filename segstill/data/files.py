"""Data sets of files: which image goes with which mask or tags, and what is wrong with that."""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from torch import Tensor

from .dataset import SegmentationDataset
from .pictures import read_image, read_mask, same_size

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MASK_SUFFIX = ".png"
ONE_BY_ONE = 20
"""More problems of one kind than this become one: the folder was not extracted completely, or the table is another."""

MaskReader = Callable[[Path, Path], Tensor]
"""Reads the mask (H, W) uint8 of a sample, given the file of the mask and that of the image; raises FileError."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data."""

    severity: Literal["error", "warning"]
    """An error stops training; a warning does not."""
    file: Path
    given: str
    """What was found, and what was expected."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.given}; {self.remedy}"


@dataclass(frozen=True)
class Listing:
    """The files of one split, and what is wrong with their list before any of them is opened."""

    source: Path
    """The folder or the list that names the files."""
    pairs: tuple[tuple[Path, Path], ...] = ()
    """Image and the file that labels it, a mask or that of the tags; only those of which both exist."""
    problems: tuple[Problem, ...] = ()
    absent: bool = False
    """Whether there is no such split at all, or none with labels of this kind."""
    includes: tuple[str, ...] = ()
    """Other splits whose images this one holds on purpose."""


class Files(SegmentationDataset):
    """Image files with something that labels them, as listed; `sound` tells whether the list is right.

    Args:
        listing: the files.
        classes: names.
        palette: a colour per class.
        upright: turn images as their EXIF tag says; False where the masks follow the pixels as they are stored.
    """

    def __init__(
        self,
        listing: Listing,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        *,
        upright: bool = False,
    ):
        self.listing = listing
        self.classes = classes
        self.palette = palette
        self._upright = upright

    def __len__(self) -> int:
        return len(self.listing.pairs)

    def image(self, index: int) -> Tensor:
        """Read the image (3, H, W) uint8."""
        return read_image(self.listing.pairs[index][0], upright=self._upright)

    def name(self, index: int) -> str:
        """Return the file name without suffix."""
        return self.listing.pairs[index][0].stem

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that the sample is read from."""
        return self.listing.pairs[index]


class Pairs(Files):
    """Image files with mask files.

    Args:
        listing: the files.
        classes: names.
        palette: a colour per class.
        read_mask: reads a mask.
        upright: as for `Files`.
        rimmed: whether masks leave a rim of 255 between classes.
    """

    def __init__(
        self,
        listing: Listing,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        read_mask: MaskReader,
        *,
        upright: bool = False,
        rimmed: bool = False,
    ):
        super().__init__(listing, classes, palette, upright=upright)
        self.rimmed = rimmed
        self._read_mask = read_mask

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        image, mask = self.image(index), self.mask(index)
        image_path, mask_path = self.listing.pairs[index]
        same_size(image_path, image, mask_path, mask)
        return image, mask

    def mask(self, index: int) -> Tensor:
        """Read the mask (H, W) uint8."""
        image_path, mask_path = self.listing.pairs[index]
        return self._read_mask(mask_path, image_path)


AnyFiles = TypeVar("AnyFiles", bound=Files)


def sound(dataset: AnyFiles) -> AnyFiles:
    """Return the data set, unless something is wrong with its list.

    Raises:
        FileNotFoundError: a file or folder is missing.
        ValueError: anything else.
    """
    refuse(dataset.listing.problems)
    return dataset


def refuse(problems: Iterable[Problem]) -> None:
    """Raise the first error among the problems, if there is one; see `sound` for its kind."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        kind = ValueError if errors[0].file.exists() else FileNotFoundError
        more = f" (and {len(errors) - 1} more: `segstill check` lists them all)" if len(errors) > 1 else ""
        raise kind(f"{errors[0]}{more}")


def summed(problems: Sequence[Problem], file: Path) -> list[Problem]:
    """Return problems of one kind, or one problem about `file` in their stead where they are many."""
    if len(problems) <= ONE_BY_ONE:
        return list(problems)
    first = problems[0]
    given = f"has {len(problems)} problems of one kind, the first: {first.file.name} {first.given}"
    return [Problem(first.severity, file, given, first.remedy)]


def png_masks(classes: tuple[str, ...], meaning: Mapping[int, int] | None = None) -> MaskReader:
    """Return a reader of masks in pictures; see `read_mask` for its arguments."""
    return partial(_read_png, classes=classes, meaning=meaning)  # can be sent to worker processes, unlike a closure


def listed(
    source: Path,
    wanted: Collection[tuple[Path, Path]],
    why: str,
    problems: Iterable[Problem] = (),
    *,
    includes: tuple[str, ...] = (),
) -> Listing:
    """List the pairs of image and mask of which both exist; the others are problems.

    Args:
        source: the folder or the list that names them.
        wanted: the pairs.
        why: ends the sentence "... is missing, though ...".
        problems: those found before.
        includes: other splits whose images this one holds on purpose.
    """
    present: dict[Path, set[str]] = {}  # asking for every file by itself takes long on a network drive
    missing: dict[Path, list[Path]] = defaultdict(list)
    pairs: dict[Path, tuple[Path, Path]] = {}
    twice: list[Problem] = []
    for pair in wanted:
        for path in pair:
            if path.parent not in present:
                present[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        absent = [path for path in pair if path.name not in present[path.parent]]
        for path in absent:
            missing[path.parent].append(path)
        if pair[0] in pairs:
            twice.append(Problem("error", source, f"names {pair[0]} twice", "remove one of the lines"))
        elif not absent:
            pairs[pair[0]] = pair
    found = [*problems, *twice]
    for folder, paths in missing.items():
        if len(paths) > ONE_BY_ONE:
            given = f"lacks {len(paths)} of {len(wanted)} files, {paths[0].name} the first, though {why}"
            found.append(Problem("error", folder, given, "extract the archive again, completely"))
        else:
            given = f"is missing, though {why}"
            found += [Problem("error", path, given, "restore the file or correct the list") for path in paths]
    if not wanted and not any(problem.severity == "error" for problem in found):
        found.append(Problem("error", source, "names no image", "extract the archive again, or correct the path"))
    return Listing(source, tuple(pairs.values()), tuple(found), includes=includes)


def nothing(file: Path, given: str, remedy: str) -> Listing:
    """List nothing, because there is no such split."""
    return Listing(file, problems=(Problem("error", file, given, remedy),), absent=True)


def image_files(folder: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Return the images of a folder by stem, sorted, and what is wrong in the folder (subfolders are not entered)."""
    return _by_stem(folder, IMAGE_SUFFIXES, "an image of a kind read here")


def mask_files(folder: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Return the masks of a folder by stem, sorted, and what is wrong in the folder."""
    return _by_stem(folder, (MASK_SUFFIX,), "a PNG mask")


def colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return different RGB colours: the bits of an id spread over the channels, highest bits first; black for 0.

    Args:
        count: how many; 0 to 256.
    """
    spread = []
    for number in range(count):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        spread.append((channels[0], channels[1], channels[2]))
    return tuple(spread)


def _read_png(path: Path, _: Path, *, classes: tuple[str, ...], meaning: Mapping[int, int] | None) -> Tensor:
    return read_mask(path, classes, meaning=meaning)


def _by_stem(folder: Path, suffixes: tuple[str, ...], kind: str) -> tuple[dict[str, Path], list[Problem]]:
    if not folder.is_dir():
        given = "is a file, expected a folder" if folder.exists() else "does not exist"
        return {}, [Problem("error", folder, given, "correct the path or make the folder")]
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = folder / entry.name
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in suffixes or not entry.is_file():
            given = f"is not {kind} ({' '.join(suffixes)}) and is not read"
            problems.append(Problem("warning", path, given, "convert it or move it elsewhere"))
        elif path.stem in found:
            given = f"has the same name as {found[path.stem].name}, expected names that differ before the suffix"
            problems.append(Problem("error", path, given, "rename or remove one of the two"))
        else:
            found[path.stem] = path
    if not found:
        given = f"holds no file that is {kind} ({' '.join(suffixes)})"
        problems.append(Problem("error", folder, given, "put the files there or correct the path"))
    return found, problems
