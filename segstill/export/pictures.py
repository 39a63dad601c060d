"""The real images that a file is compared, timed and calibrated on."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from ..build import Saved
from ..data import choose_split, open_dataset
from ..data.dataset import SegmentationDataset
from ..data.transforms import shrink
from .about import About


class Pictures:
    """Images as the network is to see them, read by their number."""

    def __init__(self, dataset: SegmentationDataset, about: About):
        self.dataset, self._about = dataset, about

    def chosen(self, count: int) -> list[int]:
        """Return numbers spread over the whole."""
        total = len(self.dataset)
        return [place * total // min(count, total) for place in range(min(count, total))]

    def __call__(self, index: int) -> Tensor:
        """Return (1, 3, H, W) uint8, of a size that the file takes."""
        image = shrink(self.dataset.image(index), self._about.longest_side, self._about.short_side)[None]
        if self._about.size and tuple(image.shape[2:]) != self._about.size:
            image = F.interpolate(image.float(), self._about.size, mode="bilinear", antialias=True)
            image = image.round().clamp(0, 255).to(torch.uint8)
        return image.contiguous()


def open_split(saved: Saved, split: str, root: str | None) -> SegmentationDataset | None:
    """Return the train or val split (test where there is no val) of a student's data; None where it is not there."""
    if saved.recipe is None:
        return None
    data = dataclasses.replace(saved.recipe.data, root=root or saved.recipe.data.root)
    other = {"val": "test", "train": "train"}[split]
    try:
        dataset = open_dataset(data, choose_split(data, split, other, say=lambda sentence: None))
    except (ValueError, OSError):
        return None
    return dataset if len(dataset) else None


def needed(dataset: SegmentationDataset | None, saved: Saved) -> SegmentationDataset:
    """Raise ValueError where there is no data set."""
    if dataset is None:
        root = saved.recipe.data.root if saved.recipe else None
        raise ValueError(
            f"there are no images to compare the file with the network on (data of {saved.file}: {root}): give the "
            "folder of the data set with --data.root DIR, or some images with --images DIR"
        )
    return dataset
