"""Reads every file of a data set and names every problem, each with the file, what is wrong and what to do."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..batch import IGNORE
from ..recipe import DataSpec
from .camvid import CLASSES as CAMVID_CLASSES
from .camvid import camvid_files
from .dataset import SegmentationDataset
from .files import SPLITS, FileError, Listing, Problem, image_files, read_image, read_mask, same_size
from .folder import folder_files

Progress = Callable[[int, int], None]
"""Called with the number of samples read and the number of all."""


@dataclass(frozen=True)
class Summary:
    """What one split holds."""

    images: int
    """Readable images with a readable mask."""
    frequencies: dict[str, float]
    """Share of the labelled pixels per class; they sum to 1, or are all 0 without a labelled pixel."""
    unlabelled_pixels: float
    """Share of all pixels that have no label (255)."""


@dataclass(frozen=True)
class Examination:
    """What reading a whole data set shows."""

    problems: list[Problem] = field(default_factory=list)
    splits: dict[str, Summary] = field(default_factory=dict)
    unlabelled_images: int = 0
    """Readable images in the folder of images without masks."""

    def __str__(self) -> str:
        """Tell the numbers, a line per split and its classes; the problems speak for themselves."""
        lines = []
        for split, summary in self.splits.items():
            shares = ", ".join(f"{name} {share:.1%}" for name, share in summary.frequencies.items())
            without = f"{summary.unlabelled_pixels:.1%} of the pixels without label"
            lines += [f"{split}: {summary.images} images, {without}", f"  {shares}"]
        if self.unlabelled_images:
            lines.append(f"unlabelled: {self.unlabelled_images} images")
        errors = sum(problem.severity == "error" for problem in self.problems)
        return "\n".join([*lines, f"{errors} errors, {len(self.problems) - errors} warnings"])


@dataclass(frozen=True)
class _Reading:
    """What reading one sample shows."""

    file: Path
    problems: tuple[Problem, ...] = ()
    counts: Tensor | None = None
    """(256,) pixels per mask value, where image and mask are fine."""
    digest: bytes = b""
    """Of the image file; files with the same one are the same picture."""


def check(spec: DataSpec, progress: Progress | None = None) -> list[Problem]:
    """Read every file of a data set and name every problem; an empty list means that all is well.

    Raises:
        ValueError: the spec itself cannot be right: no root, no classes, an argument that does not exist.
    """
    return examine(spec, progress).problems


def examine(spec: DataSpec, progress: Progress | None = None) -> Examination:
    """Do what `check` does, and count images and classes on the way.

    Args:
        spec: the data set; the folder of unlabelled images is read too.
        progress: called now and then, from this thread.
    """
    from . import open_dataset, validate  # here, because the table of data sets stands above this module

    validate(spec)
    listings, drawn = _listings(spec), {}
    if listings:
        classes = spec.classes if spec.name == "folder" else CAMVID_CLASSES
    else:
        drawn = {split: open_dataset(spec, split) for split in SPLITS}
        classes = drawn["train"].classes
    result = Examination()
    jobs: list[tuple[str, Callable[[], _Reading]]] = []
    for split, listing in listings.items():
        if not (listing.absent and split == "test"):  # nobody needs it for training
            result.problems.extend(listing.problems)
        jobs += [(split, partial(_read, *pair, classes, listing.ignore)) for pair in listing.pairs]
    for split, dataset in drawn.items():
        jobs += [(split, partial(_draw, dataset, index)) for index in range(len(dataset))]
    if spec.unlabelled is not None:
        images, problems = image_files(Path(spec.unlabelled))
        result.problems.extend(problems)
        jobs += [("unlabelled", partial(_read, path, None, classes, None)) for path in images.values()]

    readings: dict[str, list[_Reading]] = {}
    with ThreadPoolExecutor(max(1, spec.workers)) as pool:
        for done, reading in enumerate(pool.map(lambda job: job[1](), jobs), 1):
            readings.setdefault(jobs[done - 1][0], []).append(reading)
            result.problems.extend(reading.problems)
            if progress:
                progress(done, len(jobs))

    result.problems.extend(_repeated(readings))
    unlabelled = readings.pop("unlabelled", [])
    for split, found in readings.items():
        counted = [reading.counts for reading in found if reading.counts is not None]
        if counted:
            pixels = torch.stack(counted).sum(dim=0)
            result.splits[split] = _summary(len(counted), pixels, classes)
            source = listings[split].source if listings else Path(spec.name)
            result.problems.extend(_never_seen(source, split, pixels, classes))
    fine = sum(not reading.problems for reading in unlabelled)
    once = list(dict.fromkeys(result.problems))  # splits that share a folder see the same problems
    return Examination(once, result.splits, fine)


def _listings(spec: DataSpec) -> dict[str, Listing]:
    """Return the files of each split; empty for data sets that are not read from files."""
    root = Path(spec.root or "")
    if spec.name == "camvid":
        return {split: camvid_files(root, split) for split in SPLITS}
    if spec.name == "folder":
        names = {name: str(value) for name, value in spec.args.items()}
        return {split: folder_files(root, split, **names) for split in SPLITS}
    return {}


def _read(image_path: Path, mask_path: Path | None, classes: tuple[str, ...], ignore: int | None) -> _Reading:
    """Read one sample fully; image and mask are judged apart, so that both may be wrong."""
    problems, image, mask = [], None, None
    try:
        image = read_image(image_path)
    except (FileError, OSError) as error:
        problems.append(_problem(image_path, error))
    try:
        mask = read_mask(mask_path, classes, ignore=ignore) if mask_path else None
    except (FileError, OSError) as error:
        problems.append(_problem(mask_path or image_path, error))
    if image is not None and mask is not None and mask_path:
        try:
            same_size(image_path, image, mask_path, mask)
        except FileError as error:
            problems.append(_problem(mask_path, error))
    counts = _counts(mask) if mask is not None and not problems else None
    digest = hashlib.blake2b(image_path.read_bytes()).digest() if image is not None else b""
    return _Reading(image_path, tuple(problems), counts, digest)


def _draw(dataset: SegmentationDataset, index: int) -> _Reading:
    mask = dataset[index][1]
    return _Reading(Path(dataset.name(index)), counts=_counts(mask) if mask is not None else None)


def _problem(file: Path, error: Exception) -> Problem:
    if isinstance(error, FileError):
        return Problem("error", *error.args)
    return Problem("error", file, f"cannot be read ({error})", "look after the file and its access rights")


def _counts(mask: Tensor) -> Tensor:
    return torch.bincount(mask.flatten().long(), minlength=256)


def _summary(images: int, pixels: Tensor, classes: tuple[str, ...]) -> Summary:
    labelled = pixels[: len(classes)].double()
    shares = (labelled / labelled.sum().clamp(min=1)).tolist()
    ignored = (pixels[IGNORE] / pixels.sum().clamp(min=1)).item()
    return Summary(images, dict(zip(classes, shares, strict=True)), ignored)


def _never_seen(source: Path, split: str, pixels: Tensor, classes: tuple[str, ...]) -> Iterator[Problem]:
    for label, name in enumerate(classes):
        if not pixels[label]:
            effect = "it cannot be learnt" if split == "train" else "it has no score there"
            given = f"class {label} ({name}) never occurs in the {split} split, so {effect}"
            yield Problem("warning", source, given, "add images that show it, or leave the class out")


def _repeated(readings: dict[str, list[_Reading]]) -> Iterator[Problem]:
    """Name pictures that occur twice: a score on pictures that were trained on means nothing."""
    seen: dict[bytes, tuple[str, Path]] = {}
    for split, found in readings.items():
        for reading in found:
            if not reading.digest:
                continue
            first_split, first = seen.setdefault(reading.digest, (split, reading.file))
            if first_split != split:
                given = f"({split}) is the same picture as {first} ({first_split})"
                yield Problem("error", reading.file, given, "keep it in one of the two")
            elif first != reading.file:
                given = f"is the same picture as {first}, so it counts twice in the {split} split"
                yield Problem("warning", reading.file, given, "remove one of the two")
