"""The scores of seeds at every background threshold, in one pass over a data set.

A pixel becomes its strongest class where that map is strictly above the threshold, and background elsewhere; of equal
maps the first class wins.  Papers sweep t = 0.00, 0.01 .. 0.59 and report the best mIoU: an oracle, as the ground truth
has chosen it.  `SweepResult` has that one, those at fixed thresholds, and the one of a threshold that was chosen
without ground truth (see `otsu`).

All that a pixel says about any threshold is its strongest class, its true class, and how many thresholds lie below its
strongest map.  The counts of these triples (a joint histogram), summed over the last, are exactly the numbers that one
pass for each threshold would count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..batch import IGNORE
from .otsu import THRESHOLDS, Otsu, checked_thresholds, per_image, strongest


class AtThreshold(NamedTuple):
    """The scores of seeds cut at one threshold, as shares in [0, 1]; K + 1 classes, background first."""

    threshold: float
    miou: float
    class_iou: Tensor
    """(K + 1,) float64."""


class SweepResult(NamedTuple):
    """The scores of seeds at T thresholds; K + 1 classes, background first.

    A class that neither the ground truth nor the seeds hold has IoU 0 and counts, as in published evaluators; in
    `metrics.Scores` it does not count.
    """

    thresholds: Tensor
    """(T,) float64, ascending."""
    class_iou: Tensor
    """(T, K + 1) float64 in [0, 1]."""
    miou: Tensor
    """(T,) float64 in [0, 1]: the mean over all K + 1 classes."""
    right: Tensor
    """(T, K + 1) int64: pixels that the seeds and the ground truth give to the class."""
    seeds: Tensor
    """(T, K + 1) int64: pixels that the seeds give to the class; `right / seeds` is the precision."""
    truth: Tensor
    """(K + 1,) int64: pixels that the ground truth gives to the class; `right / truth` is the recall."""
    variance: Tensor
    """(T,) float64: `Otsu.variances` of all pixels, with ground truth or without."""

    def oracle(self) -> AtThreshold:
        """Return the best mIoU, the first of equal ones.  Tuned on the ground truth: nobody without it can have it."""
        return self._of(int(self.miou.argmax()))

    def label_free(self) -> AtThreshold:
        """Return the scores at the threshold that `Otsu` chooses, which looks at no ground truth.

        Maps that no threshold divides get the first one.
        """
        return self._of(int(self.variance.argmax()))

    def at(self, threshold: float) -> AtThreshold:
        """Return the scores at a fixed threshold.

        Raises:
            ValueError: a threshold that was not swept.
        """
        distance = (self.thresholds - threshold).abs()
        nearest = int(distance.argmin())
        if float(distance[nearest]) > 1e-6:
            raise ValueError(
                f"threshold {threshold} was not swept, the nearest is {float(self.thresholds[nearest]):.6g}: "
                "choose that one, or give this one when sweeping"
            )
        return self._of(nearest)

    def _of(self, index: int) -> AtThreshold:
        return AtThreshold(float(self.thresholds[index]), float(self.miou[index]), self.class_iou[index])


class Sweep:
    """Scores seeds at every threshold, from a data set that passes by once, image by image.

    Args:
        classes: K + 1, background included; 2 to 255.
        thresholds: ascending, at least 0.
    """

    def __init__(self, classes: int, *, thresholds: Sequence[float] | Tensor = THRESHOLDS):
        if not 2 <= classes <= IGNORE:
            raise ValueError(f"{classes} classes given, expected 2 to {IGNORE}: background is the first of them")
        self.classes = classes
        self.thresholds = checked_thresholds(thresholds)
        self._otsu = Otsu(thresholds)
        # By true class (the last row is for void), strongest class, number of thresholds below the strongest map.
        self._counts = torch.zeros(classes + 1, classes - 1, len(self.thresholds) + 1, dtype=torch.int64)

    def update(self, cams: Tensor, image_labels: Tensor, ground_truth: Tensor) -> None:
        """Count the pixels of one image.

        Args:
            cams: (K, H, W) floating-point class maps; thresholds are compared in their precision, half in float32.
            image_labels: (K,) in {0, 1}; maps of the other classes have no influence.
            ground_truth: (H, W) integer class ids 0..K, or 255 for void, which has no influence on any score.

        Raises:
            ValueError: shapes that differ, maps that are not finite, labels other than 0 and 1, or a class id out of
                range.  Nothing is counted then.
        """
        pixels = strongest(cams, image_labels, self.thresholds)
        if len(cams) != self.classes - 1:
            raise ValueError(
                f"cams hold {len(cams)} classes, expected {self.classes - 1}: one for every class but background"
            )
        truth = self._checked(ground_truth, cams).to(pixels.place.device)
        shape = (self.classes + 1, len(pixels.labelled), len(self.thresholds) + 1)
        triple = (truth * shape[1] + pixels.which) * shape[2] + pixels.place
        counts = torch.bincount(triple.flatten(), minlength=shape[0] * shape[1] * shape[2])
        self._counts[:, pixels.labelled.cpu()] += counts.view(shape).cpu()
        self._otsu.count(pixels)

    def result(self) -> SweepResult:
        """Return the scores of everything that was counted.

        Raises:
            ValueError: no labelled pixel was counted.
        """
        counts = self._counts[:-1]  # without void
        truth = counts.sum(dim=(1, 2))
        if not truth.any():
            raise ValueError("no labelled pixel was counted, expected at least one: sweep over images that have masks")
        # A pixel is above the j-th threshold when more than j thresholds lie below it.
        above = counts.flip(2).cumsum(2).flip(2)[:, :, 1:].permute(2, 0, 1)
        seeds, right = above.sum(dim=1), above[:, 1:].diagonal(dim1=1, dim2=2)
        # What is above no threshold is background.
        seeds = torch.cat((truth.sum() - seeds.sum(dim=1, keepdim=True), seeds), dim=1)
        right = torch.cat((truth[0] - above[:, 0].sum(dim=1, keepdim=True), right), dim=1)
        class_iou = right.double() / (truth + seeds - right).clamp(min=1)
        return SweepResult(
            self.thresholds, class_iou, class_iou.mean(dim=1), right, seeds, truth, self._otsu.variances()
        )

    def _checked(self, ground_truth: Tensor, cams: Tensor) -> Tensor:
        """Return ground truth as int64 with K + 1 for void."""
        if ground_truth.shape != cams.shape[1:]:
            raise ValueError(
                f"ground truth {tuple(ground_truth.shape)} and cams {tuple(cams.shape)} given, expected the same "
                "height and width: bring the class maps to the size of the mask"
            )
        if ground_truth.is_floating_point() or ground_truth.is_complex() or ground_truth.dtype == torch.bool:
            raise ValueError(f"ground truth is {ground_truth.dtype}, expected integer class ids: read the mask as such")
        truth = ground_truth.long()
        void = truth == IGNORE
        wrong = ((truth < 0) | (truth >= self.classes)) & ~void
        if wrong.any():
            raise ValueError(
                f"ground truth holds class {int(truth[wrong][0])}, expected 0 to {self.classes - 1} or {IGNORE}: "
                f"check that it was made for these {self.classes} classes"
            )
        return truth.masked_fill(void, self.classes)


def threshold_sweep(
    cams: Tensor | Sequence[Tensor],
    image_labels: Tensor,
    ground_truth: Tensor | Sequence[Tensor],
    *,
    thresholds: Sequence[float] | Tensor = THRESHOLDS,
) -> SweepResult:
    """Score seeds at every threshold in one pass; for data in a stream, feed a `Sweep`.

    Args:
        cams: (N, K, H, W), or N maps (K, H, W) of different sizes, or (K, H, W) of one image; floating point.
        image_labels: (N, K), or (K,) of one image; in {0, 1}.
        ground_truth: (N, H, W), or N masks (H, W), or (H, W) of one image; class ids 0..K, 255 is void.
        thresholds: ascending, at least 0.

    Raises:
        ValueError: shapes that differ, or values out of their range: see `Sweep.update`.
    """
    images = per_image(cams, image_labels)
    if isinstance(ground_truth, Tensor) and ground_truth.ndim == 2:
        ground_truth = ground_truth.unsqueeze(0)
    if len(ground_truth) != len(images):
        raise ValueError(f"{len(images)} images and {len(ground_truth)} masks given, expected a mask for every image")
    sweep = Sweep(image_labels.shape[-1] + 1, thresholds=thresholds)
    for (maps, labels), mask in zip(images, ground_truth, strict=True):
        sweep.update(maps, labels, mask)
    return sweep.result()
