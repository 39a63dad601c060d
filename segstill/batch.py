"""The batch: what a loader gives and a learner takes."""

from typing import NotRequired, TypedDict

import torch
from torch import Tensor

IGNORE = 255
"""The mask value of a pixel that has no label; every data set here uses it."""


class Batch(TypedDict):
    """One batch.  N images, H x W pixels, K classes.

    `valid` marks the pixels that distillation may use.  It differs from `mask != 255` on unlabelled images only:
    there every mask value is 255 (nothing to compare with), yet the teacher can be asked about all real pixels.
    """

    image: Tensor
    """(N, 3, H, W) RGB; uint8 in [0, 255] or float in [0, 1].  Each model applies its own normalisation."""
    mask: NotRequired[Tensor]
    """(N, H, W) integer class ids; 255 is ignored."""
    valid: NotRequired[Tensor]
    """(N, H, W) bool; without it, the labelled pixels are the valid ones."""
    tags: NotRequired[Tensor]
    """(N, K) float in {0, 1}: the image-level labels."""


def valid_pixels(batch: Batch) -> Tensor:
    """Return (N, H, W) bool: the pixels that distillation may use (all of them where the batch says nothing)."""
    if "valid" in batch:
        return batch["valid"]
    if "mask" in batch:
        return batch["mask"] != IGNORE
    image = batch["image"]
    return torch.ones(image.shape[0], *image.shape[2:], dtype=torch.bool, device=image.device)
