"""Training batches that depend on the seed and the step only, not on workers, processes or where a run was resumed.

Give the loader to the loop as it is: it already holds one process's share of each batch, so nothing (such as
`accelerate.prepare`) may divide it again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..batch import IGNORE, Batch
from ..recipe import DataSpec
from .dataset import SegmentationDataset
from .transforms import Augment, augmentation


@dataclass(frozen=True)
class Draw:
    """One sample of a batch."""

    index: int
    """Which sample of its data set."""
    seed: int
    """Seed of its augmentation."""
    labelled: bool
    """Whether it is from the labelled or from the unlabelled data set."""


class Draws(Sampler[list[Draw]]):
    """The draws of each step.

    Labelled samples come from an endless stream: one random order of the data set after the other, `batch_size` per
    step, so no sample is dropped at the end of a pass.  Unlabelled ones come from a stream of their own.  Each process
    takes a contiguous share of both.
    """

    def __init__(
        self,
        *,
        labelled: int,
        unlabelled: int,
        batch_size: int,
        unlabelled_size: int,
        first_step: int,
        steps: int,
        seed: int,
        rank: int,
        world_size: int,
    ):
        self._steps = range(first_step, steps)
        self._seed = seed
        self._streams = []  # kind, samples in the data set, samples per step, this process's part of them
        for kind, total, size in (("labelled", labelled, batch_size), ("unlabelled", unlabelled, unlabelled_size)):
            share = size // world_size
            self._streams.append((kind, total, size, range(rank * share, (rank + 1) * share)))

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in self._steps:
            yield [
                self._draw(kind, total, step * size + place)
                for kind, total, size, share in self._streams
                for place in share
            ]

    def _draw(self, kind: str, total: int, position: int) -> Draw:
        order = _order(total, _mix(self._seed, kind, "order", position // total))
        return Draw(order[position % total], _mix(self._seed, kind, "sample", position), kind == "labelled")


class Samples(Dataset[Batch]):
    """Augmented samples of a labelled and an unlabelled data set, by draw."""

    def __init__(self, labelled: SegmentationDataset, unlabelled: SegmentationDataset | None, augment: Augment):
        self._labelled = labelled
        self._unlabelled = unlabelled
        self._augment = augment

    def __getitem__(self, draw: Draw) -> Batch:
        dataset = self._labelled if draw.labelled or self._unlabelled is None else self._unlabelled
        image, mask = dataset[draw.index]
        tags = dataset.tags(draw.index) if draw.labelled else None
        if draw.labelled and mask is None and tags is None:
            raise ValueError(f"image {dataset.name(draw.index)!r} has no mask: give it one, or pass it as unlabelled")
        if mask is None or not draw.labelled:
            mask = torch.zeros(image.shape[1:], dtype=torch.uint8)  # becomes 255 only where the crop is padded
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(draw.seed)  # torch.manual_seed would reseed the GPU too
            image, mask = self._augment(image, mask)
        valid = mask != IGNORE
        if tags is not None:  # and no mask: a loss that needs one shall not find one without a label
            return {"image": image.contiguous(), "valid": valid, "tags": tags}
        if not draw.labelled:
            mask = torch.full_like(mask, IGNORE)
        return {"image": image.contiguous(), "mask": mask, "valid": valid}


def training_loader(
    labelled: SegmentationDataset,
    unlabelled: SegmentationDataset | None,
    spec: DataSpec,
    *,
    batch_size: int,
    steps: int,
    first_step: int = 0,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Batch]:
    """Load augmented batches: image uint8 (N, 3, h, w), mask uint8 (N, h, w), valid bool (N, h, w).

    Of images with tags there is no mask, but tags float (N, K), and all pixels are valid but the padding.

    Everything stays in bytes on its way through worker processes, pinned memory and to the device; networks and losses
    turn it into the numbers that they need.

    The labelled images come first, then `round(batch_size * spec.unlabelled_ratio)` unlabelled ones, whose mask is all
    255 and which are valid wherever they are not padding.

    Args:
        labelled: images with masks, or with tags.
        unlabelled: further images, whose masks are not used; None for none, as it must be beside tags.
        spec: augmentation, ratio and number of workers.
        batch_size: labelled images per step, over all processes.
        steps: steps of the whole run; the loader ends after step `steps - 1`.
        first_step: steps already done; the batches are those that an uninterrupted run would get from there.
        seed: of order and augmentation.
        rank: number of this process.
        world_size: number of processes; their shares together are the batch of a single process.

    Raises:
        ValueError: a number is out of range, a data set is empty, or the processes cannot share a batch evenly.
    """
    if not len(labelled):
        raise ValueError("there are no labelled training images: add images with masks, or with tags")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: pass 1 or more")
    if spec.unlabelled_ratio < 0:
        raise ValueError(f"unlabelled_ratio is {spec.unlabelled_ratio}: pass 0 or more as --data.unlabelled-ratio")
    unlabelled_size = round(batch_size * spec.unlabelled_ratio) if unlabelled is not None else 0
    if unlabelled is not None and not len(unlabelled):
        raise ValueError("the set of unlabelled images is empty: add images or leave it out")
    if unlabelled is not None and spec.unlabelled_ratio > 0 and not unlabelled_size:
        raise ValueError(
            f"{spec.unlabelled_ratio} unlabelled images per labelled one are none in a batch of {batch_size}:"
            " raise --data.unlabelled-ratio or --batch-size"
        )
    if unlabelled_size and labelled.tags(0) is not None:
        raise ValueError("images with tags and images without any share no batch: leave out --data.unlabelled")
    for size, what in ((batch_size, "labelled"), (unlabelled_size, "unlabelled")):
        if size % world_size:
            raise ValueError(
                f"{size} {what} images per step cannot be shared evenly by {world_size} processes:"
                f" choose --batch-size (and --data.unlabelled-ratio) so that both are multiples of {world_size}"
            )
    draws = Draws(
        labelled=len(labelled),
        unlabelled=len(unlabelled) if unlabelled is not None else 0,
        batch_size=batch_size,
        unlabelled_size=unlabelled_size,
        first_step=first_step,
        steps=steps,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    return DataLoader(
        Samples(labelled, unlabelled, augmentation(spec)),
        batch_sampler=draws,
        num_workers=spec.workers,
        persistent_workers=spec.workers > 0,
        prefetch_factor=4 if spec.workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else starting an iteration would draw from the global generator
    )


@lru_cache(maxsize=4)
def _order(total: int, seed: int) -> list[int]:
    """A random order of `total` samples; kept, because the draws of one pass ask for the same one."""
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()


def _mix(*parts: int | str) -> int:
    """Turn numbers and words into a seed; similar ones give unrelated seeds, equal ones the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
