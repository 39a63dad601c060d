"""Plain feature distillation: at every cell, the features of student and teacher point the same way.

The simplest of all feature losses.  Ali et al., The Surprising Effectiveness of Canonical Knowledge Distillation for
Semantic Segmentation, 2026 (arXiv:2604.25530), reach the best result of a ResNet-18 on Cityscapes with plain feature
distillation and a long schedule.  With c the connector, and norms over the channels of a cell:

    L = mean over valid cells of || c(student) / |c(student)| - teacher / |teacher| ||^2 = 2 - 2 cos
"""

from torch import Tensor, nn

from .features import FeatureLoss, check_features, project, zero_ignored
from .loss import Channels, Variant, check_variant, in_float32, mean_over_valid, unit_length


@in_float32
def feature_kd(student: Tensor, teacher: Tensor, *, valid: Tensor | None = None, variant: Variant = "paper") -> Tensor:
    """Squared distance between the unit-length feature vectors of a cell, averaged over cells.

    A vector that is zero has no direction: it stays zero.

    Args:
        student: (N, C, h, w), after the connector.
        teacher: (N, C, h, w); a constant.
        valid: (N, h, w) bool; the other cells have exactly no influence.  None: all cells.
        variant: "published" is the same formula and takes no mask.

    Returns:
        A scalar in [0, 4]; 0 when no cell is valid.

    Raises:
        ValueError: shapes that differ, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid)
    student, teacher = zero_ignored(student, valid), zero_ignored(teacher.detach(), valid)
    return mean_over_valid((unit_length(student, dim=1) - unit_length(teacher, dim=1)).square().sum(dim=1), valid)


class FeatureKD(FeatureLoss):
    """`feature_kd` after a 1x1 convolution without bias, summed over taps; see `FeatureLoss`."""

    function = staticmethod(feature_kd)

    def __init__(self, channels: Channels, *, taps: tuple[str, ...] = ("encoder",), variant: Variant = "paper"):
        super().__init__(channels, taps=taps, variant=variant)

    @staticmethod
    def connector(student: int, teacher: int) -> nn.Module:
        """Map the channels by a 1x1 convolution without bias."""
        return project(student, teacher)
