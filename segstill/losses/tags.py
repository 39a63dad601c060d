"""Image-level labels: the task of a classifier, from whose class maps masks are made.

    L = mean over images and classes of -(y log sigmoid(s) + (1 - y) log(1 - sigmoid(s)))

with the score s and the tag y in {0, 1} of a class: the multi-label soft-margin loss.  Background is no tag.
"""

import torch.nn.functional as F
from torch import Tensor

from ..batch import Batch
from ..taps import Features
from .loss import Channels, Loss, in_float32


@in_float32
def tags(scores: Tensor, tags: Tensor) -> Tensor:
    """Binary cross-entropy of the scores of images, averaged over images and classes.

    Tags outside [0, 1] are not looked for here, which would stall a GPU at every step.

    Args:
        scores: (N, K) scores of the classes without background, pooled over the cells inside the image.
        tags: (N, K) in {0, 1}; an image without any tag counts like others.

    Returns:
        A scalar >= 0, in nats.

    Raises:
        ValueError: shapes that differ.
    """
    if scores.ndim != 2 or scores.shape != tags.shape:
        raise ValueError(
            f"the scores are {tuple(scores.shape)} and the tags {tuple(tags.shape)}, expected (N, K) and equal: the "
            "student must be a classifier of images, with one score per class without background"
        )
    return F.binary_cross_entropy_with_logits(scores, tags.to(scores.dtype))


def tags_of(batch: Batch, name: str) -> Tensor:
    """Return `batch["tags"]`, or raise ValueError in the name of the loss that needs them."""
    if "tags" not in batch:
        raise ValueError(f"{name} found no tags in the batch: drop this term, or give a data set with image labels")
    return batch["tags"]


class Tags(Loss):
    """`tags` between the scores of a classifier, its "logits", and `batch["tags"]`."""

    needs_teacher = False

    def __init__(self, channels: Channels):
        super().__init__(channels)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:  # noqa: ARG002  (the interface)
        """Return the mean over images and classes."""
        return tags(student["logits"], tags_of(batch, "tags"))
