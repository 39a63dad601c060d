"""Similarity-preserving distillation (SP): images that the teacher finds alike are to be alike for the student.

Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019 (arXiv:1907.09682).  With Q one
row per image, its feature at the valid cells:

    G = Q Q^T (N x N), each row scaled to unit length
    L = mean over images of || G_student[n] - G_teacher[n] ||^2

Differs from the paper: it divides by N^2 ("published" does), so that its value shrinks as the batch grows and repeats.
Its weight 3000 at batches of 128 is a weight 3000 / 128 = 23 here.  Batches are small in segmentation, and with them
what the loss can say: nothing at all about a single image, where G is 1 and the loss 0.  Features are compared cell by
cell, so that two images are alike where they show like things at the same place.
"""

from torch import Tensor

from .features import FeatureLoss, check_features, zero_ignored
from .loss import Channels, Variant, check_variant, in_float32, mean_over_images, unit_length


@in_float32
def sp(student: Tensor, teacher: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper") -> Tensor:
    """Squared distance between the unit rows of the two matrices of similarity, averaged over images.

    Args:
        student: (N, C, h, w); 0 for N = 1.
        teacher: (N, C', h, w) with channels of its own; a constant.
        valid: (N, h, w) bool; the other cells have exactly no influence, and images without any are not counted.
            None: all cells.
        variant: "published" divides by N^2 instead of N, and takes no mask.

    Returns:
        A scalar in [0, 4], without unit; for "published" in [0, 4 / N].  0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid, same_channels=False)
    difference = _similarity(student, valid) - _similarity(teacher.detach(), valid)
    if variant == "published":
        return difference.square().mean()
    distance = difference.square().sum(dim=1)
    return mean_over_images(distance, valid)


def _similarity(feature: Tensor, valid: Tensor | None) -> Tensor:
    """Inner products between images, (N, N) with rows of unit length."""
    images = zero_ignored(feature, valid).flatten(1)
    return unit_length(images @ images.T, dim=1)


class SP(FeatureLoss):
    """`sp` summed over taps; see `FeatureLoss`.  Nothing is trained, and each process compares its own images."""

    mean_over = "images"
    function = staticmethod(sp)

    def __init__(self, channels: Channels, *, taps: tuple[str, ...] = ("encoder",), variant: Variant = "paper"):
        super().__init__(channels, taps=taps, variant=variant)
