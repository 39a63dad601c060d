"""Pixel-wise cross-entropy with the labels: the term that every recipe has."""

import torch.nn.functional as F
from torch import Tensor

from ..batch import IGNORE, Batch
from ..taps import Features
from .loss import Channels, Loss, in_float32, mean_over_valid


@in_float32
def cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[mask] over the labelled pixels.

    One score z per pixel stands for the two classes with the scores (0, z), so that K = 1 is binary cross-entropy:
    -log sigmoid(z) where the mask is 1 and -log sigmoid(-z) where it is 0.  (255, white in many a binary mask, is
    ignored here as everywhere.)

    Mask values outside the classes are not looked for here, which would stall a GPU at every step.

    Args:
        logits: (N, K, H, W).
        mask: (N, H, W) integer class ids in [0, K), in {0, 1} at K = 1; 255 is ignored.

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
    if logits.shape[1] == 1:
        logits = F.pad(logits, (0, 0, 0, 0, 1, 0))
    # "none" and an own mean: torch's "sum" adds in an unordered way on a GPU, and its "mean" is 0 / 0 without labels.
    values = F.cross_entropy(logits, mask.long(), ignore_index=IGNORE, reduction="none")
    return mean_over_valid(values, mask != IGNORE)


class CrossEntropy(Loss):
    """`cross_entropy` between the student's logits and `batch["mask"]`.

    A student of one class is refused, although the function takes one score: the classes of a recipe are the mask
    values, so that one class leaves nothing to tell apart, and scores come from the arg-max, which would call every
    pixel 0.  Binary segmentation has two classes, background and the object; `sigmoid_kd` of one score z equals
    `pixel_kd` of the two scores (0, z).

    Raises:
        ValueError: a student of one class.
    """

    needs_teacher = False
    mean_over = "labelled"

    def __init__(self, channels: Channels):
        super().__init__(channels)
        if "logits" in channels and channels["logits"][0] == 1:
            raise ValueError(
                "the student predicts 1 class, expected at least 2: name the background too (--data.classes background "
                "object, mask values 0 and 1); a network of one score z predicts these two by returning (0, z)"
            )

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:  # noqa: ARG002  (the interface)
        """Return the mean over labelled pixels."""
        if "mask" not in batch:
            raise ValueError("cross_entropy found no mask in the batch: drop this term, or give labelled images")
        return cross_entropy(student["logits"], batch["mask"])
