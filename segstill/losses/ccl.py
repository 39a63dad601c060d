"""Class-wise contrast (CCL): within an image, the prototypes of different classes are to be far apart.

SWTformer-V2 (Ahmadi and Kasaei, 2024, arXiv:2401.17828) names such a loss and no text of it at hand defines it: the
three designs here are ours.  Per image, over the classes c that have a seed s, background included, with prototypes
p_c and the fused features E of `segstill.prototypes`:

    "prototypes"    mean over pairs of classes of max(0, cos(p_i, p_j) - margin)
    "pixels"        mean over c of the mean over the seeds x of c of -log softmax_k(cos(E(x), p_k) / T)[c]
    "classes"       mean over c of -log softmax_k(cos(p_c, p_k) / T)[c]

and the mean over images.  "prototypes" pushes classes apart that are more alike than the margin; "pixels" also draws
the cells of a class together (InfoNCE); "classes" is the contrast that MCTformer+ has between its class tokens, with
prototypes in their place.  Where one class alone is seeded, and be it background, each of them is 0.
"""

from typing import Literal

import torch
from torch import Tensor

from ..batch import Batch
from ..prototypes import BACKGROUND_FACTOR, Untagged, prototypes
from ..taps import Features
from .background import BackgroundAwareLoss, Similarity
from .logits import IGNORED, check_temperature
from .loss import Channels, filled, in_float32, mean_over_images, unit_length

Design = Literal["prototypes", "pixels", "classes"]
"""A, B and C of the description."""


@in_float32
def ccl(
    fused: Tensor, seeds: Tensor, *, design: Design = "pixels", temperature: float = 0.1, margin: float = 0.0
) -> Tensor:
    """Contrast between the classes that are seeded in an image, averaged over images.

    Cells without a seed have exactly no influence.

    Args:
        fused: (N, D, h, w).
        seeds: (N, C, h, w) in {0, 1}, at most one 1 per cell; a constant.  C counts background, like any class.
        design: see above.
        temperature: T > 0, of "pixels" and "classes".
        margin: in [-1, 1), of "prototypes": the cosine from which on two classes count as too alike.

    Returns:
        A scalar >= 0, in nats; for "prototypes" at most 1 - margin and without unit.  Images without a seed are not
        counted; 0 when there are none.

    Raises:
        ValueError: shapes that differ, an unknown design, or a hyper-parameter out of its range.
    """
    check_design(design, temperature, margin)
    if fused.ndim != 4 or seeds.ndim != 4 or fused[:, 0].shape != seeds[:, 0].shape:
        raise ValueError(
            f"fused is {tuple(fused.shape)} and seeds {tuple(seeds.shape)}, expected (N, D, h, w) and (N, C, h, w): "
            "one seed map per class on the grid of the features"
        )
    seeds = seeds.detach().to(fused.dtype)
    seeded, count = seeds.sum(dim=1) > 0, seeds.sum(dim=(2, 3))
    present = count > 0
    fused = filled(fused, seeded)
    directions = unit_length(prototypes(fused, seeds), dim=2)
    if design == "pixels":
        cosine = torch.bmm(directions, unit_length(fused, dim=1).flatten(2))
        share = seeds.flatten(2) / count.clamp(min=1).unsqueeze(2)
        values = _mean((_surprise(cosine / temperature, present) * share).sum(dim=2), present)
    elif design == "classes":
        cosine = torch.bmm(directions, directions.mT)
        values = _mean(_surprise(cosine / temperature, present).diagonal(dim1=1, dim2=2), present)
    else:
        cosine = torch.bmm(directions, directions.mT)
        pairs = (present.unsqueeze(1) & present.unsqueeze(2)).triu(diagonal=1)
        values = _mean((cosine - margin).relu().flatten(1), pairs.flatten(1))
    return mean_over_images(values, seeded)


def check_design(design: str, temperature: float, margin: float) -> None:
    """Raise ValueError for an unknown design, or a hyper-parameter out of its range."""
    if design not in ("prototypes", "pixels", "classes"):
        raise ValueError(f"design is {design!r}, expected 'prototypes', 'pixels' or 'classes'")
    check_temperature(temperature)
    if not -1 <= margin < 1:
        raise ValueError(f"margin is {margin}, expected a cosine from -1 to below 1: 0 asks for right angles")


def _surprise(logits: Tensor, present: Tensor) -> Tensor:
    """-log softmax of (N, C, M) over the classes C that are present."""
    return -logits.masked_fill(~present.unsqueeze(2), IGNORED).log_softmax(dim=1)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean along axis 1 of (N, M) over what is counted; 0 where nothing is."""
    return torch.where(counted, values, 0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


class CCL(BackgroundAwareLoss):
    """`ccl` of the student's tap "fused" with seeds from its tap "cam" and `batch["tags"]`.

    The gradient reaches "fused" alone.  Cells that `valid_pixels` leaves out have no seed.

    Args:
        channels: see `Loss`.
        design: see `ccl`.
        temperature: see `ccl`.
        margin: see `ccl`.
        background_factor: see `BackgroundAwareLoss`.
        similarity: see `BackgroundAwareLoss`.
    """

    mean_over = "images"

    def __init__(
        self,
        channels: Channels,
        *,
        design: Design = "pixels",
        temperature: float = 0.1,
        margin: float = 0.0,
        background_factor: float = BACKGROUND_FACTOR,
        similarity: Similarity = "fused",
        untagged: Untagged = "absent",
    ):
        super().__init__(channels, background_factor=background_factor, similarity=similarity, untagged=untagged)
        check_design(design, temperature, margin)
        self.design: Design = design
        self.temperature = temperature
        self.margin = margin

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:  # noqa: ARG002  (the interface)
        """Return the mean over images."""
        with torch.no_grad():
            seeds = self.block(student, batch, "ccl").seeds
        return ccl(student["fused"], seeds, design=self.design, temperature=self.temperature, margin=self.margin)
