"""A background threshold that no ground truth has chosen.

Otsu, A Threshold Selection Method from Gray-Level Histograms, IEEE Trans. SMC 1979: the threshold t with the largest
variance between the pixels above it and the others,

    s(t) = n_above n_below / n^2 (mean_above - mean_below)^2

here of the strongest class map of a pixel, over all pixels of a data set at once, as one threshold serves all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .maps import as_float

THRESHOLDS = tuple(step / 100 for step in range(60))
"""0.00, 0.01 .. 0.59: what published seed scores were swept over."""


class Otsu:
    """Chooses a threshold without ground truth, from a data set that passes by once, image by image.

    Exact: the counts and the sums of the maps between thresholds are kept, not the middles of bins.

    Args:
        thresholds: what it may choose; ascending, at least 0.
    """

    def __init__(self, thresholds: Sequence[float] | Tensor = THRESHOLDS):
        self.thresholds = checked_thresholds(thresholds)
        self._counts, self._sums = torch.zeros(2, len(self.thresholds) + 1, dtype=torch.float64)

    def update(self, cams: Tensor, image_labels: Tensor) -> None:
        """Count the pixels of one image.

        Args:
            cams: (K, H, W) floating-point class maps; thresholds are compared in their precision, half in float32.
            image_labels: (K,) in {0, 1}; maps of the other classes have no influence.

        Raises:
            ValueError: shapes that differ, maps that are not finite, or labels other than 0 and 1.
        """
        self.count(strongest(cams, image_labels, self.thresholds))

    def count(self, pixels: "Strongest") -> None:
        """Count the pixels of one image, given what is strongest there."""
        place, bins = pixels.place.flatten(), len(self._counts)
        self._counts += torch.bincount(place, minlength=bins).cpu()
        self._sums += torch.bincount(place, pixels.value.flatten().double(), minlength=bins).cpu()

    def variances(self) -> Tensor:
        """Return (T,) float64: s(t) of every threshold, in units of the maps squared; 0 where a side has no pixel."""
        count, total = self._counts.sum(), self._sums.sum()
        below, sum_below = self._counts.cumsum(0)[:-1], self._sums.cumsum(0)[:-1]
        above, sum_above = count - below, total - sum_below
        between = below * above / count**2 * (sum_above / above - sum_below / below) ** 2
        return torch.where((below > 0) & (above > 0), between, 0)

    def threshold(self) -> float:
        """Return the threshold with the largest variance, the first of equal ones.

        Raises:
            ValueError: no threshold has pixels on both sides.
        """
        variances = self.variances()
        if not variances.any():
            raise ValueError(
                f"no threshold from {float(self.thresholds[0]):.3g} to {float(self.thresholds[-1]):.3g} has pixels on "
                "both sides, expected class maps in [0, 1]: normalise them, or give other thresholds"
            )
        return float(self.thresholds[variances.argmax()])


def label_free_threshold(
    cams: Tensor | Sequence[Tensor], image_labels: Tensor, *, thresholds: Sequence[float] | Tensor = THRESHOLDS
) -> float:
    """Choose a threshold without ground truth: see the head of this file; for data in a stream, feed an `Otsu`.

    Args:
        cams: (N, K, H, W), or N maps (K, H, W) of different sizes, or (K, H, W) of one image; floating point.
        image_labels: (N, K), or (K,) of one image; in {0, 1}.
        thresholds: what it may choose; ascending, at least 0.

    Raises:
        ValueError: shapes that differ, values out of their range, or maps that no threshold divides.
    """
    otsu = Otsu(thresholds)
    for maps, labels in per_image(cams, image_labels):
        otsu.update(maps, labels)
    return otsu.threshold()


class Strongest(NamedTuple):
    """What is strongest at every pixel of an image, as far as the image's labels allow it."""

    value: Tensor
    """(H, W) the largest map; 0 in an image without labels."""
    which: Tensor
    """(H, W) int64, whose map it is: an index into `labelled`; the first of equal ones."""
    labelled: Tensor
    """(L,) int64, the classes of the image; class 0, which is nowhere above a threshold, in an image without labels."""
    place: Tensor
    """(H, W) int64, how many thresholds lie below the largest map."""


def strongest(cams: Tensor, image_labels: Tensor, thresholds: Tensor) -> Strongest:
    """Return what is strongest at every pixel of an image: see `Otsu.update`."""
    if cams.ndim != 3 or image_labels.shape != cams.shape[:1] or not cams.numel():
        raise ValueError(
            f"cams {tuple(cams.shape)} and image labels {tuple(image_labels.shape)} given, expected (K, H, W) and (K,) "
            "of one image: leave background out of both"
        )
    if not ((image_labels == 0) | (image_labels == 1)).all():
        raise ValueError("image labels hold values other than 0 and 1, expected 1 for the classes that the image shows")
    labelled = image_labels.nonzero().squeeze(1)
    if len(labelled):
        value, which = cams[labelled].max(dim=0)
    else:
        value = cams.new_zeros(cams.shape[1:])
        which, labelled = value.long(), labelled.new_zeros(1)
    value = as_float("cams", value)
    return Strongest(value, which, labelled, torch.bucketize(value, thresholds.to(value)))


def per_image(cams: Tensor | Sequence[Tensor], image_labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the maps and the labels of every image."""
    if isinstance(cams, Tensor) and cams.ndim == 3 and image_labels.ndim == 1:
        cams, image_labels = cams.unsqueeze(0), image_labels.unsqueeze(0)
    if not len(cams) or image_labels.ndim != 2 or len(cams) != len(image_labels):
        raise ValueError(
            f"cams of {len(cams)} images and image labels {tuple(image_labels.shape)} given, expected at least one "
            "image, and labels (N, K) for N of them"
        )
    return list(zip(cams, image_labels, strict=True))


def checked_thresholds(thresholds: Sequence[float] | Tensor) -> Tensor:
    """Return thresholds as float64, ascending from 0 or more."""
    values = torch.as_tensor(thresholds, dtype=torch.float64).clone()
    if values.ndim != 1 or not len(values) or not (values >= 0).all() or not (values.diff() > 0).all():
        raise ValueError(f"thresholds are {values.tolist()}, expected ascending numbers of at least 0: sort them")
    return values
