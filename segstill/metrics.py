"""Dataset-level scores: everything is counted over all pixels of all images first, and divided once at the end.

Averages over images of per-image scores are another quantity, and not the one that papers report.

Average precision is of image tags, not of pixels, and goes by two definitions that differ by several points: the VOC
classification challenge ranks the images of each class, papers on masks from image labels the classes of each image.

Boundary F1 follows Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013: precision
and recall of class boundaries within 0.75 % of the image diagonal.
Differs from the paper: it averages the F1 of every image; here the counts of all images are summed first, as for IoU.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from .batch import IGNORE

BOUNDARY_TOLERANCE = Fraction("0.0075")
"""How far a boundary may be off, as a share of the image diagonal; exact, because pixel distances are."""
CLASSES_PER_WORD = 62
"""Classes that share an int64 in the dilation, one bit each."""

Result = dict[str, float | dict[str, float | None] | None]
"""Score name -> share in [0, 1]; None where the data leaves it undefined."""


class Scores:
    """Counts from which every score follows.  `state` of several processes may be summed and loaded back.

    Args:
        classes: K, at most 255.
        boundary: count boundary pixels too.

    Example, K = 2: truth 0 0 1 1, prediction 0 1 1 1.  IoU is 1/2 and 2/3, mIoU 7/12, pixel accuracy 3/4, class
    accuracy (1/2 + 1)/2 = 3/4, frequency-weighted IoU 2/4 * 1/2 + 2/4 * 2/3 = 7/12.
    """

    def __init__(self, classes: int, *, boundary: bool = False):
        if not 1 <= classes <= IGNORE:
            raise ValueError(f"{classes} classes given, expected 1 to {IGNORE}: mask value {IGNORE} means no label")
        self.classes = classes
        self.boundary = boundary
        self._confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self._boundary = torch.zeros(4, classes, dtype=torch.int64)
        self._agreement = torch.zeros(2, dtype=torch.int64)

    def update(self, prediction: Tensor, mask: Tensor, teacher_prediction: Tensor | None = None) -> None:
        """Count a batch.  Pixels whose mask is 255 have no influence, whatever is predicted there.

        Args:
            prediction: (N, H, W) integer class ids.
            mask: (N, H, W) integer class ids or 255, at the labels' own size: the boundary tolerance follows it.
            teacher_prediction: (N, H, W) integer class ids of the teacher.

        Raises:
            ValueError: shapes that differ, values that are not integers, or a class id outside 0..K-1.
        """
        labelled = mask != IGNORE
        # Pixels without a label become 255 everywhere, so that a network's guess there cannot count.
        truth = self._checked("mask", mask, labelled, mask.shape)
        guess = self._checked("prediction", prediction, labelled, mask.shape)
        teacher = None
        if teacher_prediction is not None:
            teacher = self._checked("teacher prediction", teacher_prediction, labelled, mask.shape)
        self._confusion = self._confusion.to(mask.device) + multiclass_confusion_matrix(
            guess[labelled], truth[labelled], num_classes=self.classes, validate_args=False
        )
        if self.boundary:
            self._boundary = self._boundary.to(mask.device) + boundary_counts(guess, truth, self.classes)
        if teacher is not None:
            agreed = ((guess == teacher) & labelled).sum()
            self._agreement = self._agreement.to(mask.device) + torch.stack((agreed, labelled.sum()))

    @property
    def confusion(self) -> Tensor:
        """Pixels counted so far: (K, K) int64 on the CPU, rows are the true classes, columns the predicted ones."""
        return self._confusion.cpu().clone()

    def state(self) -> Tensor:
        """Return every count in one int64 vector; the vectors of several processes add up to the state of all."""
        device = self._confusion.device
        return torch.cat([part.to(device).flatten() for part in (self._confusion, self._boundary, self._agreement)])

    def load(self, state: Tensor) -> None:
        """Replace every count by those of a `state`.

        Raises:
            ValueError: a state of another number of classes.
        """
        sizes = [self.classes**2, 4 * self.classes, 2]
        if state.shape != (sum(sizes),):
            raise ValueError(
                f"state has shape {tuple(state.shape)}, expected ({sum(sizes)},) for {self.classes} classes: "
                "load it into Scores of the same number of classes"
            )
        confusion, boundary, self._agreement = state.clone().split(sizes)
        self._confusion = confusion.view(self.classes, self.classes)
        self._boundary = boundary.view(4, self.classes)

    def merge(self, other: "Scores") -> None:
        """Add the counts of `other`."""
        self.load(self.state() + other.state().to(self._confusion.device))

    def result(self, class_names: Sequence[str]) -> Result:
        """Return every score, as a share in [0, 1].

        `miou` is the mean IoU over the classes that the truth or the prediction holds; a class that neither holds has
        the IoU None and does not enter the mean.  `class_accuracy` is the mean recall over the classes of the truth.
        `boundary_f1` is there when it was asked for: the mean over the classes with a boundary, None where there is no
        boundary at all.  `teacher_agreement` is there when teacher predictions were given: the share of labelled pixels
        where both predict the same class, right or wrong.

        Args:
            class_names: K names.

        Raises:
            ValueError: not K names, names that repeat, or no labelled pixel was counted.
        """
        if len(class_names) != self.classes or len(set(class_names)) != self.classes:
            raise ValueError(f"{len(set(class_names))} different class names given, expected {self.classes}")
        confusion = self.confusion.double()
        total = confusion.sum()
        if total == 0:
            raise ValueError("no labelled pixel was counted, expected at least one: evaluate images that have masks")
        right, truth = confusion.diagonal(), confusion.sum(1)
        iou = class_iou(confusion)
        result: Result = {
            "miou": float(iou.nanmean()),
            "pixel_accuracy": float(right.sum() / total),
            "class_accuracy": float((right / truth).nanmean()),
            "frequency_weighted_iou": float((truth / total * iou).nansum()),
            "per_class_iou": {name: _number(value) for name, value in zip(class_names, iou, strict=True)},
        }
        if self.boundary:
            guess_matched, guess_all, truth_matched, truth_all = self._boundary.cpu().double()
            precision, recall = guess_matched / guess_all, truth_matched / truth_all
            f1 = 2 * precision * recall / (precision + recall)
            found = (guess_matched + truth_matched) > 0
            # Nothing within reach, or on one side only: the formula divides 0 by 0, the score is 0.
            f1 = torch.where((guess_all + truth_all > 0) & ~found, 0.0, f1)
            result["boundary_f1"] = _number(f1.nanmean())
        if self._agreement[1] > 0:
            result["teacher_agreement"] = float(self._agreement[0] / self._agreement[1])
        return result

    def _checked(self, what: str, ids: Tensor, labelled: Tensor, shape: torch.Size) -> Tensor:
        """Return `ids` as int64 with 255 at unlabelled pixels."""
        if ids.ndim != 3 or ids.shape != shape:
            raise ValueError(f"{what} has shape {tuple(ids.shape)}, the mask {tuple(shape)}: give both as (N, H, W)")
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise ValueError(f"{what} is {ids.dtype}, expected integer class ids: take the argmax of the logits first")
        ids = torch.where(labelled, ids.long(), IGNORE)
        wrong = labelled & ((ids < 0) | (ids >= self.classes))
        if wrong.any():
            raise ValueError(
                f"{what} holds class {int(ids[wrong][0])}, expected 0 to {self.classes - 1} or {IGNORE}: "
                f"check that it was made for these {self.classes} classes"
            )
        return ids


def class_iou(confusion: Tensor) -> Tensor:
    """Return the intersection over union of every class; NaN for one that neither truth nor prediction holds.

    Args:
        confusion: (K, K) pixels; rows are the true classes, columns the predicted ones.

    Returns:
        (K,) float64 in [0, 1].
    """
    right = confusion.diagonal().double()
    return right / (confusion.sum(0) + confusion.sum(1) - right)


def average_precision(scores: Tensor, labels: Tensor, *, per: Literal["class", "image"] = "class") -> Tensor:
    """Average precision of image tags: the mean over the true tags of the precision down to their rank.

    Equal scores share a rank; nothing is interpolated.  Ranking 0.9, 0.8, 0.8, 0.1 with truth 1, 0, 1, 0: the precision
    is 1 at the first and 2/3 at the tie, AP = (1 + 2/3) / 2 = 5/6.  `.nanmean()` of the result is the mAP.

    Args:
        scores: (N, K) floating point, larger for surer; N images, K classes without background.
        labels: (N, K) in {0, 1}.
        per: "class" ranks the images of each class, "image" the classes of each image.

    Returns:
        (K,) or (N,) float64 in [0, 1]; NaN where no label is 1.

    Raises:
        ValueError: shapes that differ, labels other than 0 and 1, scores that are NaN or not floating point, or another
            `per`.
    """
    if per not in ("class", "image"):
        raise ValueError(f"per is {per!r}, expected 'class' or 'image'")
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"scores have shape {tuple(scores.shape)}, labels {tuple(labels.shape)}: give both as (images, classes)"
        )
    if not scores.is_floating_point() or scores.isnan().any():
        raise ValueError(f"scores are {scores.dtype} or hold NaN, expected floating-point numbers: give the logits")
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("labels hold values other than 0 and 1: give 1 for the classes that the image shows")
    if per == "class":
        scores, labels = scores.T, labels.T
    ranked, order = scores.sort(dim=1, descending=True)
    true = labels.double().gather(1, order)
    position = torch.arange(1, scores.shape[1] + 1, device=scores.device).expand_as(order)
    # The last position with the same score: the nearest one from here on that is not followed by an equal score.
    tied = torch.zeros_like(ranked, dtype=torch.bool)
    tied[:, :-1] = ranked[:, 1:] == ranked[:, :-1]
    last = position.masked_fill(tied, scores.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    precision = true.cumsum(1).gather(1, last - 1) / last
    return (true * precision).sum(1) / true.sum(1)


def boundary_counts(prediction: Tensor, mask: Tensor, classes: int) -> Tensor:
    """Count boundary pixels, and those with a boundary pixel of the same class on the other side within the tolerance.

    A boundary pixel of a class is a labelled pixel of it with a 4-neighbour that is labelled as another class.  So the
    rim of an unlabelled region is no boundary.  Tolerance is a Euclidean disc of 0.75 % of the image diagonal; below
    134 pixels of diagonal that is less than one pixel, and boundaries must coincide.

    Args:
        prediction: (N, H, W) int64 class ids in 0..K-1, and 255 where `mask` is 255.
        mask: (N, H, W) int64 class ids in 0..K-1 or 255.
        classes: K.

    Returns:
        (4, K) int64: predicted boundary pixels that are near a true one, all predicted ones, true ones that are near a
        predicted one, all true ones.
    """
    height, width = mask.shape[1:]
    reach = math.floor(BOUNDARY_TOLERANCE**2 * (height**2 + width**2))
    counts = torch.zeros(4, classes, dtype=torch.int64, device=mask.device)
    # 255 is no class, so it sets no bit.
    predicted, true = (torch.where(_on_boundary(ids), ids, IGNORE) for ids in (prediction, mask))
    for first in range(0, classes, CLASSES_PER_WORD):
        last = min(first + CLASSES_PER_WORD, classes)
        guess_bits, truth_bits = (_bits(ids, first, last) for ids in (predicted, true))
        guess_near, truth_near = (_dilate(bits, reach) for bits in (guess_bits, truth_bits))
        for row, bits in enumerate((guess_bits & truth_near, guess_bits, truth_bits & guess_near, truth_bits)):
            ids = (predicted if row < 2 else true)[bits != 0]
            counts[row] += torch.bincount(ids, minlength=classes)
    return counts


def _on_boundary(ids: Tensor) -> Tensor:
    """Return (N, H, W) bool: labelled pixels with a 4-neighbour that is labelled as another class."""
    labelled = ids != IGNORE
    found = torch.zeros_like(labelled)
    for dim in (1, 2):
        size = ids.shape[dim] - 1
        differs = ids.narrow(dim, 0, size) != ids.narrow(dim, 1, size)
        differs &= labelled.narrow(dim, 0, size) & labelled.narrow(dim, 1, size)
        found.narrow(dim, 0, size).logical_or_(differs)
        found.narrow(dim, 1, size).logical_or_(differs)
    return found


def _bits(ids: Tensor, first: int, last: int) -> Tensor:
    """Return (N, H, W) int64 with bit c - first set where `ids` is class c, for first <= c < last."""
    inside = (ids >= first) & (ids < last)
    return torch.where(inside, torch.ones_like(ids) << (ids - first).clamp(0, CLASSES_PER_WORD), 0)


def _dilate(bits: Tensor, reach: int) -> Tensor:
    """Return the bitwise or of `bits` (N, H, W) over the disc dx^2 + dy^2 <= reach around every pixel.

    A disc is a stack of rows whose half-width grows towards its middle, so one growing row dilation serves all of them,
    and all classes of a word at once: about four passes per pixel of radius.
    """
    rows, disc = bits.clone(), bits.clone()
    half_width = 0
    for dy in range(math.isqrt(reach), -1, -1):
        while half_width < math.isqrt(reach - dy**2):
            half_width += 1
            _or_shifted(rows, bits, half_width, dim=2)
        _or_shifted(disc, rows, dy, dim=1)
    return disc


def _or_shifted(target: Tensor, source: Tensor, by: int, dim: int) -> None:
    """Or into `target` what `source` holds `by` pixels before and after."""
    size = target.shape[dim] - by
    if size <= 0:
        return
    target.narrow(dim, by, size).bitwise_or_(source.narrow(dim, 0, size))
    target.narrow(dim, 0, size).bitwise_or_(source.narrow(dim, by, size))


def _number(value: Tensor) -> float | None:
    return None if value.isnan() else float(value)
