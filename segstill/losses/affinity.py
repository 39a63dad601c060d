"""Affinity between neighbouring cells, learned from confident masks: alike within a class, apart across classes.

Ahn and Kwak, Learning Pixel-Level Semantic Affinity with Image-Level Supervision, CVPR 2018 (arXiv:1803.10464).  For
cells i, j nearer to each other than a radius, with features f, and with labels in both of them:

    W_ij = exp(-mean over channels of |f_i - f_j|)
    L = 1/4 mean over pairs within background of -log W + 1/4 mean over pairs within one other class of -log W
        + 1/2 mean over pairs of different classes of -log(1 - W)

per image, a mean without pairs being 0, then the mean over the images that have a pair.  Nearly all pairs lie within
one class, mostly within background: hence three means and not one.

Differs from the published code: it takes the means over the pairs of a batch, and leaves out pairs near three of the
borders.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import IGNORE, Batch
from ..stencil import both_of, pair_offsets
from ..taps import Features
from .loss import Channels, Loss, in_float32, mean_over_valid

LEAST_DISTANCE = 1e-5
"""1 - W below it counts as this: bounds -log(1 - W) by 11.5 for cells with equal features."""


@in_float32
def affinity(features: Tensor, labels: Tensor, *, radius: int = 5) -> Tensor:
    """Compare the affinities of near cells with whether their labels are equal.

    Args:
        features: (N, D, h, w).
        labels: (N, h, w) integer class ids, 0 is background; pairs with 255 have exactly no influence.
        radius: partners of a cell are nearer than this, in cells; at least 2.

    Returns:
        A scalar >= 0, in nats; 0 with zero gradient when no pair is labelled.

    Raises:
        ValueError: shapes that do not fit, or a radius below 2.
    """
    if features.ndim != 4 or labels.shape != (len(features), *features.shape[2:]):
        raise ValueError(
            f"features are {tuple(features.shape)} and labels {tuple(labels.shape)}, expected (N, D, h, w) and "
            "(N, h, w): one label per cell"
        )
    sums, counts = features.new_zeros(2, 3, len(features))
    for offset in pair_offsets(radius):
        (one, other), (mine, theirs) = both_of(features, offset), both_of(labels.unsqueeze(1), offset)
        if not one.numel():
            continue
        labelled, same = (mine != IGNORE) & (theirs != IGNORE), mine == theirs
        distance = (one - other).abs().mean(dim=1, keepdim=True)  # -log W
        apart = distance.neg().expm1().neg().clamp(min=LEAST_DISTANCE).log().neg()
        kinds = torch.stack([labelled & same & (mine == 0), labelled & same & (mine != 0), labelled & ~same])
        values = torch.stack([distance, distance, apart])
        sums = sums + torch.where(kinds, values, 0).flatten(2).sum(dim=2)
        counts = counts + kinds.flatten(2).sum(dim=2)
    shares = features.new_tensor([0.25, 0.25, 0.5]).unsqueeze(1)
    return mean_over_valid((shares * sums / counts.clamp(min=1)).sum(dim=0), counts.sum(dim=0) > 0)


class Affinity(Loss):
    """`affinity` of the student's tap "affinity" with `batch["mask"]`, whose label amid a cell is that of the cell.

    Args:
        channels: see `Loss`.
        radius: see `affinity`.
    """

    needs_teacher = False
    taps = ("affinity",)

    def __init__(self, channels: Channels, *, radius: int = 5):
        super().__init__(channels)
        pair_offsets(radius)  # refuses one without pairs
        self.radius = radius

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:  # noqa: ARG002  (the interface)
        """Return the mean over images."""
        if "mask" not in batch:
            raise ValueError("affinity found no mask in the batch: give a folder of seeds (--data.masks DIR)")
        features = student["affinity"]
        labels = F.interpolate(batch["mask"].unsqueeze(1).float(), size=features.shape[2:], mode="nearest-exact")
        return affinity(features, labels[:, 0].long(), radius=self.radius)
