"""FitNet: the student's feature, after a 1x1 convolution, regresses the teacher's.

Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015 (arXiv:1412.6550), equation 3, with c the connector:

    L = mean over valid cells and channels of (c(student) - teacher)^2

"published" is the same without the mask.
"""

from torch import Tensor, nn

from .features import FeatureLoss, check_features, project, zero_ignored
from .loss import Channels, Variant, check_variant, in_float32, mean_over_valid


@in_float32
def fitnet(student: Tensor, teacher: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper") -> Tensor:
    """Mean squared error between two features.

    Args:
        student: (N, C, h, w), after the connector.
        teacher: (N, C, h, w); a constant.
        valid: (N, h, w) bool; the other cells have exactly no influence.  None: all cells.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar >= 0, in squared units of the feature; 0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid)
    student, teacher = zero_ignored(student, valid), zero_ignored(teacher.detach(), valid)
    return mean_over_valid((student - teacher).square().mean(dim=1), valid)


class FitNet(FeatureLoss):
    """`fitnet` after a 1x1 convolution without bias, summed over taps; see `FeatureLoss`."""

    function = staticmethod(fitnet)

    def __init__(self, channels: Channels, *, taps: tuple[str, ...] = ("encoder",), variant: Variant = "paper"):
        super().__init__(channels, taps=taps, variant=variant)

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Map the channels by a 1x1 convolution without bias."""
        return project(student, teacher)
