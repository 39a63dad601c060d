"""Pixel-wise cross-entropy with the labels: the term that every recipe has."""

import torch.nn.functional as F
from torch import Tensor

from ..batch import IGNORE, Batch
from ..taps import Features
from .loss import Channels, Loss, in_float32, mean_over_valid


@in_float32
def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[mask] over the labelled pixels.

    Mask values outside the classes are not looked for here, which would stall a GPU at every step.

    Args:
        logits: (N, K, H, W).
        mask: (N, H, W) integer class ids in [0, K); 255 is ignored.

    Returns:
        A scalar >= 0; 0 with zero gradient when no pixel is labelled.

    Raises:
        ValueError: a mask of another size than the logits.
    """
    if logits.ndim != 4 or mask.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"the logits are {tuple(logits.shape)} and the mask {tuple(mask.shape)}, expected (N, K, H, W) and "
            "(N, H, W): resize the logits to the mask"
        )
    # "none" and an own mean: torch's "sum" adds in an unordered way on a GPU, and its "mean" is 0 / 0 without labels.
    values = F.cross_entropy(logits, mask.long(), ignore_index=IGNORE, reduction="none")
    return mean_over_valid(values, mask != IGNORE)


class CrossEntropy(Loss):
    """`cross_entropy` between the student's logits and `batch["mask"]`."""

    needs_teacher = False
    mean_over = "labelled"

    def __init__(self, channels: Channels):
        super().__init__(channels)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:  # noqa: ARG002  (the interface)
        """Return the mean over labelled pixels."""
        if "mask" not in batch:
            raise ValueError("cross_entropy found no mask in the batch: drop this term, or give labelled images")
        return cross_entropy(student["logits"], batch["mask"])
