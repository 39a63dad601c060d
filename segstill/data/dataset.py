"""The one interface to every data set: numbered samples, each an image and, where there are any, a mask or tags."""

from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset


class SegmentationDataset(Dataset[tuple[Tensor, Tensor | None]], ABC):
    """Images with masks or with tags, unaugmented; the same number always gives the same sample."""

    classes: tuple[str, ...]
    """Class names; a mask value is an index into it, or 255.  Where there are tags, the first is "background"."""
    palette: tuple[tuple[int, int, int], ...]
    """An RGB colour per class."""
    rimmed: bool = False
    """Whether masks leave a rim of 255 between classes, so that no boundary can be compared."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]:
        """Return the image (3, H, W) uint8 RGB and the mask (H, W) uint8, None where the image has no mask."""

    def image(self, index: int) -> Tensor:
        """Return the image (3, H, W) uint8 RGB alone."""
        return self[index][0]

    def tags(self, index: int) -> Tensor | None:  # noqa: ARG002
        """Return the image-level labels: (len(classes) - 1,) float in {0, 1}, item k for class k + 1.

        None where the data set was opened for its masks; see `open_tagged`.
        """
        return None

    @abstractmethod
    def name(self, index: int) -> str:
        """A name for the sample, for messages and pictures."""

    def files(self, index: int) -> tuple[Path, ...]:  # noqa: ARG002
        """The files that the sample is read from; none when it is drawn."""
        return ()
