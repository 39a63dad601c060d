"""Reads every file of a data set and names every problem, each with the file, what is wrong and what to do."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..batch import IGNORE
from ..recipe import DataSpec
from .dataset import SegmentationDataset
from .files import SPLITS, Files, Pairs, Problem, image_files
from .pictures import FileError, read_image, same_size

UNLABELLED = "unlabelled"
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

    def told(self, split: str) -> list[str]:
        """Tell the numbers, and the classes in a second line."""
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.frequencies.items())
        return [
            f"{split}: {self.images} images, {self.unlabelled_pixels:.1%} of the pixels without label",
            f"  {shares}",
        ]


@dataclass(frozen=True)
class TagSummary:
    """What one split holds where the labels are tags."""

    images: int
    """Readable images with tags."""
    counts: dict[str, int]
    """Images per class; those of the background show none of the others."""

    def told(self, split: str) -> list[str]:
        """Tell the numbers, and the classes in a second line."""
        first, *others = self.counts
        mean = sum(self.counts[name] for name in others) / self.images
        only = f", {self.counts[first]} of them {first} alone" if self.counts[first] else ""
        counts = ", ".join(f"{name} {self.counts[name]}" for name in others)
        return [f"{split}: {self.images} images with tags{only}, {mean:.2f} classes per image", f"  {counts}"]


@dataclass(frozen=True)
class Examination:
    """What reading a whole data set shows."""

    problems: list[Problem] = field(default_factory=list)
    splits: dict[str, Summary | TagSummary] = field(default_factory=dict)
    unlabelled_images: int = 0
    """Readable images in the folder of images without masks."""

    def __str__(self) -> str:
        """Tell the numbers, a line per split and its classes; the problems speak for themselves."""
        lines = [line for split, summary in self.splits.items() for line in summary.told(split)]
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
    """(256,) pixels per mask value, or images per class, where image and label are fine."""
    digest: bytes = b""
    """Of the image file; files with the same one are the same picture."""


def check(spec: DataSpec, progress: Progress | None = None, *, tags: bool = False) -> list[Problem]:
    """Read every file of a data set and name every problem; an empty list means that all is well.

    See `examine` for the arguments.

    Raises:
        ValueError: the spec itself cannot be right: no root, no classes, an argument that does not exist.
    """
    return examine(spec, progress, tags=tags).problems


def examine(spec: DataSpec, progress: Progress | None = None, *, tags: bool = False) -> Examination:
    """Do what `check` does, and count images and classes on the way.

    Args:
        spec: the data set; the folder of unlabelled images is read too.
        progress: called now and then, from this thread.
        tags: look at the image-level labels in place of the masks, and open no mask.
    """
    datasets = {split: _open(spec, split, tags=tags) for split in SPLITS}
    problems: list[Problem] = []
    sources: dict[str, Path] = {}
    deliberate: set[tuple[str, str]] = set()
    jobs: list[tuple[str, Callable[[], _Reading]]] = []
    for split, dataset in datasets.items():
        sources[split] = Path(spec.name)
        read = _draw
        if isinstance(dataset, Files):
            sources[split], read = dataset.listing.source, _read
            deliberate |= {(split, other) for other in dataset.listing.includes}
            if not (dataset.listing.absent and split == "test"):  # nobody needs it for training
                problems += dataset.listing.problems
        jobs += [(split, partial(read, dataset, index)) for index in range(len(dataset))]
    if spec.unlabelled is not None:
        more, found = image_files(Path(spec.unlabelled))
        problems += found
        jobs += [(UNLABELLED, partial(_read_unlabelled, path)) for path in more.values()]

    seen: dict[bytes, tuple[str, Path]] = {}
    images, pixels = Counter[str](), {split: torch.zeros(256, dtype=torch.int64) for split in SPLITS}
    repeated: list[Problem] = []
    with ThreadPoolExecutor(max(1, spec.workers)) as pool:
        for (split, _), (done, reading) in zip(jobs, enumerate(pool.map(lambda job: job[1](), jobs), 1), strict=True):
            problems += reading.problems
            repeated += _repeated(seen, split, reading, deliberate)
            if reading.counts is not None:
                pixels[split] += reading.counts
            images[split] += not reading.problems
            if progress:
                progress(done, len(jobs))

    problems += repeated
    classes = datasets["train"].classes
    summaries = {}
    for split in SPLITS:
        if images[split]:
            summary = _tag_summary if tags else _summary
            summaries[split] = summary(images[split], pixels[split], classes)
            problems += _never_seen(sources[split], split, pixels[split], classes, first=int(tags))
    once = list(dict.fromkeys(problems))  # splits that share a folder see the same problems
    return Examination(once, summaries, images[UNLABELLED])


def _open(spec: DataSpec, split: str, *, tags: bool) -> SegmentationDataset:
    from . import LISTED, open_dataset, open_tagged, validate  # the tables of data sets stand above this module

    if tags:
        return open_tagged(spec, split, complain=False)
    arguments = validate(spec)
    return LISTED[spec.name](split=split, **arguments) if spec.name in LISTED else open_dataset(spec, split)


def _read(dataset: Files, index: int) -> _Reading:
    """Read one sample fully; image and label are judged apart, so that both may be wrong."""
    image_path, label_path = dataset.listing.pairs[index]
    image, image_problems = _attempt(image_path, lambda: dataset.image(index))
    label, label_problems = _attempt(label_path, lambda: _label(dataset, index))
    problems = image_problems + label_problems
    if image is not None and label is not None and isinstance(dataset, Pairs):
        try:
            same_size(image_path, image, label_path, label)
        except FileError as error:
            problems.append(Problem("error", *error.args))
    counts = _counts(label) if label is not None and not problems else None
    return _Reading(image_path, tuple(problems), counts, _digest(image_path, image))


def _read_unlabelled(path: Path) -> _Reading:
    image, problems = _attempt(path, lambda: read_image(path))
    return _Reading(path, tuple(problems), digest=_digest(path, image))


def _draw(dataset: SegmentationDataset, index: int) -> _Reading:
    return _Reading(Path(dataset.name(index)), counts=_counts(_label(dataset, index)))


def _label(dataset: SegmentationDataset, index: int) -> Tensor:
    """Return the tags, else the mask."""
    label = dataset.mask(index) if isinstance(dataset, Pairs) else dataset.tags(index)
    if label is None:
        label = dataset[index][1]
    assert label is not None  # only folders of unlabelled images have neither
    return label


def _attempt(file: Path, read: Callable[[], Tensor]) -> tuple[Tensor | None, list[Problem]]:
    try:
        return read(), []
    except FileError as error:
        return None, [Problem("error", *error.args)]
    except OSError as error:
        given = f"cannot be read ({error})"
        return None, [Problem("error", file, given, "look after the file and its access rights")]


def _digest(path: Path, image: Tensor | None) -> bytes:
    return b"" if image is None else hashlib.blake2b(path.read_bytes()).digest()


def _counts(label: Tensor) -> Tensor:
    """Count pixels per value of a mask, or one image per class of tags: the background where there is no other."""
    if label.is_floating_point():
        label = label.nonzero() + 1 if label.any() else torch.zeros(1)
    return torch.bincount(label.flatten().long(), minlength=256)


def _summary(images: int, pixels: Tensor, classes: tuple[str, ...]) -> Summary:
    labelled = pixels[: len(classes)].double()
    shares = (labelled / labelled.sum().clamp(min=1)).tolist()
    ignored = (pixels[IGNORE] / pixels.sum().clamp(min=1)).item()
    return Summary(images, dict(zip(classes, shares, strict=True)), ignored)


def _tag_summary(images: int, counts: Tensor, classes: tuple[str, ...]) -> TagSummary:
    return TagSummary(images, dict(zip(classes, counts[: len(classes)].tolist(), strict=True)))


def _never_seen(source: Path, split: str, counts: Tensor, classes: tuple[str, ...], *, first: int) -> Iterator[Problem]:
    for label, name in enumerate(classes):
        if label >= first and not counts[label]:
            effect = "it cannot be learnt" if split == "train" else "it has no score there"
            given = f"class {label} ({name}) never occurs in the {split} split, so {effect}"
            yield Problem("warning", source, given, "add images that show it, or leave the class out")


def _repeated(
    seen: dict[bytes, tuple[str, Path]], split: str, reading: _Reading, deliberate: set[tuple[str, str]]
) -> Iterator[Problem]:
    """Name a picture that occurred before: a score on pictures that were trained on means nothing."""
    if not reading.digest:
        return
    first_split, first = seen.setdefault(reading.digest, (split, reading.file))
    if (first_split, split) in deliberate and first == reading.file:
        return
    if first_split != split:
        given = f"({split}) is the same picture as {first} ({first_split})"
        yield Problem("error", reading.file, given, "keep it in one of the two")
    elif first != reading.file:
        given = f"is the same picture as {first}, so it counts twice in the {split} split"
        yield Problem("warning", reading.file, given, "remove one of the two")
