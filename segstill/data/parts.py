"""Data sets made of others: a part of one, several in a row, and the split into labelled and unlabelled images."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from .dataset import SegmentationDataset


class Part(SegmentationDataset):
    """Some samples of a data set, with or without their masks.

    Args:
        whole: the data set.
        indices: which samples, in this order.
        labelled: False hides the masks.
    """

    def __init__(self, whole: SegmentationDataset, indices: Sequence[int], *, labelled: bool = True):
        self.classes = whole.classes
        self.palette = whole.palette
        self._whole = whole
        self._indices = tuple(indices)
        self._labelled = labelled

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        image, mask = self._whole[self._indices[index]]
        return image, mask if self._labelled else None

    def name(self, index: int) -> str:
        """Return the name that the sample has in its own data set."""
        return self._whole.name(self._indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that the sample is read from."""
        return self._whole.files(self._indices[index])


class Joined(SegmentationDataset):
    """Data sets one after the other; classes and palette are those of the first."""

    def __init__(self, parts: Sequence[SegmentationDataset]):
        self.classes = parts[0].classes
        self.palette = parts[0].palette
        self._samples = [(part, index) for part in parts for index in range(len(part))]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        part, inner = self._samples[index]
        return part[inner]

    def name(self, index: int) -> str:
        """Return the name that the sample has in its own data set."""
        part, inner = self._samples[index]
        return part.name(inner)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that the sample is read from."""
        part, inner = self._samples[index]
        return part.files(inner)


def limit_labels(dataset: SegmentationDataset, count: int | None) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Keep the masks of a few samples, evenly spread over the data set (frames of a video are alike).

    Args:
        dataset: the labelled samples.
        count: how many keep their mask, 1 to `len(dataset)`; None keeps all.

    Returns:
        The labelled part, and the other samples without masks.

    Raises:
        ValueError: `count` is out of range.
    """
    total = len(dataset)
    count = total if count is None else count
    if total and not 1 <= count <= total:
        raise ValueError(
            f"{count} labelled images of {total}: pass --data.labelled between 1 and {total}, or leave it out"
        )
    kept = [number * total // count for number in range(count)]
    others = sorted(set(range(total)) - set(kept))
    return Part(dataset, kept), Part(dataset, others, labelled=False)
