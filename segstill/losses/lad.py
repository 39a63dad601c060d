"""Layer-wise angular distillation (LAD): whole feature maps of student and teacher point the same way.

Liu et al., Rethinking Knowledge Distillation with Raw Features for Semantic Segmentation, WACV 2024.  It is `attnfd`
without attention, and the baseline that AttnFD (arXiv:2403.05451) builds on.  With c the connector, norms per image:

    L = mean over images of || c(student) / |c(student)| - teacher / |teacher| ||^2        summed over the taps

Differs from the published code ("published" reproduces it): see `attnfd`.
"""

from torch import Tensor, nn

from .attnfd import attnfd
from .features import FeatureLoss, check_features, project_and_normalise, zero_ignored
from .loss import Channels, Variant, check_variant, in_float32


@in_float32
def lad(student: Tensor, teacher: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper") -> Tensor:
    """Squared distance between two feature maps of unit length.

    Args:
        student: (N, C, h, w), after the connector.
        teacher: (N, C, h, w); a constant.
        valid: (N, h, w) bool; the other cells have exactly no influence, and images without any are not counted.
            None: all cells.
        variant: "paper" scales every image to unit length and averages over images; "published" scales the whole batch
            to unit length and divides by N.

    Returns:
        A scalar in [0, 4], for "published" in [0, 4 / N]; 0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid)
    return attnfd([zero_ignored(student, valid)], [zero_ignored(teacher, valid)], variant=variant)


class LAD(FeatureLoss):
    """`lad` after a 1x1 convolution and batch normalisation, summed over taps; see `FeatureLoss`."""

    mean_over = "images"
    function = staticmethod(lad)

    def __init__(
        self,
        channels: Channels,
        *,
        taps: tuple[str, ...] = ("encoder_pre", "aspp", "decoder"),
        variant: Variant = "paper",
    ):
        super().__init__(channels, taps=taps, variant=variant)

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Map the channels by a 1x1 convolution without bias, then batch normalisation."""
        return project_and_normalise(student, teacher)
