"""Reads images and masks from files, and says which file is wrong and what to do about it."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..batch import IGNORE
from .dataset import SegmentationDataset

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MASK_SUFFIX = ".png"


class FileError(ValueError):
    """A file cannot be used; built as `FileError(file, given, remedy)`.

    A loader's worker builds it again from one text that holds its whole traceback; of that, only our sentence is kept.
    """

    def __init__(self, *parts: object):
        if len(parts) == 1 and "Original Traceback" in str(parts[0]):
            parts = (str(parts[0]).rstrip().rpartition("FileError: ")[2],)
        super().__init__(*parts)

    def __str__(self) -> str:
        file, *rest = map(str, self.args)
        return f"{file}: {'; '.join(rest)}" if rest else file


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
    """Image and mask; only those of which both exist."""
    problems: tuple[Problem, ...] = ()
    absent: bool = False
    """Whether there is no such split at all."""
    ignore: int | None = None
    """A mask value that these files use for "no label" besides 255."""


class Pairs(SegmentationDataset):
    """Image files with mask files."""

    def __init__(self, listing: Listing, classes: tuple[str, ...], palette: tuple[tuple[int, int, int], ...]):
        errors = [problem for problem in listing.problems if problem.severity == "error"]
        if errors:
            kind = ValueError if errors[0].file.exists() else FileNotFoundError
            more = f" (and {len(errors) - 1} more: `segstill check` lists them all)" if len(errors) > 1 else ""
            raise kind(f"{errors[0]}{more}")
        self.classes = classes
        self.palette = palette
        self._pairs = listing.pairs
        self._ignore = listing.ignore

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        return read_pair(*self._pairs[index], self.classes, ignore=self._ignore)

    def name(self, index: int) -> str:
        """Return the file name without suffix."""
        return self._pairs[index][0].stem

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that the sample is read from."""
        return self._pairs[index]


def read_image(path: Path) -> Tensor:
    """Read any picture as 8-bit RGB, turned upright as its EXIF tag says; transparency is dropped.

    Returns:
        (3, H, W) uint8.

    Raises:
        FileError: the file does not decode, or holds numbers without a defined brightness.
        FileNotFoundError: there is no such file.
    """
    image = _decode(path)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            given = f"is a picture in mode {image.mode!r} with values {values.min()} to {values.max()}"
            raise FileError(path, given, "save it with 8 bits per channel")
        image = Image.fromarray((values >> 8).astype(np.uint8))  # PIL itself would cut 16 bits off at 255
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def read_mask(path: Path, classes: Sequence[str], *, ignore: int | None = None) -> Tensor:
    """Read class ids from a gray or palette picture; a palette's indices are the ids, its colours do not matter.

    Args:
        path: the file.
        classes: names; the ids 0 to `len(classes) - 1` and 255 are allowed.
        ignore: one more value that means 255.

    Returns:
        (H, W) uint8.

    Raises:
        FileError: the file does not decode, has several channels or 16 bits, or holds other values.
        FileNotFoundError: there is no such file.
    """
    image = _decode(path)
    if image.mode not in ("L", "P", "1"):
        kind = "16-bit" if image.mode.startswith("I") else f"{len(image.getbands())}-channel"
        given = f"is a {kind} picture (mode {image.mode!r}), expected a mask with one 8-bit channel of class ids"
        raise FileError(path, given, "save class ids 0, 1, 2, ... as an 8-bit gray or palette PNG, 255 for no label")
    mask = np.array(image, dtype=np.uint8)
    if ignore is not None:
        mask[mask == ignore] = IGNORE
    outside = (mask >= len(classes)) & (mask != IGNORE)
    if outside.any():
        values, counts = np.unique(mask[outside], return_counts=True)
        found = ", ".join(f"{value} ({count} pixels)" for value, count in zip(values[:8], counts[:8], strict=True))
        found += f" and {len(values) - 8} more values" if len(values) > 8 else ""
        raise FileError(
            path,
            f"holds the value {found}, expected 0 to {len(classes) - 1} for the {len(classes)} classes"
            f" {_shortened(classes)}, or 255 for no label",
            "correct the mask or the list of classes; `segstill check` lists every such file",
        )
    return torch.from_numpy(mask)


def read_pair(
    image_path: Path, mask_path: Path, classes: Sequence[str], *, ignore: int | None = None
) -> tuple[Tensor, Tensor]:
    """Read an image (3, H, W) uint8 and its mask (H, W) uint8; raises like `read_image` and `read_mask`."""
    image, mask = read_image(image_path), read_mask(mask_path, classes, ignore=ignore)
    same_size(image_path, image, mask_path, mask)
    return image, mask


def same_size(image_path: Path, image: Tensor, mask_path: Path, mask: Tensor) -> None:
    """Raise FileError unless the mask (H, W) fits the image (3, H, W)."""
    if image.shape[1:] != mask.shape:
        (height, width), (mask_height, mask_width) = image.shape[1:], mask.shape
        given = f"is {mask_width} x {mask_height} pixels, but its image {image_path} is {width} x {height}"
        raise FileError(mask_path, given, "draw the mask at the image's size (after its EXIF rotation)")


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


def _decode(path: Path) -> Image.Image:
    """Open and decode the whole file; what the decoders raise becomes one kind of error that names the file."""
    try:
        with path.open("rb") as stream:
            image = Image.open(stream)
            image.load()
    except FileNotFoundError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        given = "is empty" if path.is_file() and path.stat().st_size == 0 else f"does not decode ({error})"
        raise FileError(path, given, "replace the file; `segstill check` lists every such file") from error
    return image


def _by_stem(folder: Path, suffixes: tuple[str, ...], kind: str) -> tuple[dict[str, Path], list[Problem]]:
    if not folder.is_dir():
        given = "is a file, expected a folder" if folder.exists() else "does not exist"
        return {}, [Problem("error", folder, given, "correct the path or make the folder")]
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_file() or path.suffix.lower() not in suffixes:
            given = f"is not {kind} ({' '.join(suffixes)}) and is not read"
            problems.append(Problem("warning", path, given, "convert it or move it elsewhere"))
        elif path.stem in found:
            given = f"has the same name as {found[path.stem].name}, so a mask cannot be matched"
            problems.append(Problem("error", path, given, "rename or remove one of the two"))
        else:
            found[path.stem] = path
    if not found:
        given = f"holds no file that is {kind} ({' '.join(suffixes)})"
        problems.append(Problem("error", folder, given, "put the files there or correct the path"))
    return found, problems


def _shortened(classes: Sequence[str]) -> str:
    names = list(classes) if len(classes) <= 12 else [*classes[:11], "...", classes[-1]]
    return f"({', '.join(names)})"
