"""General-specific consistency (GSC): the classifier's maps and those of an image's own prototypes are to agree.

Chen et al., SIPE, CVPR 2022 (arXiv:2203.02909).  With M the maps and A the IS-CAM of `segstill.prototypes`, background
included, K + 1 of each:

    L = mean over valid cells and maps of |M - A / (max_x A + 1e-5)|

Untagged classes are 0 in both and count in the mean.  The gradient reaches the classifier through M and what makes the
fused features through A; SIPE's features of the backbone are constants there, which is for the network to say.

SWTformer-V2 names a loss GSC and gives no formula: that it is this one is inferred.

Differs from the published code ("published" reproduces it): there cells outside the image count too, where M is 0 and A
is not.
"""

import torch
from torch import Tensor

from ..arithmetic import valid_cells
from ..batch import Batch, valid_pixels
from ..prototypes import BACKGROUND_FACTOR, Untagged, normalised
from ..taps import Features
from .background import BackgroundAwareLoss, Similarity
from .loss import Channels, Variant, check_variant, filled, in_float32, mean_over_valid


@in_float32
def gsc(maps: Tensor, is_cam: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper") -> Tensor:
    """Mean absolute difference between the classifier's maps and the normalised IS-CAM.

    Args:
        maps: (N, K + 1, h, w) in [0, 1], background first.
        is_cam: (N, K + 1, h, w) >= 0, not yet divided by its maxima.
        valid: (N, h, w) bool; the other cells have exactly no influence.  None: all cells.
        variant: "published" is the same formula and takes no mask; what differs is the maps that it is given.

    Returns:
        A scalar in [0, 1], without unit; 0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, or `valid` together with "published".
    """
    check_variant(variant, valid)
    expected = (len(maps), *maps.shape[2:])
    if maps.ndim != 4 or maps.shape != is_cam.shape:
        raise ValueError(f"maps are {tuple(maps.shape)} and is_cam {tuple(is_cam.shape)}, expected equal (N, C, h, w)")
    if valid is not None and (valid.dtype != torch.bool or valid.shape != expected):
        raise ValueError(f"valid is {valid.dtype} {tuple(valid.shape)}, expected bool {expected}: one flag per cell")
    difference = (maps - normalised(filled(is_cam, valid))).abs()
    return mean_over_valid(difference.mean(dim=1), valid)


class GSC(BackgroundAwareLoss):
    """`gsc` of the student's taps "cam" and "fused", with `batch["tags"]`; see `BackgroundAwareLoss`."""

    mean_over = "valid"

    def __init__(
        self,
        channels: Channels,
        *,
        background_factor: float = BACKGROUND_FACTOR,
        similarity: Similarity = "fused",
        untagged: Untagged = "absent",
        variant: Variant = "paper",
    ):
        super().__init__(
            channels, background_factor=background_factor, similarity=similarity, untagged=untagged, variant=variant
        )
        if variant == "published":
            self.mean_over = "images"  # every cell of A counts, so every image counts alike

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:  # noqa: ARG002  (the interface)
        """Return the mean over valid cells and maps."""
        block = self.block(student, batch, "gsc")
        valid = valid_cells(valid_pixels(batch), block.maps) if self.variant == "paper" else None
        return gsc(block.maps, block.is_cam, valid=valid, variant=self.variant)
