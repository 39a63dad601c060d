"""Data sets made of others: a part of one, one with other masks, several in a row, labelled and unlabelled images."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from .dataset import SegmentationDataset
from .pictures import FileError, read_mask, same_size


class Part(SegmentationDataset):
    """Some samples of a data set, with or without their masks.

    Args:
        whole: the data set.
        indices: which samples, in this order.
        labelled: False hides the masks and the tags.
    """

    def __init__(self, whole: SegmentationDataset, indices: Sequence[int], *, labelled: bool = True):
        self.classes = whole.classes
        self.palette = whole.palette
        self.rimmed = whole.rimmed
        self._whole = whole
        self._indices = tuple(indices)
        self._labelled = labelled

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        image, mask = self._whole[self._indices[index]]
        return image, mask if self._labelled else None

    def image(self, index: int) -> Tensor:
        """Return the image (3, H, W) uint8 RGB alone."""
        return self._whole.image(self._indices[index])

    def tags(self, index: int) -> Tensor | None:
        """Return the tags, unless they are hidden with the masks."""
        return self._whole.tags(self._indices[index]) if self._labelled else None

    def name(self, index: int) -> str:
        """Return the name that the sample has in its own data set."""
        return self._whole.name(self._indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that the sample is read from."""
        return self._whole.files(self._indices[index])


class Masked(SegmentationDataset):
    """The images of a data set with the masks of a folder, such as `segstill seeds` writes, in place of its own.

    Args:
        whole: the data set; of it, only images and names are used.
        folder: holds a PNG mask `<name>.png` of the image's size; images without one are left out.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no mask of any image.
    """

    def __init__(self, whole: SegmentationDataset, folder: Path):
        self.classes = whole.classes
        self.palette = whole.palette
        self._whole = whole
        self._folder = folder
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: there is no such folder of masks; correct --data.masks")
        places = range(len(whole))
        self._indices = tuple(index for index in places if (folder / f"{whole.name(index)}.png").is_file())
        if not self._indices:
            example = f", such as {whole.name(0)}.png" if len(whole) else ""
            raise ValueError(
                f"{folder}: holds no mask of any of the {len(whole)} training images, expected <name>.png{example};"
                " correct --data.masks, or write masks with segstill seeds"
            )
        self.left_out = len(whole) - len(self._indices)
        """How many images have no mask there."""

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        image, file = self.image(index), self._mask(index)
        try:
            mask = read_mask(file, self.classes)
            same_size(next(iter(self._whole.files(self._indices[index])), Path(self.name(index))), image, file, mask)
        except FileError as error:
            remedy = "write it again with segstill seeds for these images and classes, or correct --data.masks"
            raise FileError(*error.args[:2], remedy) from error
        return image, mask

    def image(self, index: int) -> Tensor:
        """Return the image (3, H, W) uint8 RGB alone."""
        return self._whole.image(self._indices[index])

    def name(self, index: int) -> str:
        """Return the name that the sample has in its own data set."""
        return self._whole.name(self._indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the files that the sample is read from."""
        return (*self._whole.files(self._indices[index])[:1], self._mask(index))

    def _mask(self, index: int) -> Path:
        return self._folder / f"{self.name(index)}.png"


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

    def image(self, index: int) -> Tensor:
        """Return the image (3, H, W) uint8 RGB alone."""
        part, inner = self._samples[index]
        return part.image(inner)

    def tags(self, index: int) -> Tensor | None:
        """Return the tags that the sample has in its own data set."""
        part, inner = self._samples[index]
        return part.tags(inner)

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
