"""Loaders that give every image once, whole, to score or to look at."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypedDict, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .dataset import SegmentationDataset
from .transforms import check_sides, shrink

Sample = TypeVar("Sample")
About = TypeVar("About")


class EvaluationSample(TypedDict):
    """One image to predict and the mask to compare with."""

    image: Tensor
    """(1, 3, h, w) uint8."""
    mask: Tensor
    """(1, H, W) uint8 at the label's full size."""
    index: int
    """Its number in the data set."""


class TagSample(TypedDict):
    """One image to predict and the tags to compare with."""

    image: Tensor
    """(1, 3, h, w) uint8."""
    tags: Tensor
    """(1, K) float in {0, 1}."""
    index: int
    """Its number in the data set."""


class Singly(Dataset[Sample]):
    """Samples made from one image each, by its number."""

    def __init__(self, make: Callable[[int], Sample]):
        self._make = make

    def __getitem__(self, index: int) -> Sample:
        return self._make(index)


def evaluation_loader(
    dataset: SegmentationDataset,
    *,
    longest_side: int | None = None,
    short_side: int | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[EvaluationSample]:
    """Load one `EvaluationSample` at a time.

    Args:
        dataset: images with masks.
        longest_side: larger images are shrunk to it; the masks are not.
        short_side: or all images are resized to it.
        workers: processes that read images.
        rank: number of this process.
        world_size: number of processes; each gets every `world_size`-th image, so none is missing or counted twice.

    Raises:
        ValueError: a side is below 1, or both are given.
    """
    check_sides(longest_side, short_side)
    make = partial(_with_mask, dataset, longest_side, short_side)
    return _load(make, range(rank, len(dataset), world_size), workers)


def tag_loader(
    dataset: SegmentationDataset,
    *,
    longest_side: int | None = None,
    short_side: int | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[TagSample]:
    """Load one `TagSample` at a time; see `evaluation_loader` for the arguments.

    A file that cannot be read raises `FileError` in its turn; whoever goes on gets the next image.
    """
    check_sides(longest_side, short_side)
    make = partial(_with_tags, dataset, longest_side, short_side)
    return _load(make, range(rank, len(dataset), world_size), workers)


def _load(make: Callable[[int], Sample], indices: range, workers: int) -> DataLoader[Sample]:
    return DataLoader(
        Singly(make),
        batch_size=None,
        sampler=indices,
        collate_fn=_as_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _with_mask(
    dataset: SegmentationDataset, longest_side: int | None, short_side: int | None, index: int
) -> EvaluationSample:
    image, mask = dataset[index]
    if mask is None:
        raise ValueError(f"image {dataset.name(index)!r} has no mask to compare with: choose a labelled split")
    return {"image": shrink(image, longest_side, short_side).contiguous()[None], "mask": mask[None], "index": index}


def _with_tags(dataset: SegmentationDataset, longest_side: int | None, short_side: int | None, index: int) -> TagSample:
    image = dataset.image(index)
    tags = dataset.tags(index)
    if tags is None:
        raise ValueError(f"image {dataset.name(index)!r} has no tags: open the data set with open_tagged")
    return {"image": shrink(image, longest_side, short_side).contiguous()[None], "tags": tags[None], "index": index}


def by_size(samples: Iterable[tuple[About, Tensor]], batch: int) -> Iterator[tuple[list[About], Tensor]]:
    """Collect images of one size, and what goes with each; at most four times `batch` wait for others of theirs.

    Args:
        samples: anything, and an image (C, H, W).
        batch: images at once, at most.

    Yields:
        What goes with the images, and the images (N, C, H, W).
    """
    waiting: dict[torch.Size, list[tuple[About, Tensor]]] = {}

    def take(size: torch.Size) -> tuple[list[About], Tensor]:
        about, images = zip(*waiting.pop(size), strict=True)
        return list(about), torch.stack(images)

    for about, image in samples:
        waiting.setdefault(image.shape, []).append((about, image))
        if len(waiting[image.shape]) == batch:
            yield take(image.shape)
        elif sum(map(len, waiting.values())) > 4 * batch:
            yield take(max(waiting, key=lambda each: len(waiting[each])))
    while waiting:
        yield take(next(iter(waiting)))


def _as_is(sample: Any) -> Any:
    return sample
