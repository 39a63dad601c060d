"""Attention transfer (AT): the student is to be active where the teacher is.

Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017 (arXiv:1612.03928), equation 2 with p = 2.  Per
image, with a(x) = mean over channels of feature^2 at the valid cells x, written as one vector a:

    L = mean over images of || a_student / |a_student| - a_teacher / |a_teacher| ||^2 = 2 - 2 cos(a_student, a_teacher)

Differs from the published code ("published" reproduces it): there the square is averaged over the h * w cells instead
of summed, which makes the value depend on the size of the map.  Its weight 10000 is a weight 10000 / (h * w) here: 1.2
at 64 x 128 cells, 2.4 at 64 x 64.  It masks nothing.
"""

from torch import Tensor

from .features import FeatureLoss, check_features, zero_ignored
from .loss import Channels, Variant, check_variant, in_float32, mean_over_images, unit_length


@in_float32
def at(student: Tensor, teacher: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper") -> Tensor:
    """Squared distance between the maps of activation, each of unit length, averaged over images.

    Args:
        student: (N, C, h, w).
        teacher: (N, C', h, w) with channels of its own; a constant.
        valid: (N, h, w) bool; the other cells have exactly no influence, and images without any are not counted.
            None: all cells.
        variant: "published" divides by h * w and takes no mask.

    Returns:
        A scalar in [0, 2], without unit; for "published" in [0, 2 / (h * w)].  0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid, same_channels=False)
    difference = _attention(student, valid) - _attention(teacher.detach(), valid)
    if variant == "published":
        return difference.square().mean()
    distance = difference.square().sum(dim=1)
    return mean_over_images(distance, valid)


def _attention(feature: Tensor, valid: Tensor | None) -> Tensor:
    """Where each image is active, (N, h * w) of unit length."""
    return unit_length(zero_ignored(feature, valid).square().mean(dim=1).flatten(1), dim=1)


class AT(FeatureLoss):
    """`at` summed over taps; see `FeatureLoss`.  Nothing is trained."""

    mean_over = "images"
    function = staticmethod(at)

    def __init__(self, channels: Channels, *, taps: tuple[str, ...] = ("encoder",), variant: Variant = "paper"):
        super().__init__(channels, taps=taps, variant=variant)
