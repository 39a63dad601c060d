"""Intra-class feature variation distillation (IFVD): how far each pixel is from the centre of its class.

Wang et al., Intra-class Feature Variation Distillation for Semantic Segmentation, ECCV 2020.  Per image, with c_k the
mean feature over the cells labelled k, and y the label of a cell:

    m(x) = cos(feature(x), c_y(x))      L = mean over labelled cells of (m_student(x) - m_teacher(x))^2

A cell has the label of the pixel nearest to its centre.  The gradient flows through the feature and the centres.

Differs from the published code ("published" reproduces it): there cells without a label add 0 and yet count in the
mean; a cell takes the label of its upper left pixel; and a centre is the sum divided by the number of cells plus 1e-6.
"""

import torch
from torch import Tensor

from ..batch import IGNORE, Batch, valid_pixels
from ..taps import Features
from .features import FeatureLoss, check_features
from .loss import Channels, Variant, check_variant, in_float32, mean_over_valid, unit_length


@in_float32
def ifvd(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    num_classes: int,
    valid: Tensor | None = None,
    variant: Variant = "paper",
) -> Tensor:
    """Mean squared difference between the cosines of cells with the centre of their class.

    Args:
        student: (N, C, h, w).
        teacher: (N, C', h, w) with channels of its own; a constant.
        target: (N, H, W) integer class ids at any resolution; values outside [0, num_classes), as 255, are no label.
        num_classes: K.
        valid: (N, h, w) bool; the other cells have exactly no influence, as cells without a label have none.  None:
            all cells.
        variant: "published" counts cells without a label in the mean, and takes no mask.

    Returns:
        A scalar in [0, 4], without unit; 0 when no cell is labelled.

    Raises:
        ValueError: shapes that differ, K below 1, or `valid` together with "published".
    """
    check_variant(variant, valid)
    check_features(student, teacher, valid, same_channels=False)
    if num_classes < 1 or target.ndim != 3 or len(target) != len(student):
        raise ValueError(
            f"the target is {tuple(target.shape)} with {num_classes} classes, expected ({len(student)}, H, W) and at "
            "least one class: one mask of class ids per image"
        )
    label = _label_cells(target, student, variant)
    labelled = (label >= 0) & (label < num_classes)
    if valid is not None:
        labelled = labelled & valid
    classes = torch.arange(num_classes, device=label.device).unsqueeze(1)
    member = ((label.flatten(1).unsqueeze(1) == classes) & labelled.flatten(1).unsqueeze(1)).to(student.dtype)
    s, t = (_closeness(feature, member, labelled, variant) for feature in (student, teacher.detach()))
    difference = (s - t).square()
    return difference.mean() if variant == "published" else mean_over_valid(difference, labelled.flatten(1))


def _label_cells(target: Tensor, feature: Tensor, variant: Variant) -> Tensor:
    """The label of each cell, (N, h, w): the pixel at its centre, for "published" at its upper left corner."""
    rows, columns = (
        ((2 * torch.arange(cells, device=target.device) + (variant == "paper")) * pixels).div(
            2 * cells, rounding_mode="floor"
        )
        for cells, pixels in zip(feature.shape[2:], target.shape[1:], strict=True)
    )
    return target[:, rows.unsqueeze(1), columns].long()


def _closeness(feature: Tensor, member: Tensor, labelled: Tensor, variant: Variant) -> Tensor:
    """Cosine of each cell with the centre of its class, (N, h * w); 0 where there is no label.

    Args:
        feature: (N, C, h, w).
        member: (N, K, h * w), 1 where a cell is of a class.
        labelled: (N, h, w) bool.
        variant: "published" adds 1e-6 to the number of cells.
    """
    cells = feature.masked_fill(~labelled.unsqueeze(1), 0).flatten(2)
    count = member.sum(dim=2).unsqueeze(1)
    count = count.clamp(min=1) if variant == "paper" else count + 1e-6
    centre = torch.bmm(cells, member.mT) / count  # as matrix products: no loop over classes, and in a fixed order
    return (unit_length(cells, dim=1) * unit_length(torch.bmm(centre, member), dim=1)).sum(dim=1)


class IFVD(FeatureLoss):
    """`ifvd` with the labels of the batch, summed over taps; see `FeatureLoss`.  Nothing is trained.

    Pixels without a label, and so unlabelled images, add nothing, whatever `batch["valid"]` says.

    Raises:
        ValueError: a tap that is not in `channels`, or no logits to count the classes of.
    """

    mean_over = "labelled"
    function = staticmethod(ifvd)

    def __init__(self, channels: Channels, *, taps: tuple[str, ...] = ("encoder",), variant: Variant = "paper"):
        if "logits" not in channels:
            raise ValueError("channels has no 'logits', expected the numbers of classes: ifvd reads the labels")
        super().__init__(channels, taps=taps, variant=variant, num_classes=channels["logits"][0])

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over taps."""
        if "mask" not in batch:
            raise ValueError("ifvd found no mask in the batch: drop this term, or give labelled images")
        valid = valid_pixels(batch) & (batch["mask"] != IGNORE) if self.variant == "paper" else None
        s, t = ([side[tap] for tap in self.taps] for side in (student, teacher))
        return self._sum(s, t, valid, target=batch["mask"])
