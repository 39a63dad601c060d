"""What a network confuses, and the images that it does worst on."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.dataset import SegmentationDataset
from ..data.transforms import shrink
from ..evaluate import predict
from ..metrics import class_iou
from .view import WorstView

WORST = 20
"""Images shown."""


class Mistakes:
    """Counts what an evaluation tells of every image; given to `evaluate` as `each`.

    Args:
        classes: K.
    """

    def __init__(self, classes: int):
        self._confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self._miou: dict[int, float] = {}

    def __call__(self, index: int, confusion: Tensor) -> None:
        """Count an image.

        Args:
            index: its number.
            confusion: (K, K) pixels, rows are the true classes.
        """
        self._confusion += confusion
        if int(confusion.sum()):
            self._miou[index] = float(class_iou(confusion).nanmean())

    @property
    def confusion(self) -> NDArray[np.integer]:
        """The pixels of all images (K, K), rows are the true classes."""
        return self._confusion.numpy()

    def worst(self, count: int) -> list[tuple[int, float]]:
        """Return numbers and mIoU of the images of the least mIoU, the worst first; those without a label have none."""
        return sorted(self._miou.items(), key=lambda item: item[1])[:count]


@torch.no_grad()
def worst_views(
    model: nn.Module,
    dataset: SegmentationDataset,
    mistakes: Mistakes,
    *,
    longest_side: int | None,
    short_side: int | None,
    count: int = WORST,
) -> tuple[WorstView, ...]:
    """Look once more at the images that a network does worst on.

    Args:
        model: maps images to logits.
        dataset: the images that the mistakes were counted on.
        mistakes: of this network.
        longest_side: images are shrunk to it, as for the evaluation.
        short_side: or resized to it.
        count: images.
    """
    device = next(model.parameters()).device
    views = []
    for index, miou in mistakes.worst(count):
        image, mask = dataset[index]
        assert mask is not None
        small = shrink(image, longest_side, short_side)[None].to(device)
        prediction = predict(model, small, (mask.shape[0], mask.shape[1])).argmax(1)[0]
        views.append(
            WorstView(
                name=dataset.name(index),
                image=image.permute(1, 2, 0).contiguous().numpy(),
                truth=mask.numpy(),
                prediction=prediction.cpu().numpy().astype(np.uint8),
                miou=miou,
            )
        )
    return tuple(views)
